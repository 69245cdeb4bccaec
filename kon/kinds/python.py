"""`python`: calls a function. Its result is what the function returns, which must be a JSON value."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import queue
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple

import msgspec

from kon.core.errors import ConfigurationError, KindError, did_you_mean
from kon.core.kind import Attempt, Kind
from kon.core.objects import ObjectStore
from kon.core.options import OptionError, Options, read_options
from kon.kinds import callee, reference
from kon.kinds.live import Live
from kon.kinds.pool import Pool, Start
from kon.kinds.reference import FunctionReference


class LiveFolder(msgspec.Struct, frozen=True, kw_only=True):
    """live: the folder where output is shown as it comes; None for the worker's log."""

    live: str | None = None


class PythonOptions(Options, frozen=True, kw_only=True):
    """Options of `python`.

    function: `module:name` or `path/to/file.py:name`. A file is not run as a program: what stands
        under `if __name__ == "__main__"` does not run.
    call: `item`: the body is the function's one argument. `spread`: the body is a mapping with `args`,
        a list, and `kwargs`, a mapping; either may be left out.
    pool: `processes`: one for each slot; a call that crashes or takes too long ends alone, with its
        process. `threads`: for functions that wait; a call can't be stopped. `inline`: on the worker's
        own event loop, which stands still meanwhile unless the function is a coroutine function.
    sys_path: folders to import from, before all others. The current folder comes last.
    argv: the `sys.argv` that functions in a pool of processes find; None for the file alone.
    here: for a client on the same machine, which shows what functions write.
    """

    function: str
    call: Literal["item", "spread"] = "item"
    pool: Literal["processes", "threads", "inline"] = "processes"
    sys_path: list[str] = msgspec.field(default_factory=list)
    argv: list[str] | None = None
    here: LiveFolder | None = None


_SPREAD: Final = ("args", "kwargs")


class PythonFunction(Kind):
    """Calls a function.

    An exception is a failed attempt: its error is the exception, and its result has `traceback`.

    A coroutine function is run to its end. What functions write to standard output goes to standard
    error, from a pool of processes.
    """

    name: ClassVar[str] = "python"
    takes = PythonOptions

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = read_options(f"kind {self.name}", options, PythonOptions)
        if self._options.slots < 1:
            raise ConfigurationError(f"the kind python needs 1 slot or more, got {self._options.slots}")
        try:
            function = reference.parse(self._options.function)
            path = _path(self._options.sys_path)
            reference.check(function, path)
        except ConfigurationError as error:
            raise OptionError(f'option "function" of kind python: {error}', "function") from error
        self._caller: _Caller
        if self._options.pool == "processes":
            self._caller = _InProcesses(self._options, function, path)
        else:
            loaded = _loaded(function, path)
            self._caller = _InThreads(loaded) if self._options.pool == "threads" else _Inline(loaded)

    def check(self, body: Any) -> None:
        self._arguments(body)

    async def open(self, objects: ObjectStore) -> None:
        live = _live(self._options)
        if live is not None and self._options.pool != "processes":
            # this process is a worker, and its own output is a log that nobody looks at
            out, err = Live(Path(live), "chunks").files
            sys.stdout = os.fdopen(out, "w", buffering=1, errors="backslashreplace")
            sys.stderr = os.fdopen(err, "w", buffering=1, errors="backslashreplace")

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        args, kwargs = self._arguments(body)
        try:
            reply = msgspec.json.decode(await self._caller.call(args, kwargs))
        except msgspec.DecodeError as error:  # an integer of thousands of digits
            raise KindError(f"the result can't be kept: {error}", is_final=True) from error
        if "error" in reply:
            traceback = reply["traceback"]
            result = None if traceback is None else {"traceback": traceback}
            if result is not None and "exception" in reply:
                result["exception"] = reply["exception"]
            raise KindError(reply["error"], result, is_final=reply.get("is_final", False))
        return reply["result"]

    async def close(self) -> None:
        await self._caller.close()

    def _arguments(self, body: Any) -> tuple[list[Any], dict[str, Any]]:
        """Raises ConfigurationError for a body that does not fit `call: spread`."""
        if self._options.call == "item":
            return [body], {}
        if not isinstance(body, dict):
            raise ConfigurationError(f'expected a mapping with "args" and "kwargs", got {body!r:.80}')
        for key in body:
            if key not in _SPREAD:
                hint = did_you_mean(str(key), _SPREAD)
                raise ConfigurationError(f'expected a mapping with "args" and "kwargs", got "{key}"{hint}')
        args, kwargs = body.get("args", []), body.get("kwargs", {})
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise ConfigurationError('expected "args" to be a list and "kwargs" a mapping')
        return args, kwargs


