"""Runs on this machine: a client here, workers as processes or, for backends in memory, in its loop."""

from __future__ import annotations

import asyncio
import os
import platform
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

from kon.backend import Backend, Channel
from kon.client import Client, Tally
from kon.clock import Clock
from kon.control import Control, Status, WorkerState
from kon.dedup import check_queue
from kon.errors import BackendUnavailable, ConfigurationError, StoreError
from kon.events import Event, Recorder, Watch, spent
from kon.joining import watch_hosts
from kon.journal import FileJournal
from kon.logs.setup import logged
from kon.metrics import Meter, asked_for, serving
from kon.plugins import open_backend, strategy_class
from kon.process import make_kind, strategy_maker
from kon.records import RunFolder
from kon.run import RunSpec
from kon.supervise import WorkerProcesses
from kon.worker import Worker

READY_POLL_S: Final = 0.02
LONGEST_READY_POLL_S: Final = 0.25
APART_POLL_S: Final = 0.5
REFUSALS_S: Final = 10.0
"""Between two looks at whether hosts elsewhere have another kon, in seconds."""
READY_S: Final = 60.0
"""How long workers may take to become ready, in seconds."""
GOING_S: Final = 5.0
"""How long workers of other processes may take to notice that a run is over, in seconds."""


class Source(Protocol):
    """Where a run's task bodies come from: a Workload, or anything that can make them anew."""

    def bodies(self, workers: int) -> Iterable[Any]: ...


class Crew(Protocol):
    """The workers of a run, while it runs."""

    outlives: bool
    """Whether they can go on without this process."""

    async def run(self) -> None:
        """Keep them running until they have ended."""

    def stop(self) -> None:
        """Have them drain and end."""

    def detach(self) -> None:
        """Let them go on by themselves."""

    def kill(self) -> None:
        """End them at once."""

    async def ended(self) -> None:
        """Return when none is left, whatever became of `run`."""


