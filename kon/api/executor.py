"""`Executor`: concurrent.futures' interface over a run. Each call is a task, whose outcome is recorded."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from kon.api.background import LoggedNotes, TemporaryFolder
from kon.api.feed import MOST_TASKS, FedRun, Feed, SubmittedCall, broken_by, settled
from kon.api.functions import import_path
from kon.api.relay import Relay
from kon.api.values import folder_of
from kon.core.errors import ConfigurationError, TaskFailed, first_cause
from kon.core.lock import client_lock
from kon.core.plugins import backend_class, strategy_class
from kon.core.spec import Plugin, RunSpec, processors
from kon.core.task import Outcome, State
from kon.engine.records.records import RunFolder
from kon.kinds.pickled import (
    InitializerFailed,
    dumps,
    exception_of,
    forget,
    process_chunk,
    unwrapped,
    wrapped,
)
from kon.launch.context import context
from kon.launch.crew import NothingToQueue
from kon.launch.supervise import OwnWorkers

_Result = TypeVar("_Result")

_SLOTS_OF_A_WORKER: Final = 16
"""Processes for calls that one worker process looks after: it hands on some thousand calls a second."""

_FLUSH_S: Final = 0.01
"""How long a worker gathers outcomes: somebody may wait for each."""

_SHOW_S: Final = 0.1
"""Between two looks at what functions print."""


class Executor(futures.Executor):
    """Runs calls in processes of their own, as `concurrent.futures.ProcessPoolExecutor` does.

    Functions, arguments and results may be whatever cloudpickle takes: lambdas, partials, bound methods, what
    was defined in a notebook or in `__main__`. An exception reaches its caller as it was raised, with the
    worker's traceback as its cause. A call whose process dies fails alone, with TaskFailed; the others go on.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        backend: str | Mapping[str, Any] = "sqlite",
        strategy: str = "lease",
        attempts: int = 1,
        timeout_s: float | None = None,
        out: str | Path | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        allow_pickle: bool = False,
    ) -> None:
        """Starts nothing; the first call does.

        max_workers: calls at once, each in a process; None for one a processor.
        backend: where the queue is. attempts: how often a call that fails is tried.
        timeout_s: the longest an attempt may take. out: a folder for the records, which are kept.
        initializer, initargs: called once in each process, before its first call.
        allow_pickle: calls may travel as pickles over a backend that others can reach. A pickle is code:
            whoever can write to that queue runs what they like in its workers.

        Raises ValueError and TypeError as concurrent.futures does, ConfigurationError for the others.
        """
        if max_workers is None:
            max_workers = processors()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        plugin = _plugin(backend)
        kind_of_backend = backend_class(plugin.name)
        self._is_here = kind_of_backend.keeps_files or not kind_of_backend.processes
        if not (self._is_here or allow_pickle):
            raise ConfigurationError(
                f"kon.Executor: calls travel as pickles, which are code, and others can reach the backend "
                f"{plugin.name}. Pass allow_pickle=True where all who can write to it may run code here"
            )
        strategy_class(strategy)
        self._max_workers = max_workers
        self._attempts, self._timeout_s = attempts, timeout_s
        self._backend, self._strategy = plugin, Plugin(strategy)
        self._out = None if out is None else folder_of(out, "kon.Executor")
        self._initializer = None if initializer is None else (initializer, initargs)
        self._feed = Feed(max_workers, _settle)
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._folder: str | None = None
        self._wrapped_initializer: Any = None
        self._is_down = False
        weakref.finalize(self, self._feed.close)

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> futures.Future[_Result]:
        """The future of a call that is to be made.

        Raises RuntimeError after `shutdown`, BrokenExecutor where the workers can't run.
        """
        with self._guard:
            self._check()
            if self._is_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if _is_over:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            if self._thread is None:
                self._begin()
        future: futures.Future[_Result] = futures.Future()
        try:
            pickled = wrapped(dumps((fn, args, kwargs)), self._folder)
        except Exception as error:  # as a process pool has it: the future's, not the caller's
            future.set_running_or_notify_cancel()
            future.set_exception(error)
            return future
        if not self._feed.put(SubmittedCall(future, [pickled, self._folder, self._wrapped_initializer])):
            forget(pickled)
            self._check()
            raise RuntimeError("cannot schedule new futures after shutdown")
        return future

    def map(
        self,
        fn: Callable[..., _Result],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[_Result]:
        """The results, in order, as they are asked for. chunksize: how many of them are one task.

        Raises what a call raises, and TimeoutError `timeout` seconds after this call.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        chunks = super().map(partial(process_chunk, fn), _chunks(zip(*iterables), chunksize), timeout=timeout)
        return _in_a_row(chunks)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. wait: until those that were taken have ended. cancel_futures: those that have
        not been queued are cancelled."""
        with self._guard:
            self._is_down = True
            thread = self._thread
        self._feed.close(cancels=cancel_futures)
        if wait and thread is not None:
            thread.join()

    def _check(self) -> None:
        if self._feed.broken is not None:
            raise broken_by(self._feed.broken)

    # --- the run -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        temporary = TemporaryFolder() if self._out is None else None
        place = self._out if temporary is None else temporary.path
        assert place is not None  # one of the two
        folder = RunFolder(place / "executor")
        if folder.exists:
            raise ConfigurationError(f"kon.Executor: {folder.path} has records already; name another folder")
        self._folder = str(folder.path / "calls") if self._is_here else None
        if self._initializer is not None:
            self._wrapped_initializer = wrapped(dumps(self._initializer), self._folder)
        workers = -(-self._max_workers // _SLOTS_OF_A_WORKER)
        options: dict[str, Any] = {"function": "kon.kinds.pickled:call", "sys_path": import_path()}
        if self._is_here:
            options["here"] = {"live": str(folder.path / "live")}
        spec = RunSpec(
            run="executor",
            experiment="executor",
            backend=self._backend,
            strategy=self._strategy,
            kind=Plugin("python", options),
            tasks=MOST_TASKS,
            workers=workers,
            slots=-(-self._max_workers // workers),
            prefetch=None,
            flush_s=_FLUSH_S,
            drain_s=0.0,
            attempts=self._attempts,
            timeout_s=self._timeout_s,
        )
        folder.write_run(spec, context())
        self._thread = threading.Thread(
            # nothing here holds the executor itself, so that one that is dropped comes to its end
            target=_work,
            args=(folder, spec, self._feed, temporary),
            name="kon-executor",
        )
        _watch(self._feed)
        self._thread.start()


def _plugin(backend: str | Mapping[str, Any]) -> Plugin:
    if isinstance(backend, str):
        return Plugin(backend)
    options = dict(backend)
    return Plugin(str(options.pop("name", "")), options)


def _settle(call: SubmittedCall, outcome: Outcome) -> BaseException | None:
    """Hand an outcome to the future that waits for it. Why no more calls can be made, None as a rule."""
    forget(call.body[0])
    result, value, error = outcome.result, None, None
    try:
        if outcome.state is State.DONE:
            value = _value_of(result)
        else:
            error = exception_of(result)
            forget(result.get("exception") if isinstance(result, dict) else None)
    except BaseException as problem:  # what can't be read back is the caller's to know
        error = problem
    if outcome.state is State.DONE and error is None:
        settled(partial(call.future.set_result, value))
        return None
    said = outcome.error or str(outcome.state)
    if error is None and said.startswith(InitializerFailed.__name__):
        cause = InitializerFailed(said)
        settled(partial(call.future.set_exception, broken_by(cause)))
        return cause
    failed = TaskFailed(said, index=outcome.index, state=outcome.state, result=outcome.result)
    settled(partial(call.future.set_exception, error or failed))
    return None


def _value_of(value: Any) -> Any:
    """The value of a result; no file of it stays."""
    made = pickle.loads(unwrapped(value))
    forget(value)
    return made


def _chunks(items: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _in_a_row(chunks: Iterator[list[_Result]]) -> Iterator[_Result]:
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()


# --- in its own thread ------------------------------------------------------------------------------


def _work(folder: RunFolder, spec: RunSpec, feed: Feed, temporary: TemporaryFolder | None) -> None:
    try:
        asyncio.run(_run(folder, spec, feed, None if temporary is None else temporary.lifeline))
    except BaseException as error:
        feed.fail(first_cause(error))
    finally:
        if temporary is not None:
            temporary.remove()


async def _run(folder: RunFolder, spec: RunSpec, feed: Feed, lifeline: int | None) -> None:
    """`lifeline`: a file whose end is that of this program, for workers that are to end with it."""
    run = FedRun(
        feed,
        folder,
        spec,
        NothingToQueue(),
        workers=OwnWorkers(lifeline, hands_on=backend_class(spec.backend.name).keeps_files),
        listener=LoggedNotes(),
    )
    relay = Relay(folder.path / "live")
    showing = asyncio.create_task(_show(relay))
    try:
        async with client_lock(folder.path.parent):
            await run.run()
    finally:
        showing.cancel()
        relay.show()
    recorded = folder.read_run()
    folder.write_run(msgspec.structs.replace(spec, tasks=feed.count), recorded.context)


async def _show(relay: Relay) -> None:
    while True:
        await asyncio.sleep(_SHOW_S)
        relay.show()


# --- the end of the program -------------------------------------------------------------------------

_open: weakref.WeakSet[Feed] = weakref.WeakSet()
_lock = threading.Lock()
_watching = False
_is_over = False


def _watch(feed: Feed) -> None:
    """Have the feed closed when the program ends, as its thread is waited for."""
    global _watching
    with _lock:
        _open.add(feed)
        if not _watching:
            _watching = True
            threading.Thread(target=_watch_program, name="kon-executor-exit", daemon=True).start()


def _watch_program() -> None:
    """Before Python waits for the threads of a program that has come to its end, it ends the main thread."""
    global _is_over
    threading.main_thread().join()
    _is_over = True
    with _lock:
        left = list(_open)
    for feed in left:
        feed.close()
