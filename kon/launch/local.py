"""Runs on this machine: a client here, workers as processes or, for backends in memory, in its loop.

The file is one life cycle, that of a run: made or taken up, fed, detached or cancelled, and ended.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

from kon.core.backend import Backend, Channel
from kon.core.clock import Clock
from kon.core.errors import (
    BackendUnavailable,
    ConfigurationError,
    KonError,
    WorkersFailed,
    counted,
    ungrouped,
)
from kon.core.journal import FileJournal, Journal, LateJournal
from kon.core.plugins import backend_class, open_backend, strategy_class
from kon.core.spec import RunSpec
from kon.core.strategy import check_queue
from kon.engine.client import Client, ClientOptions, Listener
from kon.engine.client_lease import ClientLease, fenced
from kon.engine.control import Control, Status, WorkerState
from kon.engine.records.events import Event, Recorder, spent
from kon.engine.records.links import LinkedJournal, LinkLog
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.launch.client_run import BodySource, MakeClient, RunListener
from kon.launch.context import context
from kon.launch.crew import RunWorkers, WorkersHere, doomed, worker_names
from kon.launch.holds import hand_on
from kon.launch.joined import Hosts, JoinedHosts
from kon.launch.liveness import (
    ENDED_PAUSE_S,
    GOING_S,
    NOT_ENDED,
    all_gone,
    any_runs_here,
    client_lives,
    left_running,
    signal_workers,
    this_client,
)
from kon.launch.supervise import OwnWorkers, WorkerProcesses

READY_POLL_S: Final = 0.02
LONGEST_READY_POLL_S: Final = 0.25

CONTROL_PAUSE_S: Final = 0.02
"""Between two looks at the run's control table while it is being begun, in seconds."""

LOOK_AGAIN_S: Final = 1.0
"""Between two looks at that table where it does not answer, in seconds."""

SIGTERMS_APART_S: Final = 0.1
"""Between two SIGTERMs; the second ends a worker that drains. Closer ones may arrive as one."""

READY_S: Final = 60.0
"""How long workers may take to become ready, in seconds."""


_Answer = TypeVar("_Answer")