def _live(options: PythonOptions) -> str | None:
    return None if options.here is None else options.here.live


class _Caller(ABC):
    """Where calls are made. All encode what the function returns, so that results do not depend on it."""

    @abstractmethod
    async def call(self, args: list[Any], kwargs: dict[str, Any]) -> bytes: ...

    async def close(self) -> None:
        return


class _InProcesses(_Caller):
    def __init__(self, options: PythonOptions, function: FunctionReference, path: list[str]) -> None:
        self._start = Start(function.module, function.file, function.qualname, path, options.argv)
        self._options = options
        self._live: Live | None = None
        self._pool: Pool | None = None

    async def call(self, args: list[Any], kwargs: dict[str, Any]) -> bytes:
        if self._pool is None:  # not before: a client makes kinds too, to check its items
            self._pool = self._open()
        return await self._pool.call(msgspec.json.encode({"args": args, "kwargs": kwargs}))

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        if self._live is not None:
            self._live.close()

    def _open(self) -> Pool:
        size, live = self._options.slots, _live(self._options)
        if live is None:
            return Pool(size, self._start)
        self._live = Live(Path(live), "chunks")
        return Pool(size, self._start, self._live.files)


class _InThreads(_Caller):
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._threads = DaemonThreads()

    async def call(self, args: list[Any], kwargs: dict[str, Any]) -> bytes:
        return await self._threads.run(functools.partial(callee.call, self._function, args, kwargs))

    async def close(self) -> None:
        self._threads.close()


class _Inline(_Caller):
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    async def call(self, args: list[Any], kwargs: dict[str, Any]) -> bytes:
        try:
            result = self._function(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        except (Exception, SystemExit) as error:
            return callee.failure(error)
        return callee.success(result)


def _path(sys_path: list[str]) -> list[str]:
    """Where a function's module is looked for."""
    first = [str(Path(folder).absolute()) for folder in sys_path]
    for folder in first:
        if not Path(folder).exists():
            raise ConfigurationError(f'`sys_path` names "{folder}", which is neither a folder nor an archive')
    rest = [str(Path(folder).absolute()) if folder == "" else folder for folder in sys.path]
    here = str(Path.cwd())
    return list(dict.fromkeys([*first, *rest, here]))


def _loaded(function: FunctionReference, path: list[str]) -> Callable[..., Any]:
    """The function, imported into this process, whose `sys.path` stays as the function needs it."""
    sys.path[:] = path
    try:
        return callee.load(function.module, function.file, function.qualname)
    except (Exception, SystemExit) as error:  # it ran the user's module
        where = function.file or function.module
        raise ConfigurationError(
            f'option "function" of kind python: can\'t load {where}:{function.qualname}: '
            f"{type(error).__name__}: {error}"
        ) from error


class _Job(NamedTuple):
    call: Callable[[], bytes]
    done: asyncio.Future[bytes]


class DaemonThreads:
    """Runs each call in an idle thread, or in a new one.

    Python can't stop a thread. A call that was cancelled goes on in its thread, unheard; unlike the
    threads of concurrent.futures such a one does not hold the process back when that wants to end.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle = 0
        self._threads = 0

    async def run(self, call: Callable[[], bytes]) -> bytes:
        """What `call` returns; it may not raise."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bytes] = loop.create_future()
        if self._idle:
            self._idle -= 1
        else:
            self._threads += 1
            threading.Thread(
                target=self._serve, args=(loop,), name=f"kon-call-{self._threads}", daemon=True
            ).start()
        self._jobs.put(_Job(call, done))
        return await done

    def close(self) -> None:
        for _ in range(self._threads):
            self._jobs.put(None)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            reply = job.call()
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._finish, job.done, reply)

    def _finish(self, done: asyncio.Future[bytes], reply: bytes) -> None:
        self._idle += 1
        if not done.done():
            done.set_result(reply)
