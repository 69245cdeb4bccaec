"""Supervision: keeps a number of worker processes running, and replaces those that die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.core.errors import (
    BackendUnavailable,
    StoreError,
    WorkersCantStart,
    WorkersDenied,
    WorkersFailed,
    WorkersRefused,
)
from kon.engine.records.records import RunFolder
from kon.engine.watchers.endpoint import asked_for
from kon.launch.holds import COMMANDS_END_S, WorkerHolds, read
from kon.launch.process import DENIED
from kon.launch.spare import PROGRAM, Spare

QUICK_DEATHS: Final = 3
"""A worker that failed so often in a row, each time within `QUICK_S`, is not started again."""
QUICK_S: Final = 2.0

END_POLL_S: Final = 0.05

FULL_BYTES: Final = 1 << 16
"""A disk with less free space than this is full, for a worker that can't start."""


_FAILURES: Final = {failure.exit_code: failure for failure in (WorkersCantStart, WorkersRefused)}
"""What it means when workers end with these exit codes as soon as they are started."""


@dataclass(frozen=True)
class OwnWorkers:
    """How a client's own workers begin and end.

    lifeline: for a run whose records nobody keeps: a file that its workers hold open. They end with this
        process then, however that ends. None for workers that may outlive it.
    hands_on: what a worker held that died comes to others in seconds, not after its timeouts. An experiment
        measures these.
    spares: processes that become the first of them; the others are started (see kon.launch.spare).
    """

    lifeline: int | None = None
    hands_on: bool = False
    spares: Sequence[Spare] = ()