class LocalRun:
    """One run on this machine, from its records' folder: begun, taken up again, or run again in part. A
    ClientRun; its methods are called on the event loop that it runs in.

    hosts: these start its workers. None where it has workers of its own.
    workers: how its own begin and end.
    about: where the run comes from, for its records.
    """

    def __init__(
        self,
        folder: RunFolder,
        spec: RunSpec,
        source: BodySource,
        *,
        hosts: Hosts | None = None,
        workers: OwnWorkers | None = None,
        about: Mapping[str, Any] | None = None,
        listener: RunListener | None = None,
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.make_client: MakeClient = Client
        """For runs whose client does more."""
        self._source = source
        self.join = hosts is not None
        self._awaited = hosts
        self._own = workers or OwnWorkers()
        self._about = about or {}
        self._listener = listener or RunListener()
        self._begun = False
        self._workers: RunWorkers | None = None
        self._hosts: JoinedHosts | None = None
        self._backend: Backend | None = None
        self._control: Control | None = None
        self._lease: ClientLease | None = None
        self._stopping = False
        self._is_cancelled = False
        self._adopted: list[WorkerState] = []

    @property
    def billed(self) -> dict[str, float]:
        return {} if self._backend is None else dict(self._backend.billed)

    async def run(self) -> Tally:
        with ungrouped():
            async with self._open() as (backend, channel):
                async with self._crew(backend, channel):
                    return await self._collect(backend, channel)

    async def submit(self) -> None:
        with ungrouped():
            await self._submit()

    async def _submit(self) -> None:
        async with self._open() as (backend, channel):
            if not backend.processes:
                raise ConfigurationError(
                    f"the backend {self.spec.backend.name} lives in this process's memory, and what is "
                    "submitted would end with it; use sqlite"
                )
            with self._client(backend, channel) as (client, recorder):
                self._note_open(backend, recorder)
                await client.submit(self._source.bodies(self.spec.workers))
                recorder.note(Event.USAGE, **spent(backend, time.process_time()))
                recorder.flush()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[Backend, Channel]]:
        spec, folder = self.spec, self.folder
        backend = self._backend = open_backend(spec.backend, folder.path.parent)
        if spec.faults.kill_workers and not backend.processes:
            raise ConfigurationError(
                f"faults.kill_workers: the backend {spec.backend.name} has no worker processes to kill; "
                "use sqlite, or leave it out"
            )
        check_queue(strategy_class(spec.strategy.name), backend.fifo)
        self._begun = folder.begun
        is_new = not folder.exists
        if is_new:
            folder.write_run(spec, {**context(), **self._about})
        if self._awaited is not None:
            self._hosts = JoinedHosts(
                folder.path.parent,
                folder.read_run(),
                self._listener.note,
                apart=self._awaited.apart,
                begun=self._begun,
            )
        try:
            if folder.owes_deletion:  # of a run that is opened again: there all its tasks count as queued
                await backend.delete(spec.run, keep_objects=True)
                folder.settle_deletion()
            try:
                await backend.create(spec.run, spec.channel_options)
            except KonError:
                if is_new and not backend.keeps_files and not backend.operations:
                    folder.forget_run()  # nobody was asked: there is nothing to be taken up or deleted
                raise
            channel = await backend.open(spec.run)
            self._control = Control(channel.control)
            if not backend.processes:
                yield backend, channel  # no other process reaches it
                return
            async with self._leased(channel) as channel:
                if not self._begun:
                    await self._check_nobody_elses(self._control)
                else:
                    await self._open_again(self._control)
                yield backend, channel
        finally:
            await backend.close()

    @asynccontextmanager
    async def _leased(self, channel: Channel) -> AsyncIterator[Channel]:
        """Within it this process is the client of the run, and no other one is.

        Raises ConfigurationError where another one is, ClientReplaced where another one has taken over.
        """
        lease = self._lease = ClientLease(
            Control(channel.control),
            Clock.of_this_host(),
            this_client(),
            secrets.token_hex(8),
            is_alive=client_lives,
            on_note=self._listener.note,
        )
        await lease.take()
        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(lease.keep())
                yield fenced(channel, lease)
                keeping.cancel()
        finally:
            await lease.give_up()

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
            keeps_files = backend_class(name).keeps_files
            queued = counted(submitted, "task")
            raise ConfigurationError(
                f'there is a run "{self.spec.run}" on {name} already, with {queued} queued, and '
                f"{self.folder.path} knows nothing of it. It is left as it is: go on with it in its own "
                f"folder, delete it{'' if keeps_files else ' by `kon down`'}, or take another name for the "
                f"experiment or another {'path of the backend' if keeps_files else 'prefix'}"
            )

    async def _collect(self, backend: Backend, channel: Channel) -> Tally:
        with self._client(backend, channel) as (client, recorder):
            for packet in self.folder.packets():
                client.recall(packet.outcomes)
            # nobody has to come to a run whose clock runs already, and nobody reads the clock of one whose
            # records go with it
            if self._own.lifeline is None and not (self.join and self._begun):
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
    def _client(self, backend: Backend, channel: Channel) -> Iterator[tuple[Client, Recorder]]:
        spec, clock = self.spec, Clock.of_this_host()
        with (
            closing(self._answers(backend.durable)) as results,
            closing(FileJournal(self.folder.client_events)) as events,
            closing(LateJournal(self.folder.unreadable, durable=backend.durable)) as unreadable,
        ):
            listener = Listener(
                results,
                self._listener.update,
                lambda error, pause_s: self._listener.note(f"{error}; trying again in {pause_s:.1f} s"),
                unreadable,
            )
            rng = random.Random(f"{spec.seed}:client")
            options = ClientOptions(first_attempt=self._first_attempt)
            client = self.make_client(spec, channel, listener, clock, rng, options)
            yield client, Recorder(events, clock)

    def _answers(self, durable: bool) -> Journal:
        return LinkedJournal(FileJournal(self.folder.results, durable=durable), LinkLog(self.folder))

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
        while not self._stopping:
            with suppress(BackendUnavailable):  # the client is patient, too, and says for how long
                if len(await control.workers()) >= wanted:
                    return
                if self._hosts is not None:
                    await self._hosts.check(control)
            if asyncio.get_running_loop().time() > give_up_s:
                self._listener.note(
                    f"not all of {counted(wanted, 'worker')} are ready after {READY_S:.0f} s; "
                    "starting without the others"
                )
                return
            await asyncio.sleep(pause_s)
            pause_s = min(1.2 * pause_s, LONGEST_READY_POLL_S)  # a look may be a request that is billed

    @asynccontextmanager
    async def _crew(self, backend: Backend, channel: Channel) -> AsyncIterator[None]:
        control = Control(channel.control)
        if self._hosts is not None:
            async with self._hosts.at_work(control):
                yield
            return
        left = await left_running(control)
        self._adopted = [worker for workers in left.values() for worker in workers]
        self._workers = self._make_crew(backend, channel, left)
        async with asyncio.TaskGroup() as group:
            working = group.create_task(self._kept(self._workers, control))
            try:
                yield
            except asyncio.CancelledError:
                if self._lease is not None and self._lease.replaced:  # not the user's wish
                    await self._drained(self._workers)
                working.cancel()
                raise
            except Exception:
                await self._drained(self._workers)
                raise
            self._stopping = True
            self._workers.stop()
        if self._adopted and not await all_gone(control, self.spec.drain_s):
            self._listener.note(NOT_ENDED)

    async def _drained(self, workers: RunWorkers) -> None:
        """Have the workers of a client that can't go on give back what they hold: killed, they would have
        received it in vain. Does nothing where they are gone with this process."""
        if not workers.outlives or self._own.lifeline is not None:
            return
        self._listener.note(
            f"the client can't go on: what runs may take up to {self.spec.drain_s:g} s more, and what has "
            "not started is given back"
        )
        self._stopping = True
        workers.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.spec.drain_s + GOING_S):
                await workers.ended()

    async def _kept(self, workers: RunWorkers, control: Control) -> None:
        """Keep the workers running. Raises WorkersFailed where all have ended and tasks are left: somebody
        stopped them, and the client would wait for ever."""
        await workers.run()
        while workers.outlives and not self._stopping:
            try:
                state = await control.read()
            except BackendUnavailable:  # the client is patient, too, and says for how long
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            if state.status is not Status.OPEN:
                return
            raise WorkersFailed(
                f"all workers of {self.spec.run} were stopped from outside (SIGTERM) before its tasks were "
                "done. What is recorded stays, and what is queued goes on when the same command runs again"
            )

    def _make_crew(
        self, backend: Backend, channel: Channel, left: dict[str, list[WorkerState]]
    ) -> RunWorkers:
        if not backend.processes:
            return WorkersHere(self.folder, self.folder.read_run().worker_spec, backend, channel)
        running = {name: partial(any_runs_here, workers) for name, workers in left.items()}
        kills = {} if self._begun else doomed(self.spec)
        return WorkerProcesses(
            self.folder,
            worker_names(self.spec),
            kills,
            left=running,
            own=self._own,
            # rows in pages are of several workers
            on_death=partial(hand_on, channel=channel)
            if self._own.hands_on and self.spec.tasks_per_row == 1
            else None,
        )

    def detach(self) -> bool:
        if self._workers is None or not self._workers.outlives:
            return False
        self._workers.detach()
        return True

    async def submitted(self) -> None:
        """Return when every task is queued."""
        tasks = self.spec.tasks
        while self._control is None or (await answered(self._control.read)).submitted < tasks:  # noqa: ASYNC110 - only the table tells
            await asyncio.sleep(CONTROL_PAUSE_S)

    async def cancel(self, at_once: bool = False) -> None:
        """Start nothing more. What runs may go on for `drain_s`, unless it is to end `at_once`; then what
        is left is cancelled, and `run` returns. To ask once more hurries nothing, but `at_once` does."""
        first, self._is_cancelled = not self._is_cancelled, True
        self._stopping = True
        while self._control is None or (self._workers is None and self._hosts is None):  # noqa: ASYNC110 - it has only just been started
            await asyncio.sleep(CONTROL_PAUSE_S)
        if first:
            self.stop_workers()
        if at_once:  # a second SIGTERM ends workers with what they run
            await asyncio.sleep(SIGTERMS_APART_S)
            self.stop_workers()
        if not first:
            return  # the first call sees to the rest
        await self.workers_ended()
        await answered(partial(self._control.close, Status.CANCELLED))

    def stop_workers(self) -> None:
        self._stopping = True
        if self._workers is not None:
            self._workers.stop()
        signal_workers(self._adopted, signal.SIGTERM)

    def kill_workers(self) -> None:
        if self._workers is not None:
            self._workers.kill()
        signal_workers(self._adopted, signal.SIGKILL)

    async def workers_ended(self) -> None:
        if self._workers is not None:
            await self._workers.ended()
        while any_runs_here(self._adopted):  # noqa: ASYNC110 - they are not this process's children
            await asyncio.sleep(ENDED_PAUSE_S)


async def answered(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """What a control table answers, whenever it does: the client is patient, too, and says for how long."""
    while True:
        try:
            return await ask()
        except BackendUnavailable:
            await asyncio.sleep(LOOK_AGAIN_S)