class LocalRun:
    """One run on this machine, from its records' folder: begun, taken up again, or run again in part.

    join: workers are started by others (`kon host`), and only waited for.
    apart: these are on other machines (`kon join`), which share nothing with this one but the backend.
    about: where the run comes from, for its records.
    """

    def __init__(
        self,
        folder: RunFolder,
        spec: RunSpec,
        source: Source,
        *,
        join: bool = False,
        apart: bool = False,
        about: Mapping[str, Any] | None = None,
        on_progress: Callable[[Tally], None] = lambda tally: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder
        self.spec = spec
        self._source = source
        self.join = join
        self._apart = apart
        self._about = about or {}
        self._on_progress = on_progress
        self._on_note = on_note
        self._begun = False
        self._workers: Crew | None = None
        self._adopted: list[WorkerState] = []

    async def run(self) -> Tally:
        """Run it to the end: every task accounted for, workers gone. Records are in the folder."""
        async with self._open() as (backend, channel):
            async with self._crew(backend, channel):
                return await self._collect(backend, channel)

    async def submit(self) -> None:
        """Queue its tasks, for workers and a client that are started later.

        Raises ConfigurationError for a backend that ends with this process.
        """
        async with self._open() as (backend, channel):
            if not backend.processes:
                raise ConfigurationError(
                    f"the backend {self.spec.backend.name} lives in this process's memory, and what is "
                    "submitted would end with it; use sqlite"
                )
            with self._client(channel) as (client, recorder):
                self._note_open(backend, recorder)
                await client.submit(self._source.bodies(self.spec.workers))
                recorder.note(Event.USAGE, **spent(backend, time.process_time()))
                recorder.flush()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[Backend, Channel]]:
        spec, folder = self.spec, self.folder
        backend = open_backend(spec.backend, folder.path.parent)
        if spec.faults.kill_workers and not backend.processes:
            raise ConfigurationError(
                f"faults.kill_workers: the backend {spec.backend.name} has no worker processes to kill; "
                "use sqlite, or leave it out"
            )
        check_queue(strategy_class(spec.strategy.name), backend.fifo)
        self._begun = folder.begun
        if not folder.exists:
            folder.write_run(spec, {**context(), **self._about})
        try:
            await backend.create(spec.run, spec.channel_options)
            channel = await backend.open(spec.run)
            if not self._begun and not backend.keeps_files:
                await self._check_nobody_elses(Control(channel.control))
            if self._begun:
                await self._open_again(Control(channel.control))
            yield backend, channel
        finally:
            await backend.close()

    async def _open_again(self, control: Control) -> None:
        """What was paused goes on."""
        if (await control.read()).status is Status.PAUSED:
            await control.close(Status.OPEN)

    async def _check_nobody_elses(self, control: Control) -> None:
        """Raises ConfigurationError where somebody has queued tasks of a run that is new here: two clients
        of one run would take each other's answers."""
        submitted = (await control.read()).submitted
        if submitted:
            name = self.spec.backend.name
            raise ConfigurationError(
                f'there is a run "{self.spec.run}" on {name} already, with {submitted:,} tasks queued, and '
                f"{self.folder.path} knows nothing of it. It is left as it is: go on with it in its own "
                "folder, delete it by `kon down`, or take another name for the experiment or another prefix"
            )

    async def _collect(self, backend: Backend, channel: Channel) -> Tally:
        with self._client(channel) as (client, recorder):
            for packet in self.folder.packets():
                client.recall(packet.outcomes)
            if not (self.join and self._begun):  # nobody has to come to a run whose clock runs already
                await self._until_ready(Control(channel.control))
            self._note_open(backend, recorder)
            end = Event.USAGE  # for one that is interrupted: another client goes on
            try:
                tally = await client.run(self._source.bodies(self.spec.workers))
                await client.close()
                end = Event.CLOSE
            finally:
                usage = spent(backend, time.process_time()) if backend.processes else {}
                recorder.note(end, **usage, calls=client.timings.sums())
                recorder.flush()
            return tally

    @contextmanager
    def _client(self, channel: Channel) -> Iterator[tuple[Client, Recorder]]:
        spec, clock = self.spec, Clock.of_this_host()
        with (
            closing(FileJournal(self.folder.results)) as results,
            closing(FileJournal(self.folder.events / "client.jsonl")) as events,
        ):
            client = Client(
                spec,
                channel,
                results,
                clock,
                random.Random(f"{spec.seed}:client"),
                first_attempt=self._first_attempt,
                on_progress=self._on_progress,
                on_trouble=lambda error, pause_s: self._on_note(f"{error}; trying again in {pause_s:.1f} s"),
            )
            yield client, Recorder(events, clock)

    @property
    def _first_attempt(self) -> int:
        return self.folder.read_run().attempts_before + 1

    def _note_open(self, backend: Backend, recorder: Recorder) -> None:
        used = spent(backend, time.process_time())  # so far: what the tasks cost comes on top
        recorder.note(Event.OPEN, first_attempt=self._first_attempt, **used)
        recorder.flush()

    async def _until_ready(self, control: Control) -> None:
        """The clock of a run starts when its workers are there, as in the older systems' measurements."""
        wanted = self.spec.workers * self.spec.processes
        give_up_s = asyncio.get_running_loop().time() + READY_S
        pause_s = READY_POLL_S
        while len(await control.workers()) < wanted:
            if self._apart:
                await self._check_hosts(control)
            if asyncio.get_running_loop().time() > give_up_s:
                self._on_note(
                    f"not all {wanted} workers are ready after {READY_S:.0f} s; starting without them"
                )
                return
            await asyncio.sleep(pause_s)
            pause_s = min(1.2 * pause_s, LONGEST_READY_POLL_S)  # a look may be a request that is billed

    async def _tell_of_refusals(self, control: Control) -> None:
        """Hosts that come later, or to a run that is gone on with, are told of: others may do its work."""
        told: set[int] = set()
        while True:
            await asyncio.sleep(REFUSALS_S)
            with suppress(BackendUnavailable, StoreError):  # whoever needs the backend says so
                for each in await control.refusals(range(1, self.spec.workers + 1), version("kon")):
                    if each.number not in told:
                        self._on_note(f"host {each.number} has kon {each.kon}, and does not take part")
                    told.add(each.number)

    async def _check_hosts(self, control: Control) -> None:
        """Raises ConfigurationError where a host has another kon, before anything is queued."""
        ours = version("kon")
        refusals = await control.refusals(range(1, self.spec.workers + 1), ours)
        if refusals:
            named = ", ".join(f"host {each.number} has {each.kon}" for each in refusals)
            raise ConfigurationError(
                f"run {self.spec.run}: this is kon {ours}, and {named}: they do not take part, and nothing "
                "was queued. Install this kon there (playbooks/configure.yml), and start again"
            )

    @asynccontextmanager
    async def _crew(self, backend: Backend, channel: Channel) -> AsyncIterator[None]:
        if self.join:
            hosts = self._hosts_apart if self._apart else self._hosts
            async with hosts(Control(channel.control)):
                yield
            return
        self._workers = self._make_crew(backend, channel, await self._left(channel))
        async with asyncio.TaskGroup() as group:
            working = group.create_task(self._workers.run())
            try:
                yield
            except asyncio.CancelledError:
                working.cancel()
                raise
            self._workers.stop()
        if self._adopted:
            await self._until_gone(Control(channel.control))

    @asynccontextmanager
    async def _hosts_apart(self, control: Control) -> AsyncIterator[None]:
        """Nobody here can see whether a host of another machine lives; what a dead one held comes again."""
        run = self.folder.read_run()
        await control.publish(run.worker_spec, version("kon"), run.begun_s)
        telling = asyncio.create_task(self._tell_of_refusals(control))
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.wait({telling})
        numbers = range(1, self.spec.workers + 1)
        give_up_s = asyncio.get_running_loop().time() + self.spec.drain_s + GOING_S
        while await control.hosts_at_work(numbers):  # they read its tables, which are about to go
            if asyncio.get_running_loop().time() > give_up_s:
                return
            await asyncio.sleep(APART_POLL_S)

    @asynccontextmanager
    async def _hosts(self, control: Control) -> AsyncIterator[None]:
        async def any_worker_left() -> bool:
            return _any_runs_here(await control.workers())

        async with asyncio.TaskGroup() as group:
            watch = group.create_task(
                watch_hosts(self.folder.path.parent, self.spec.workers, any_worker_left)
            )
            yield
            watch.cancel()
        await self._until_gone(control)

    def _make_crew(self, backend: Backend, channel: Channel, left: dict[str, list[WorkerState]]) -> Crew:
        if not backend.processes:
            return WorkersHere(self.folder, self.folder.read_run().worker_spec, backend, channel)
        running = {name: partial(_any_runs_here, workers) for name, workers in left.items()}
        kills = {} if self._begun else doomed(self.spec)
        return WorkerProcesses(self.folder, worker_names(self.spec), kills, left=running)

    async def _until_gone(self, control: Control) -> None:
        """The last lines that workers of other processes write belong into the summary."""
        give_up_s = asyncio.get_running_loop().time() + self.spec.drain_s + GOING_S
        while _any_runs_here(await control.workers()):
            if asyncio.get_running_loop().time() > give_up_s:
                self._on_note("not all workers have ended; what they used is not in the table")
                return
            await asyncio.sleep(READY_POLL_S)

    async def _left(self, channel: Channel) -> dict[str, list[WorkerState]]:
        """The workers, by name, that an earlier client left running."""
        left: dict[str, list[WorkerState]] = {}
        for worker in await Control(channel.control).workers():
            if runs_here(worker):
                left.setdefault(worker.name.rpartition(".")[0], []).append(worker)
                self._adopted.append(worker)
        return left

    def detach(self) -> bool:
        """Leave the workers running when `run` is cancelled. False where there are none that could go on
        without this process."""
        if self._workers is None or not self._workers.outlives:
            return False
        self._workers.detach()
        return True

    def stop_workers(self) -> None:
        """Have the workers drain and end, whatever is left to do."""
        if self._workers is not None:
            self._workers.stop()
        signal_workers(self._adopted, signal.SIGTERM)

    def kill_workers(self) -> None:
        """End the workers at once; what they held comes again to others."""
        if self._workers is not None:
            self._workers.kill()
        signal_workers(self._adopted, signal.SIGKILL)

    async def workers_ended(self) -> None:
        """Return when no worker of the run is left here."""
        if self._workers is not None:
            await self._workers.ended()
        while _any_runs_here(self._adopted):  # noqa: ASYNC110 - they are not this process's children
            await asyncio.sleep(READY_POLL_S)


