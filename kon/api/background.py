"""The client of a run, in a thread with an event loop of its own.

So a program needs no event loop, and may have one: nothing here touches it. No signal is handled
either: Ctrl-C reaches the program's main thread, as in any Python program.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kon.api.feed import FedRun, Feed
from kon.core.errors import (
    ConfigurationError,
    LeftBehind,
    StoreError,
    StoreVersionError,
    first_cause,
)
from kon.core.lock import client_lock
from kon.core.plugins import backend_class, open_backend
from kon.core.scratch import temporary_place
from kon.core.spec import RunSpec
from kon.engine.control import Control
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.launch.client_run import BodySource, RunListener
from kon.launch.crew import NothingToQueue
from kon.launch.guard import RunGuard
from kon.launch.local import LocalRun
from kon.launch.sentry import Sentry, over_folder
from kon.launch.spare import Spare
from kon.launch.supervise import OwnWorkers

_log = logging.getLogger("kon")


class TemporaryFolder:
    """A folder that goes when nobody holds this object any more, at the latest with the program and its
    workers, however these end."""

    def __init__(self) -> None:
        """Raises StoreError where none can be made."""
        self.path = temporary_place() / f"kon-{secrets.token_hex(8)}"
        sentry = over_folder(self.path)  # before the folder, so that no moment is left without
        try:
            self.path.mkdir(mode=0o700)
        except OSError as error:
            sentry.dismiss()
            raise StoreError(
                f"no folder can be made in {self.path.parent}: {error.strerror}. Name another place in TMPDIR"
            ) from error
        self.lifeline = sentry.lifeline
        """A file that keeps the folder, as long as any process has it open."""
        self._finalizer = weakref.finalize(self, _remove, self.path, sentry)

    def remove(self) -> None:
        self._finalizer()


def _remove(folder: Path, sentry: Sentry) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    sentry.dismiss()


class LoggedNotes(RunListener):
    """Has the program's log say what a run notes."""

    def note(self, text: str) -> None:
        _log.warning("%s", text)


