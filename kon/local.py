"""Runs on this machine: a client here, workers as processes or, for backends in memory, in its loop."""

from __future__ import annotations

import asyncio
import os
import platform
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final, Protocol

from kon.backend import Backend, Channel
from kon.client import Client, Tally
from kon.clock import Clock
from kon.control import Control, WorkerState
from kon.errors import ConfigurationError
from kon.events import Event, Recorder
from kon.journal import FileJournal
from kon.plugins import open_backend
from kon.process import make_kind, strategy_maker
from kon.records import RunFolder
from kon.run import RunSpec
from kon.supervise import WorkerProcesses
from kon.worker import Worker

READY_POLL_S: Final = 0.02
READY_S: Final = 60.0
"""How long workers may take to become ready, in seconds."""
GOING_S: Final = 5.0
"""How long workers of other processes may take to notice that a run is over, in seconds."""


class Source(Protocol):
    """Where a run's task bodies come from: a Workload, or anything that can make them anew."""

    def bodies(self, workers: int) -> Iterable[Any]: ...


class Crew(Protocol):
    """The workers of a run, while it runs."""

    async def run(self) -> None:
        """Keep them running until they have ended."""

    def stop(self) -> None:
        """Have them drain and end."""

    def detach(self) -> None:
        """Let them go on by themselves."""