def signal_workers(workers: Iterable[WorkerState], number: signal.Signals) -> None:
    """Send it to those that are live processes of this machine."""
    for worker in workers:
        if runs_here(worker):
            with suppress(ProcessLookupError):
                os.kill(worker.details["pid"], number)


def _any_runs_here(workers: Sequence[WorkerState]) -> bool:
    return any(map(runs_here, workers))


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
    return _is_worker(pid)


def _is_worker(pid: int) -> bool:
    """Whether the id has not passed on to another program, where the system can tell."""
    try:
        # of a process that has ended, and that nobody has asked about yet, this is empty
        return b"kon.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self/cmdline").exists()


class WorkersHere:
    """Workers in this process's own loop, for backends that live in its memory. Where the environment asks
    for metrics, they are served for all of them at one address."""

    outlives = False

    def __init__(self, folder: RunFolder, spec: RunSpec, backend: Backend, channel: Channel) -> None:
        clock = Clock.of_this_host()
        began_cpu_s = time.process_time()  # what this process has used for other things
        self._journals = []
        self._workers: list[Worker] = []
        self._serving: AbstractContextManager[None] = nullcontext()
        watches: list[Watch] = []
        if address := asked_for():
            watches.append(meter := Meter())
            self._serving = serving(address, spec, meter, self._workers, backend)
        for number, name in enumerate(worker_names(spec)):
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
                    Recorder(journal, clock, watches=[*watches, *logged(spec.run, name)]),
                    random.Random(f"{spec.seed}:{name}"),
                    # they share one process, and what it used is told once
                    usage=(lambda: spent(backend, time.process_time() - began_cpu_s))
                    if number == 0
                    else dict,
                )
            )

    async def run(self) -> None:
        with self._serving:
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

    def kill(self) -> None:
        """Cancelling `run` ends them."""

    async def ended(self) -> None:
        return


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
