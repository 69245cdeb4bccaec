"""Calls that travel as pickles, for `kon.Executor`: `call` is the function that workers are given.

A pickle is code: whoever can write to a queue of such calls runs what they like in its workers. So they are
for the backends of one machine, and for others only where somebody asks for them.
"""

from __future__ import annotations

import base64
import pickle
import secrets
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

INLINE_BYTES: Final = 262_144
"""A pickle up to this travels in the message itself; a larger one is a file, and the message names it."""


class RemoteTraceback(Exception):
    """The traceback of an exception as it was in the worker: the cause of the one that a caller sees."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tb = text

    def __str__(self) -> str:
        return f'\n"""\n{self.tb}"""'


class InitializerFailed(Exception):
    """The initializer of a pool process raised an exception, so that no call can be made in it."""


_SAFE: Final = frozenset({str, bytes, int, float, bool, type(None)})
"""Types that pickle itself takes as they are. It would look for others by a name in `__main__`, which is
another module in a worker."""

_SPAWNED: Final = "__mp_main__"
"""The name of a program's main module in processes that its `multiprocessing` has spawned, and only there."""


def dumps(value: Any) -> bytes:
    """Its pickle, by cloudpickle, which takes lambdas and what was defined in a notebook or a script.

    Raises whatever that raises.
    """
    if type(value) in _SAFE:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    import cloudpickle  # not before: results are mostly numbers and texts, and a process starts faster

    if _SPAWNED in sys.modules:
        cloudpickle.register_pickle_by_value(sys.modules[_SPAWNED])
    made: bytes = cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return made


def wrapped(pickled: bytes, folder: str | None) -> Any:
    """A pickle as a JSON value: text, or the name of a file in `folder` where it is large."""
    if folder is None or len(pickled) <= INLINE_BYTES:
        return base64.b64encode(pickled).decode()
    path = Path(folder) / f"{secrets.token_hex(8)}.pickle"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickled)
    return {"file": str(path)}


def unwrapped(value: Any) -> bytes:
    """The pickle in what `wrapped` has made. Raises OSError where its file is gone."""
    return Path(value["file"]).read_bytes() if isinstance(value, dict) else base64.b64decode(value)


def forget(value: Any) -> None:
    """Remove the file of it, where it has one."""
    if isinstance(value, dict) and "file" in value:
        Path(value["file"]).unlink(missing_ok=True)


def call(body: list[Any]) -> Any:
    """Make a call, in a pool process. `body`: the wrapped function with its arguments, the folder for large
    pickles, and the wrapped initializer with its own, None for none."""
    wrapped_call, folder, initializer = body
    if initializer is not None:
        _initialize(initializer)
    try:
        function, args, kwargs = pickle.loads(unwrapped(wrapped_call))
        return wrapped(dumps(function(*args, **kwargs)), folder)
    except BaseException as error:
        _attach(error, folder)
        raise


def _initialize(initializer: Any) -> None:
    """Run the initializer, once in a process. Raises InitializerFailed where it has failed, also before."""
    global _initialized
    if _initialized is None:
        try:
            function, args = pickle.loads(unwrapped(initializer))
            function(*args)
            _initialized = True
        except BaseException:
            _initialized = False
            traceback.print_exc(file=sys.stderr)
    if not _initialized:
        raise InitializerFailed("the initializer of a worker's process raised an exception")


_initialized: bool | None = None


def _attach(error: BaseException, folder: str | None) -> None:
    """Put the pickle of an exception, with its traceback, where the reply of a pool process takes it from."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        pickled = dumps((error, text))
        pickle.loads(pickled)  # some can be pickled and not read again
    except Exception:
        return  # its text has to do
    try:
        error.kon_pickle = wrapped(pickled, folder)  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        return  # it takes no attributes


def exception_of(result: Any) -> BaseException | None:
    """The exception that a failed call has left, with the worker's traceback as its cause; None for none."""
    kept = result.get("exception") if isinstance(result, dict) else None
    if kept is None:
        return None
    error, text = pickle.loads(unwrapped(kept))
    error.__cause__ = RemoteTraceback(text)
    made: BaseException = error
    return made


def process_chunk(function: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    """The results of a function for each of several tuples of arguments."""
    return [function(*args) for args in chunk]
