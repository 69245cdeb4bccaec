"""The stage of a scenario: hosts that live, die and come back, the client among them.

The file is one life cycle, that of a host: it begins, works, crashes or stops, hands on what it held, and
begins again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.backends.sim.faults import Far, Faults
from kon.backends.sim.loop import SimLoop
from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import (
    BackendDenied,
    BackendUnavailable,
    ClientReplaced,
    ConfigurationError,
    StoreError,
    first_cause,
)
from kon.core.journal import MemoryJournal
from kon.core.ledger import Ledger
from kon.core.queue import Message
from kon.core.strategy import Strategy
from kon.core.task import Answers, Outcome
from kon.engine.client import Client, ClientOptions, Listener
from kon.engine.client_lease import ClientLease, fenced
from kon.engine.control import Control, Holder, Status
from kon.engine.records.events import Life, Recorder
from kon.engine.tally import Tally
from kon.engine.worker import Worker, WorkerOptions
from kon.launch.holds import COMMANDS_END_S, Notes, hand_on, noted, read
from kon.trials.prove.accounts import SPARE_RECEIVES, Accounts
from kon.trials.prove.rights import Rights
from kon.trials.prove.scenario import RUN, STOP_S, Invariant, MakeStrategy, Scenario, promised
from kon.trials.prove.services import Services
from kon.trials.prove.watch import HesitantKind, InstantKind, Watch, WatchedKind, WatchedStrategy

POLL_S: Final = 5.0
"""The long polls: as long as tasks take, or most of a schedule would be the asking for news."""

OPERATOR: Final = "operator"
"""Who cancels a run."""

NOT_OURS: Final = b"a message of somebody else's"

LATE_S: Final = 60.0
"""How much later than others a worker may join, at most."""

CLIENT: Final = "client"

SECOND: Final = "client_b"
"""The name of a second client."""

CLIENTS_SKEW_S: Final = 40.0
"""How far the second client's clock may be off: less than leases allow for."""

IsAlive = Callable[[Holder], bool | None] | None
"""Whether the process of another client lives; None where nobody can say."""