class WorkerProcesses:
    """The worker processes of one run on this machine.

    Where the environment asks for metrics, each serves its own: the first at the address that it names, the
    others at the ports that follow, in the order of `names`.

    doomed: workers, by name, that are to end by SIGKILL at their n-th task; their replacements are not.
    options: further words for the command line of each (see kon.launch.process).
    left: for workers that others left running, by name, whether they still do: each is replaced by one of
        these processes once it does not.
    own: how they begin and end.
    on_death: gets what a worker held that died, once its commands have ended. None: it comes again after its
        timeouts.
    """

    outlives = True

    def __init__(
        self,
        folder: RunFolder,
        names: list[str],
        doomed: Mapping[str, int] | None = None,
        options: Sequence[str] = (),
        left: Mapping[str, Callable[[], bool]] | None = None,
        own: OwnWorkers | None = None,
        on_death: Callable[[WorkerHolds], Awaitable[None]] | None = None,
    ) -> None:
        own = own or OwnWorkers()
        self._folder = folder
        self._names = names
        self._doomed = dict(doomed or {})
        self._options = options
        self._metrics = asked_for()
        self._left = left or {}
        self._lifeline = own.lifeline
        self._on_death = on_death
        self._spares = list(own.spares)
        self._group: asyncio.TaskGroup | None = None
        self._processes: dict[str, subprocess.Popen[bytes] | Spare] = {}
        self._stopping = False
        self._detached = False
        self._denied: WorkersDenied | None = None

    async def run(self) -> None:
        """Keep them running until every one has ended by itself, or `stop` was called.

        Raises WorkersFailed when one fails again and again as soon as it is started, WorkersDenied when one
        is denied what it needs, and the others have drained.
        """
        with _usable(self._folder.logs):
            self._folder.logs.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for name in self._names:
                    group.create_task(self._keep(name))
            if self._denied is not None:
                raise self._denied
        finally:
            if not self._detached:
                self.kill()
                await self.ended()

    async def ended(self) -> None:
        """Return when none of their processes is left, were they left running by `detach` or not."""
        while self.pids():  # noqa: ASYNC110 - `run` may have been cancelled, and nobody else be told
            await asyncio.sleep(END_POLL_S)

    def pids(self) -> dict[str, int]:
        """The process of each worker that runs now."""
        return {name: each.pid for name, each in self._processes.items() if each.poll() is None}

    def stop(self) -> None:
        """Tell every worker to drain; `run` returns when they have ended."""
        self._stopping = True
        self._signal(signal.SIGTERM)

    def detach(self) -> None:
        """Leave them running by themselves: cancelling `run` does not end them after this."""
        self._detached = True

    def kill(self) -> None:
        """End them at once, and start none again. What they held comes again to others."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            process.send_signal(number)  # which does nothing to one that has ended

    async def _keep(self, name: str) -> None:
        now_s = asyncio.get_running_loop().time
        still_runs = self._left.get(name)
        while still_runs is not None and still_runs() and not self._stopping:  # noqa: ASYNC110 - a look alone tells
            await asyncio.sleep(END_POLL_S)
        quick_deaths = 0
        while not self._stopping:
            began_s = now_s()
            exit_code = await self._one_life(name)
            if exit_code == 0:
                return
            if exit_code == DENIED:  # a new life would only receive more in vain
                self._denied = WorkersDenied(
                    f"the workers can't go on: {self._last_words(name, exit_code)}. No task counts as tried: "
                    "what is recorded stays, and what is queued goes on then"
                )
                if not self._stopping:  # a second SIGTERM would end them at once
                    self.stop()  # killed, they would have received in vain what they hold
                return
            self._hand_on(name)
            if exit_code > 0 and now_s() - began_s < QUICK_S:
                quick_deaths += 1
            else:
                quick_deaths = 0
            if quick_deaths == QUICK_DEATHS:
                usual = _FAILURES.get(exit_code, WorkersFailed)
                failure = WorkersCantStart if self._has_no_room(name) else usual
                raise failure(
                    f"worker {name} failed {QUICK_DEATHS} times as soon as it was started: "
                    f"{self._last_words(name, exit_code)}. Its tasks are still queued; mend the cause and "
                    "start again"
                )

    def _hand_on(self, name: str) -> None:
        """Hand what a dead worker held to others. Its next life writes to the same file."""
        held = None if self._on_death is None else read(self._holds(name))
        if held is not None and self._group is not None:
            self._group.create_task(self._hand_on_later(held))

    async def _hand_on_later(self, held: WorkerHolds) -> None:
        due_s = asyncio.get_running_loop().time() + COMMANDS_END_S
        while asyncio.get_running_loop().time() < due_s:
            if self._stopping:
                return  # nobody is left to take it
            await asyncio.sleep(END_POLL_S)
        assert self._on_death is not None
        with contextlib.suppress(BackendUnavailable, StoreError):  # then it comes again by itself
            await self._on_death(held)

    async def _one_life(self, name: str) -> int:
        words = [
            str(self._folder.path),
            name,
            *("--parent", str(os.getpid())),
            *self._options,
        ]
        kill_after = self._doomed.pop(name, None)
        if kill_after is not None:
            words += ["--kill-after", str(kill_after)]
        if self._metrics is not None:
            words += ["--metrics", str(self._metrics.of(self._names.index(name)))]
        if self._lifeline is not None:
            words += ["--lifeline", str(self._lifeline)]
        if self._on_death is not None:
            words += ["--holds", str(self._holds(name))]
        process = self._started(words, self._log(name))
        self._processes[name] = process
        if self._stopping:
            process.send_signal(signal.SIGTERM)
        return await _exit_code(process)

    def _started(self, words: Sequence[str], log: Path) -> subprocess.Popen[bytes] | Spare:
        """The process of a worker with this command line, in a session of its own: Ctrl-C in the terminal is
        for the client, not for its workers."""
        with _usable(log):
            output = log.open("ab")
        with output:
            if self._spares:
                spare = self._spares.pop()
                spare.work(words, log)
                return spare
            try:
                return subprocess.Popen(
                    [sys.executable, "-P", "-m", PROGRAM, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    pass_fds=() if self._lifeline is None else (self._lifeline,),
                )
            except OSError as error:
                raise WorkersCantStart(
                    f"worker {log.stem} can't be started: {error.strerror}. Its tasks are still queued: "
                    "raise the limit (ulimit -u or -n, or a container's), then run the same command again"
                ) from error

    def _log(self, name: str) -> Path:
        return self._folder.logs / f"{name}.log"

    def _holds(self, name: str) -> Path:
        return self._folder.logs / f"{name}.holds"

    def _last_words(self, name: str, exit_code: int) -> str:
        log = self._log(name)
        with _usable(log):
            lines = log.read_text(errors="replace").strip().splitlines()
            if lines:
                return _message(lines[-1])
        if self._has_no_room(name):
            return f"the disk of {log.parent} is full"
        return f"exit code {exit_code}, and nothing in {log}"

    def _has_no_room(self, name: str) -> bool:
        """Whether a worker says nothing, as the disk is too full even for that."""
        log = self._log(name)
        with _usable(log):
            return not log.read_bytes().strip() and shutil.disk_usage(log.parent).free < FULL_BYTES


@contextlib.contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Raises StoreError where a run's folder can't be used; it may have been removed under the run."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: can't be used: {error.strerror}. What is recorded there counts; mend that, then run "
            "the same command again"
        ) from error


def _message(line: str) -> str:
    """What a line of a log says, be it one of text or of JSON."""
    try:
        return str(msgspec.json.decode(line, type=dict[str, Any])["message"])
    except (msgspec.DecodeError, KeyError):
        return line


async def _exit_code(process: subprocess.Popen[bytes] | Spare) -> int:
    """Wait for its end, in a thread: a process of asyncio's is killed when the loop that started it
    closes, and a worker may outlive its client."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def tell(exit_code: int) -> None:
        if not ended.done():
            ended.set_result(exit_code)

    def wait() -> None:
        exit_code = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, exit_code)

    threading.Thread(target=wait, name=f"wait-{process.pid}", daemon=True).start()
    return await ended