class Background(LoggedNotes):
    """One run, from its start in `begin` until every task is accounted for. It hears of its run itself.

    temporary: the folder of a run that is not kept; it lasts as long as the run is at work, and such a run is
        waited for, as a thread is. None for a run whose records outlive this program, and so does the run:
        when the program ends before it, the workers go on.
    guard: over a run that is kept.
    feed: where its calls come from, if they come one by one.
    spares: become its first workers; it ends them with itself.
    """

    def __init__(
        self,
        folder: RunFolder,
        spec: RunSpec,
        source: BodySource,
        *,
        temporary: TemporaryFolder | None = None,
        guard: RunGuard | None = None,
        feed: Feed | None = None,
        spares: Sequence[Spare] = (),
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.error: BaseException | None = None
        self._spares = spares
        self._local: LocalRun | None = (LocalRun if feed is None else partial(FedRun, feed))(
            folder,
            spec,
            source,
            workers=OwnWorkers(
                lifeline=None if temporary is None else temporary.lifeline,
                hands_on=backend_class(spec.backend.name).keeps_files,
                spares=spares,
            ),
            listener=self,
        )
        self._source = source
        self._kept = temporary is None
        self._cancelled = False
        self._temporary = temporary
        self._guard = guard or RunGuard()
        self._news = threading.Condition()
        self._beat = 0
        self._ended = False
        self._is_accounted_for = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._asked: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        # not a daemon: a program's end waits for it, unless `leave` ends it
        self._thread = threading.Thread(target=self._work, name=f"kon-{spec.run}")

    def begin(self, *, cancelled: bool = False) -> None:
        """cancelled: it is taken up only to be given up."""
        self._cancelled = cancelled
        _register(self)
        self._thread.start()
        try:
            self._started.wait()
        except BaseException:  # Ctrl-C: the caller gets no hold on it, so it must not go on
            self._started.wait()
            self.stop()
            raise

    # --- for other threads -------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def beat(self) -> int:
        """Grows whenever something has been recorded; see `wait`."""
        return self._beat

    def wait(self, beat: int, timeout_s: float | None) -> bool:
        """Wait for news since `beat`, or the run's end. False where neither comes for `timeout_s` seconds."""
        with self._news:
            return self._news.wait_for(lambda: self._ended or self._beat != beat, timeout_s)

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def cancel(self, at_once: bool = False) -> None:
        """Give the run up; see `LocalRun.cancel`. Does not wait for it."""
        self._ask(partial(self._cancel, at_once))

    def stop(self) -> None:
        """End at once: workers are killed. Does not wait for it."""
        self._ask(self._stop)

    def leave(self) -> bool:
        """Leave a run that is kept to its workers, once all its tasks are queued. Does not wait for it.

        False where it can't go on without this program.
        """
        if not (self._kept and backend_class(self.spec.backend.name).processes):
            return False
        self._ask(self._leave)
        return True

    def _ask(self, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert self._loop is not None  # `begin` waits for it
        try:
            self._loop.call_soon_threadsafe(self._spawn, what)
        except RuntimeError:
            pass  # it has ended, and its loop is closed

    # --- on its own thread -------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass  # as asked for
        except BaseException as error:
            self.error = first_cause(error)
        finally:
            for spare in self._spares:
                spare.dismiss()
            # what it holds, the file that items are kept in for example, goes with it, not some time later
            self._local = None
            self._source = NothingToQueue()
            self._temporary = None
            _forget(self)
            self._started.set()
            with self._news:
                self._ended = True
                self._news.notify_all()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._started.set()
        async with client_lock(self.folder.path.parent):
            assert self._local is not None  # until the end of this
            if self._cancelled:
                self._spawn(self._local.cancel)
            with self._guard.tells_of_breaks(lambda: self.folder):
                if isinstance(self._source, NothingToQueue) and not self._cancelled:
                    await _check_queued(self.folder, self.spec)
                await self._guard.hold(self._local.run(), lambda: self._local)
            if self._kept:
                await self._conclude()

    async def _conclude(self) -> None:
        """Results stand even where not all of the run goes; whoever takes it up goes on with that."""
        from kon.launch.campaign import clear_away, record  # which load all that an experiment may need

        self._guard.ended(record(self.folder), self.folder)
        try:
            await clear_away(self.folder)
        except LeftBehind as error:
            _log.warning("%s", error)

    def update(self, tally: Tally) -> None:
        self._is_accounted_for = not tally.left
        with self._news:
            self._beat += 1
            self._news.notify_all()

    def _spawn(self, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.ensure_future(what())
        self._asked.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asked.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._is_accounted_for:  # else the run had ended before it was asked
            _log.warning("%s", error)

    async def _cancel(self, at_once: bool) -> None:
        if self._local is None:
            return
        await self._local.cancel(at_once)
        if at_once:
            # a worker that was told twice keeps its messages, whose time the client would wait for
            await self._local.workers_ended()
            await self._stop()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _leave(self) -> None:
        if self._local is not None:
            try:
                await self._local.submitted()
            except StoreError as error:
                if not self._is_accounted_for:
                    _log.warning(
                        "%s. So %s can't be left to its workers: this program ends with the run. Where that "
                        "fails, the same call with the same `out` goes on with it",
                        error,
                        self.spec.run,
                    )
                return
            if self._is_accounted_for:
                return  # nothing is left to the workers; it ends by itself, and in a moment
            self._local.detach()
        await self._stop()


async def _check_queued(folder: RunFolder, spec: RunSpec) -> None:
    """Raise ConfigurationError where not every task of a run has been queued: nobody knows the others."""
    backend = open_backend(spec.backend, folder.path.parent)
    try:
        submitted = (await Control((await backend.open(spec.run)).control).read()).submitted
    except StoreVersionError:
        raise
    except StoreError:
        submitted = 0  # its queue has never been made, or has gone
    finally:
        await backend.close()
    if submitted < spec.tasks:
        raise ConfigurationError(
            f"run {spec.run}: {submitted} of its {spec.tasks} tasks had been queued when the program "
            "that submitted them ended, and nobody else knows the rest. Call kon.map or kon.submit again "
            f"with the same items and out={str(folder.path.parent)!r}: what is recorded is not repeated"
        )


# --- all of them, so that the end of the program finds them ----------------------------------------

_lock = threading.Lock()
_running: dict[str, Background] = {}
_watching = False


def _place(folder: RunFolder) -> str:
    """Where it is, by whatever path. Path.resolve may fail at links that lead nowhere."""
    return os.path.realpath(folder.path)


def running_in(folder: RunFolder) -> Background | None:
    """The client in this program that is at work on the run in that folder."""
    with _lock:
        return _running.get(_place(folder))


def _register(background: Background) -> None:
    global _watching
    with _lock:
        _running[_place(background.folder)] = background
        if not _watching:
            _watching = True
            threading.Thread(target=_watch_program, name="kon-exit", daemon=True).start()


def _forget(background: Background) -> None:
    path = _place(background.folder)
    with _lock:
        if _running.get(path) is background:
            del _running[path]


def _watch_program() -> None:
    """Before Python waits for the threads of a program that has come to its end, it ends the main thread."""
    threading.main_thread().join()
    with _lock:
        left = list(_running.values())
    for background in left:
        background.leave()


_Value = TypeVar("_Value")


def in_private_loop(work: Coroutine[Any, Any, _Value]) -> _Value:
    """Run a coroutine to its end, also where the caller's thread has a running event loop."""
    with ThreadPoolExecutor(1, thread_name_prefix="kon-call") as thread:
        return thread.submit(asyncio.run, work).result()