class Stage:
    """One performance: hosts that live, die and come back, and the client among them."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        loop: SimLoop,
        services: Services,
        faults: Faults,
        make_strategy: MakeStrategy,
        watch: Watch,
    ) -> None:
        self.watch = watch
        self.promised: frozenset[Invariant] = frozenset()
        self.tally = Tally(scenario.tasks)
        self.lives = 0
        self.cancelled = False
        self._scenario = scenario
        self._seed = seed
        self._loop = loop
        self._faults = faults
        self._make_strategy = make_strategy
        self._services = services
        services.kill = self._kill
        self._rights = Rights(loop, services, faults, watch, self._end_run)
        self._away = services.away
        self._killers: dict[str, Callable[[], None]] = {}
        self._stoppers: dict[str, Callable[[], None]] = {}
        self._notes: Path | None = None  # the folder of what workers note
        self._noting: list[Notes] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if scenario.hands_on:
            self._folder = tempfile.TemporaryDirectory(prefix="kon-prove-")
            self._notes = Path(self._folder.name)
        self._parents: list[asyncio.Task[None]] = []
        self._clients = 0  # lives of the client so far
        self._drained = False  # found so by a client, which may have crashed as it closed the run
        self._at_work: tuple[str, asyncio.Task[Any]] | None = None  # the client that was started last
        self._clients_here: set[str] = set()
        self._closed = False  # by a client that has collected all
        self._results = MemoryJournal()
        self._recording = ""  # the client that records, and from which line on
        self._recorded_from = 0
        self._journals: dict[str, MemoryJournal] = {}
        self.accounts = Accounts(scenario, faults, watch, self._journals)
        self._spec = scenario.spec(seed)
        self._bodies = scenario.bodies(seed)

    async def run(self) -> None:
        self._rights.may_miss(self._step)
        rows = self._scenario.tasks_per_row or 1
        await self._services.create(RUN, self._spec.channel_options, rows)
        if self._scenario.foreign:
            await self._loop.spawn(OPERATOR, self._send_what_is_not_ours())
        async with asyncio.TaskGroup() as group:
            for number in range(1, self._scenario.workers + 1):
                group.create_task(self._worker_lives(f"w{number}"))
            second, started = None, asyncio.Event()
            if (far := self._faults.fires("second_client", CLIENT)) is not None:
                second = group.create_task(self._second_client(far, started))
            await self._client_lives(CLIENT, Clock(0.0), None)
            if second is not None and not started.is_set():
                second.cancel()  # the run ended before
        self.accounts.check_results(
            self._recorded(), self.tally, self._services.expired, self._away, self.cancelled
        )

    async def _send_what_is_not_ours(self) -> None:
        """Where a message may be received again and again, only into the queue that the client reads."""
        channel = await self._services.open(RUN, OPERATOR)
        queues = [channel.answers]
        if self._scenario.max_receives <= SPARE_RECEIVES:
            queues.append(channel.tasks)
        for queue in queues:
            with contextlib.suppress(BackendUnavailable, StoreError):
                await queue.send([Message(NOT_OURS)])

    async def _worker_lives(self, name: str) -> None:
        """One life after another, until one ends because the run is over."""
        if (far := self._faults.fires("late", name)) is not None:
            await asyncio.sleep(far.uniform(0.0, LATE_S))
        for host in _names(name):
            self.lives += 1
            clock = Clock(self._skew_s(host))
            channel = await self._services.open(RUN, host)
            if self._notes is not None:
                self._noting.append(Notes(self._notes / host, host))
                channel = noted(channel, self._noting[-1])
            worker = self._worker(channel, host, clock)
            told = self._tell_to_stop(host, worker)
            ended = await self._lives(host, worker.run(), "crash", "pause")
            del self._stoppers[host]
            if ended and not told:
                return
            if self._notes is not None and not self._loop.is_alive(host):
                self._parents.append(asyncio.create_task(self._hand_on(host, self._notes / host)))
            await asyncio.sleep(self._scenario.restart_s)

    async def _hand_on(self, host: str, notes: Path) -> None:
        """What a worker's parent does that saw it die: at once, or when the worker's commands have ended.

        Whatever the worker has sent by then may arrive before, between or after.
        """
        draw = random.Random(f"{self._seed}:parent:{host}")
        await asyncio.sleep(draw.choice((0.0, 0.0, draw.uniform(0.0, COMMANDS_END_S), COMMANDS_END_S)))
        held = read(notes)
        if held is None:
            return
        parent = f"parent of {host}"
        self.watch.died(host)
        self.watch.note(parent, f"hands on what {host} held")
        channel = await self._services.open(RUN, parent)
        with contextlib.suppress(BackendUnavailable, StoreError):  # then it comes again by itself
            await self._loop.spawn(parent, hand_on(held, channel))

    def _tell_to_stop(self, host: str, worker: Worker) -> list[str]:
        """Has the host, once it was told to stop."""
        told: list[str] = []

        def stop() -> None:
            if not told:  # told twice, it would end at once
                self.watch.note(host, "is told to stop")
                told.append(host)
                worker.stop()

        self._stoppers[host] = stop
        if (far := self._faults.fires("stop", host)) is not None:
            self._loop.before_step(self._step(far), stop)
        return told

    async def _may_cancel(self) -> None:
        """Have somebody cancel the run at some step, if this is such a schedule."""
        operators: list[asyncio.Task[None]] = []
        if (far := self._faults.fires("cancel", "client")) is not None:
            channel = await self._services.open(RUN, OPERATOR)

            def cancel() -> None:
                self.watch.note("operator", "cancels the run")
                self.cancelled = True
                operators.append(self._loop.spawn(OPERATOR, self._cancel(channel)))

            self._loop.before_step(self._step(far), cancel)

    async def _cancel(self, channel: Channel) -> None:
        with contextlib.suppress(
            BackendUnavailable, StoreError
        ):  # whoever cancels is told, and may try again
            await Control(channel.control).close(Status.CANCELLED)

    async def _client_lives(self, name: str, clock: Clock, is_alive: IsAlive) -> None:
        await self._may_cancel()
        for host in _names(name):
            channel = await self._services.open(RUN, host)
            life = self._client(channel, host, clock, is_alive)
            self._clients_here.add(host)
            ended = await self._lives(host, life, "client_crash", "client_pause")
            self._clients_here.remove(host)
            if ended:
                return
            if self._scenario.forgets and self._recording == host:
                self._forget(host)
            await asyncio.sleep(self._scenario.restart_s)

    def _forget(self, host: str) -> None:
        """Lose the end of what a client recorded in this life."""
        lines = self._results.lines
        kept = random.Random(f"{self._seed}:forgets:{host}").randint(
            max(self._recorded_from, self._results.lines_on_disk), len(lines)
        )
        if kept < len(lines):
            self.watch.note(host, "loses the last of its records")
            del lines[kept:]

    async def _second_client(self, far: Far, started: asyncio.Event) -> None:
        """Somebody starts another client at some step: on the first one's host, or on one with a clock of its
        own, and mostly as the first one stands still."""
        at, elsewhere, stands_still = self._step(far), far.random() < 0.5, far.random() < 0.7
        skew_s = far.uniform(-CLIENTS_SKEW_S, CLIENTS_SKEW_S)

        def start() -> None:
            if stands_still and self._at_work is not None:
                self._pause(*self._at_work)
            started.set()

        self._loop.before_step(at, start)
        await started.wait()
        if elsewhere:
            await self._client_lives(SECOND, Clock(skew_s), None)
        else:
            await self._client_lives(SECOND, Clock(0.0), lambda holder: self._loop.is_alive(holder.host))

    async def _lives(self, host: str, life: Any, crash: str, pause: str | None) -> bool:
        """Whether a life came to its end by itself."""
        task, crashed = self._loop.spawn(host, life), self._loop.create_future()
        if host.startswith(CLIENT):
            self._at_work = (host, task)
        self._killers[host] = functools.partial(self._crash, host, task, crashed)
        if (far := self._faults.fires(crash, host)) is not None:
            self._loop.before_step(self._step(far), self._killers[host])
        if pause is not None and (far := self._faults.fires(pause, host)) is not None:
            self._loop.before_step(self._step(far), functools.partial(self._pause, host, task))
        await asyncio.wait([task, crashed], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        error = task.exception()
        if error is None:
            if (leaving := self._services.leave(host)) is not None:
                await self._loop.spawn(host, leaving)
            return True
        if isinstance(first_cause(error), ClientReplaced | ConfigurationError):
            # whoever is told of a client that has ended meanwhile begins once more
            self.watch.note(host, "leaves the run to another client")
            return self._closed or len(self._clients_here) > 1
        if isinstance(cause := first_cause(error), BackendUnavailable | StoreError):
            self.watch.note(host, "gives up", (), str(cause))
            if isinstance(cause, BackendDenied):
                self._away.add(host)
                self._rights.ended_denied(host)
            return False
        raise error

    def _step(self, far: Far) -> int:
        """Before which of the loop's steps a host that lives from now on is struck."""
        drawn = far.randrange(1, self._scenario.horizon)
        return self._loop.steps + (drawn if self._scenario.at_step is None else self._scenario.at_step)

    def _end_run(self, denied: str, at_once: bool) -> None:
        """Have the workers drain and then the client end, as who keeps them does where one of them may not do
        what it has to; or end every process at once."""
        if at_once:
            for kill in list(self._killers.values()):
                kill()
            return
        self.accounts.all_told = True
        for stop in list(self._stoppers.values()):
            stop()
        client = self._at_work
        if client is not None and client[0] != denied:
            self._loop.call_later(STOP_S, self._killers[client[0]])

    def _kill(self, host: str) -> None:
        if host in self._killers:
            self._killers[host]()
        else:  # an operator's, whose call is not made again
            self._loop.crash(host)
            self.watch.note(host, "crashes")

    def _crash(self, host: str, task: asyncio.Task[Any], crashed: asyncio.Future[None]) -> None:
        if not task.done() and not crashed.done():
            self._loop.crash(host)
            self._away.add(host)
            self.watch.note(host, "crashes")
            crashed.set_result(None)

    def _pause(self, host: str, task: asyncio.Task[Any]) -> None:
        if not task.done():
            self._loop.pause(host, self._scenario.pause_s)
            self._away.add(host)
            self.watch.note(host, f"stands still for {self._scenario.pause_s:g} s")

    def _skew_s(self, host: str) -> float:
        far = self._faults.fires("skew", host)
        offset_s = 0.0 if far is None else far.uniform(-1.0, 1.0) * self._faults.spans.skew_s
        self.watch.clock_of(host, offset_s)
        return offset_s

    def _worker(self, channel: Channel, host: str, clock: Clock) -> Worker:
        def make(ledger: Ledger, worker: str, clock: Clock) -> Strategy:
            inner = self._make_strategy(ledger, worker, clock)
            self.promised = promised(inner)
            return WatchedStrategy(inner, self.watch, host)

        journal = self._journals[host] = MemoryJournal()
        life = Life(host, clock, Recorder(journal, clock), random.Random(f"{self._seed}:{host}"))
        waits = HesitantKind if self._scenario.hesitates else WatchedKind
        cls = InstantKind if self._scenario.instant else waits
        more = {name: getattr(self._scenario, name) for name in ("result_bytes", "stores")}
        kind = cls({"watch": self.watch, **more})
        options = WorkerOptions(wait_s=POLL_S, hold=self._scenario.hold)
        return Worker(life, self._spec, channel, make, kind, options)

    async def _client(self, channel: Channel, host: str, clock: Clock, is_alive: IsAlive) -> None:
        """A life of a client, as `kon.launch.local` has it."""
        if not (self._scenario.leased or self._faults.can_fire("second_client")):
            await self._collect(channel, channel, host, clock)
            return
        lease = ClientLease(
            Control(channel.control),
            clock,
            Holder(host, 0, "", clock.now_s()),
            f"lease:{host}",
            is_alive=is_alive or (lambda holder: None),
        )
        await lease.take()
        self.watch.note(host, "has the lease of the run")
        # it may have stood still since it took the lease, which has passed: then it is not the client
        took_until_s, is_late = lease.expires_s, clock.now_s() > lease.expires_s
        # what it records from here on stays its own, whoever is the next
        before, tally, records = self._results, self.tally, MemoryJournal()
        records.append(before.lines)
        self._results = records
        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(lease.keep())
                await self._collect(fenced(channel, lease), channel, host, clock)
                keeping.cancel()
        except* ClientReplaced:
            never = is_late and lease.expires_s == took_until_s
            if self._results is records and (never or len(records.lines) == len(before.lines)):
                # what counts is what the next one records
                self._results, self.tally = before, tally
            raise
        finally:
            await lease.give_up()

    async def _collect(self, channel: Channel, plain: Channel, host: str, clock: Clock) -> None:
        """plain: the channel without a fence."""
        rng = random.Random(f"{self._seed}:{host}")
        sizes, self._clients = self._scenario.sizes, self._clients + 1
        at = self._clients % len(sizes) if sizes else 0
        options = ClientOptions(wait_s=POLL_S, sizes=sizes[at:] + sizes[:at])
        client = Client(self._spec, channel, Listener(self._results), clock, rng, options)
        client.recall(self._recorded())
        self.tally = client.tally
        self._recording, self._recorded_from = host, len(self._results.lines)
        await client.run(self._bodies)
        if not self.cancelled:
            await self._drain(plain)
        await client.close()
        self._closed = True

    async def _drain(self, channel: Channel) -> None:
        """Leave the workers running until no message is left; they stop once the run is closed."""
        deadline_s = self._loop.time() + self._scenario.drain_s
        while left := await self._services.messages_left(channel):
            if self.cancelled or self._drained:  # the run may be closed since, and no worker there any more
                return
            if self._loop.time() > deadline_s:
                how = f"{left} messages are left {self._scenario.drain_s:g} s after the last task's outcome"
                self.watch.broken(Invariant.DRAINS, None, how)
                return
            await asyncio.sleep(1.0)
        self._drained = True

    def close(self) -> None:
        """Remove what workers noted."""
        for notes in self._noting:
            notes.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _recorded(self) -> list[Outcome]:
        packets = [msgspec.json.decode(line, type=Answers) for line in self._results.lines]
        return [outcome for packet in packets for outcome in packet.outcomes]


def _names(name: str) -> Iterable[str]:
    """A host's name in each of its lives."""
    yield name
    life = 1
    while True:
        life += 1
        yield f"{name}.{life}"