class LocalRun:
    """One run on this machine, from its records' folder: begun, taken up again, or run again in part.

    join: workers are started by others (`kon host`), and only waited for.
    """

    def __init__(
        self,
        folder: RunFolder,
        spec: RunSpec,
        source: Source,
        *,
        join: bool = False,
        on_progress: Callable[[Tally], None] = lambda tally: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder
        self.spec = spec
        self._source = source
        self._join = join
        self._on_progress = on_progress
        self._on_note = on_note
        self._workers: Crew | None = None

    async def run(self) -> Tally:
        """Run it to the end: every task accounted for, workers gone. Records are in the folder."""
        spec, folder = self.spec, self.folder
        backend = open_backend(spec.backend, folder.path.parent)
        if spec.faults.kill_workers and not backend.processes:
            raise ConfigurationError(
                f"faults.kill_workers: the backend {spec.backend.name} has no worker processes to kill; "
                "use sqlite, or leave it out"
            )
        if not folder.exists:
            folder.write_run(spec, context())
        try:
            await backend.create(spec.run, spec.channel_options)
            channel = await backend.open(spec.run)
            async with self._crew(backend, channel):
                tally = await self._client(backend, channel)
            return tally
        finally:
            await backend.close()

    async def _client(self, backend: Backend, channel: Channel) -> Tally:
        spec, clock = self.spec, Clock.of_this_host()
        recorder = Recorder(FileJournal(self.folder.events / "client.jsonl"), clock)
        client = Client(
            spec,
            channel,
            FileJournal(self.folder.results),
            clock,
            random.Random(f"{spec.seed}:client"),
            first_attempt=self.folder.read_run().attempts_before + 1,
            on_progress=self._on_progress,
            on_trouble=lambda error, pause_s: self._on_note(f"{error}; trying again in {pause_s:.1f} s"),
        )
        for packet in self.folder.packets():
            client.recall(packet.outcomes)
        await self._until_ready(Control(channel.control))
        recorder.note(Event.OPEN, pid=os.getpid(), host=platform.node())
        recorder.flush()
        tally = await client.run(self._source.bodies(spec.workers))
        await client.close()
        usage = _usage(backend) if backend.processes else {}
        recorder.note(Event.CLOSE, **usage)
        recorder.flush()
        return tally

    async def _until_ready(self, control: Control) -> None:
        """The clock of a run starts when its workers are there, as in the older systems' measurements."""
        wanted = self.spec.workers * self.spec.processes
        give_up_s = asyncio.get_running_loop().time() + READY_S
        while len(await control.workers()) < wanted:
            if asyncio.get_running_loop().time() > give_up_s:
                self._on_note(
                    f"not all {wanted} workers are ready after {READY_S:.0f} s; starting without them"
                )
                return
            await asyncio.sleep(READY_POLL_S)

    @asynccontextmanager
    async def _crew(self, backend: Backend, channel: Channel) -> AsyncIterator[None]:
        if self._join:
            yield
            await self._until_gone(Control(channel.control))
            return
        self._workers = self._make_crew(backend, channel, await self._missing(channel))
        async with asyncio.TaskGroup() as group:
            working = group.create_task(self._workers.run())
            try:
                yield
            except asyncio.CancelledError:
                working.cancel()
                raise
            self._workers.stop()

    def _make_crew(self, backend: Backend, channel: Channel, names: list[str]) -> Crew:
        if backend.processes:
            return WorkerProcesses(self.folder, names, doomed(self.spec) if not self.folder.begun else {})
        return WorkersHere(self.folder, self.folder.read_run().worker_spec, names, backend, channel)

    async def _until_gone(self, control: Control) -> None:
        """The last lines that workers of other processes write belong into the summary."""
        give_up_s = asyncio.get_running_loop().time() + self.spec.drain_s + GOING_S
        while any(map(runs_here, await control.workers())):
            if asyncio.get_running_loop().time() > give_up_s:
                self._on_note("not all workers have ended; what they used is not in the table")
                return
            await asyncio.sleep(READY_POLL_S)

    async def _missing(self, channel: Channel) -> list[str]:
        """Workers to be started: all, but for those that an earlier client left running."""
        names = worker_names(self.spec)
        for worker in await Control(channel.control).workers():
            name = worker.name.rpartition(".")[0]
            if name in names and runs_here(worker):
                names.remove(name)
        return names

    def detach(self) -> None:
        """Leave the workers running when `run` is cancelled. No use for workers in this process."""
        if self._workers is not None:
            self._workers.detach()

    def stop_workers(self) -> None:
        """Have the workers drain and end, whatever is left to do."""
        if self._workers is not None:
            self._workers.stop()


def runs_here(worker: WorkerState) -> bool:
    """Whether the worker is a live process of this machine."""
    pid = worker.details.get("pid")
    if worker.details.get("host") != platform.node() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class WorkersHere:
    """Workers in this process's own loop, for backends that live in its memory."""

    def __init__(
        self, folder: RunFolder, spec: RunSpec, names: list[str], backend: Backend, channel: Channel
    ) -> None:
        clock = Clock.of_this_host()
        self._journals = []
        self._workers = []
        for number, name in enumerate(names):
            journal = FileJournal(folder.events / f"{name}.jsonl")
            self._journals.append(journal)
            self._workers.append(
                Worker(
                    name,
                    spec,
                    channel,
                    strategy_maker(spec),
                    make_kind(spec),
                    clock,
                    Recorder(journal, clock),
                    random.Random(f"{spec.seed}:{name}"),
                    # they share one process, and what it used is told once
                    usage=(lambda: _usage(backend)) if number == 0 else dict,
                )
            )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                group.create_task(worker.run())
        for journal in self._journals:
            journal.close()

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()

    def detach(self) -> None:
        """They end with this process; their tasks do too, as the memory that holds them."""


def worker_names(spec: RunSpec, host: int | None = None) -> list[str]:
    """The names of a run's worker processes, of all its workers or of one."""
    hosts = range(1, spec.workers + 1) if host is None else [host]
    if spec.processes == 1:
        return [f"w{number}" for number in hosts]
    return [f"w{number}-{process}" for number in hosts for process in range(1, spec.processes + 1)]


def doomed(spec: RunSpec) -> dict[str, int]:
    """Which worker processes end by SIGKILL, and as which of their tasks starts: drawn from the seed,
    between a quarter and three quarters of their share."""
    rng = random.Random(f"{spec.seed}:kill")
    names = worker_names(spec)
    share = max(1, spec.tasks // len(names))
    victims = rng.sample(names, min(spec.faults.kill_workers, len(names)))
    return {name: rng.randint(max(1, share // 4), max(1, 3 * share // 4)) for name in victims}


def context() -> dict[str, Any]:
    """What a reader of the records must know of the machine and the software."""
    return {
        "kon": version("kon"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "host": platform.node(),
        "started_s": time.time(),
    }


def _usage(backend: Backend) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "cpu_s": time.process_time(),
        "requests": backend.requests,
    }
