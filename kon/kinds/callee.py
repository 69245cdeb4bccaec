"""Calls of Python functions; as a program, the other end of a pool process (see kon.kinds.pool).

The program is started by its path, before it knows where kon is, and so imports nothing but the
standard library.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import json
import os
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final

HEADER: Final = struct.Struct(">Q")
"""Before each frame: its length in bytes."""

_FRAMES: Final = 10
"""Stack frames in a traceback that is kept: the last."""

_LONGEST_LINE: Final = 300
_LONGEST_TRACEBACK: Final = 8_000


def load(module: str, file: str | None, qualname: str) -> Callable[..., Any]:
    """The function. May raise anything at all: it runs the module.

    As long as that takes the environment has KON_LOADING, so that a script which starts a run as it
    is imported, for want of `if __name__ == "__main__"`, can be told from one that means to.
    """
    os.environ["KON_LOADING"] = file or module
    try:
        found: Any = importlib.import_module(module) if file is None else _module_of(module, file)
    finally:
        del os.environ["KON_LOADING"]
    for part in qualname.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{qualname} is a {type(found).__name__}, which can't be called")
    function: Callable[..., Any] = found
    return function


def _module_of(name: str, file: str) -> Any:
    """The module in a file. It does not take itself for a program: its name is not `__main__`."""
    if name in sys.modules:
        return sys.modules[name]
    folder = os.path.dirname(file)  # noqa: PTH120 - a pool process starts faster without pathlib
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as Python does for a script: its neighbours can be imported
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def call(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> bytes:
    """The reply, encoded: `{"result": ...}`, or `{"error": ..., "traceback": ...}`. Never raises."""
    try:
        result = function(*args, **kwargs)
        if inspect.iscoroutine(result):
            import asyncio  # most functions do without, and a process starts faster

            result = asyncio.run(result)
    except BaseException as error:  # whatever it is, it is the task's
        return failure(error)
    return success(result)


def success(result: Any) -> bytes:
    try:
        text = json.dumps({"result": result}, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        encoded = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        return _refusal(f"the result, a {type(result).__name__}, is not a JSON value: {error}")
    changed = _changed(result)
    if changed is not None:
        return _refusal(f"the result, a {type(result).__name__}, would not be the same as JSON: {changed}")
    return encoded


def _refusal(said: str) -> bytes:
    """The reply for a result that can't be kept, however often it is made."""
    return json.dumps({"error": _text(said[:_LONGEST_LINE]), "traceback": None, "is_final": True}).encode()


_PLAIN: Final = frozenset({str, int, float, bool, type(None)})


def _changed(value: Any) -> str | None:
    """What of it JSON would hand over as something else, without a word: keys that are no text: two of
    them may become one."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return f"the key {key!r:.80} is not a text"
        value = value.values()
    elif not isinstance(value, list | tuple):
        return None
    for each in value:
        if type(each) not in _PLAIN:
            found = _changed(each)
            if found is not None:
                return found
    return None


def failure(error: BaseException) -> bytes:
    name = type(error).__name__
    try:
        text = str(error).strip()
    except Exception:
        text = "(an exception that can't be shown as text)"
    # the first frame is that of `call`
    own = error.__traceback__.tb_next if error.__traceback__ is not None else None
    trace = "".join(traceback.format_exception(type(error), error, own, limit=-_FRAMES))
    line = f"{name}: {text.splitlines()[0]}" if text else name
    said = {"error": _text(line[:_LONGEST_LINE]), "traceback": _text(trace[-_LONGEST_TRACEBACK:])}
    if hasattr(error, "kon_pickle"):  # see kon.kinds.pickled
        said["exception"] = error.kon_pickle
    return json.dumps(said).encode()


def _text(said: str) -> str:
    """What can be written down: names of files may hold what is no UTF-8."""
    return said.encode(errors="backslashreplace").decode()


def main() -> None:
    """Serve calls over the socket whose number is the one argument; until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What functions print is seen as they run, by whole lines: `python -u` writes a line's end by itself.
        sys.stdout.reconfigure(line_buffering=True, write_through=False)
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    with connection, connection.makefile("rwb") as stream, contextlib.suppress(BrokenPipeError):
        start = json.loads(_receive(stream) or "null")
        if start is None:
            return
        sys.path[:] = start["sys_path"]
        sys.argv[:] = start["argv"] or [start["file"] or ""]
        try:
            function = load(start["module"], start["file"], start["qualname"])
        except BaseException as error:  # it ran the user's module
            _send(stream, failure(error))
            return
        _send(stream, success(None))
        while (frame := _receive(stream)) is not None:
            request = json.loads(frame)
            _send(stream, call(function, request["args"], request["kwargs"]))


def _die_with_parent() -> None:
    """Die when the worker does, however it dies, in the middle of a call too.

    Standard input is a pipe that nobody writes to: it ends when the worker's end of it is closed.
    """
    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def watch() -> None:
        try:
            os.read(lifeline, 1)
        except OSError:  # a function has closed it, with all that it found open
            return
        os.killpg(0, signal.SIGKILL)  # this process leads its group: what the function started goes too

    threading.Thread(target=watch, name="kon-lifeline", daemon=True).start()


def _receive(stream: Any) -> bytes | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    frame: bytes = stream.read(HEADER.unpack(header)[0])
    return frame


def _send(stream: Any, frame: bytes) -> None:
    stream.write(HEADER.pack(len(frame)) + frame)
    stream.flush()


if __name__ == "__main__":
    main()
