"""A scenario: the real client, workers and strategy, in a world in which so much goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.backends.sim.faults import Far, FaultRates, Faults, FaultSpans, Fired
from kon.backends.sim.latency import Latency
from kon.backends.sim.loop import SimDeadlock, SimLoop, SimTimeout
from kon.backends.sim.network import Network
from kon.backends.sim.schedule import Schedule, Seeded
from kon.backends.sim.trace import Trace
from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import BackendUnavailable, ClientReplaced, ConfigurationError, StoreError, first_cause
from kon.core.journal import MemoryJournal
from kon.core.ledger import Ledger
from kon.core.plugins import strategy_class
from kon.core.spec import Plugin, RunSpec
from kon.core.strategy import Strategy
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.client import Client, ClientOptions
from kon.engine.client_lease import ClientLease, fenced
from kon.engine.control import Control, Holder, Status
from kon.engine.give_back import DEFAULT_HOLD, HoldLimits
from kon.engine.life import Life
from kon.engine.records.events import Event, Recorder
from kon.engine.tally import Tally
from kon.engine.worker import Worker, WorkerOptions
from kon.launch.holds import COMMANDS_END_S, Notes, hand_on, noted, read
from kon.trials.prove.invariants import Break, Invariant, promised
from kon.trials.prove.on_aws import AwsServices
from kon.trials.prove.on_sqlite import SqliteServices
from kon.trials.prove.services import Searchable, Services, SimServices
from kon.trials.prove.watch import InstantKind, Watch, WatchedKind, WatchedStrategy, gist

RUN: Final = "sim"

POLL_S: Final = 5.0
"""The long polls: as long as tasks take, or most of a schedule would be the asking for news."""

OPERATOR: Final = "operator"
"""Who cancels a run."""

STOP_S: Final = 1.0
"""How long a worker that is told to stop lets tasks run: shorter than most tasks take."""

LATE_S: Final = 60.0
"""How much later than others a worker may join, at most."""

MANY_TASKS: Final = 100
"""With this many tasks or more, what takes a call for each task is not tried."""

CLIENT: Final = "client"

SECOND: Final = "client_b"
"""The name of a second client."""

CLIENTS_SKEW_S: Final = 40.0
"""How far the second client's clock may be off: less than leases allow for."""

SPARE_RECEIVES: Final = 5
"""Receipts that are enough for a message that arrives again and again as its worker is told to stop."""

GRACEFUL: Final = frozenset({"stop", "late", "cancel", "client_pause", "second_client", "receive_missed"})
"""Faults under which nothing goes wrong: whatever else fired, no task may end as anything but done."""

_START: Final = Event.START.encode()

IsAlive = Callable[[Holder], bool | None] | None
"""Whether the process of another client lives; None where nobody can say."""

MakeStrategy = Callable[[Ledger, str, Clock], Strategy]


class Scenario(msgspec.Struct, frozen=True):
    """What is run, and how much goes wrong.

    backend: simulated services, or the queue and ledger of SQLite or of the backend aws.
    task_s: the mean duration of a task; each task's is drawn evenly from what is within `spread`, a
        share of the mean, of it: from 0 to twice the mean, unless said otherwise.
    sizes: tasks of a message, in turn, where `bundle` is None; without any they are found as in a run. Each
        life of the client begins elsewhere in them, as clients that have learned other durations do.
    hold: how long tasks may wait in a worker for a slot, where `bundle` is None.
    brief: the share of the tasks that take `brief_times` as long as the others, a share of that.
    failing: the share of the tasks whose first attempt fails.
    instant: the kind runs tasks in batches, in no time (`Kind.execute_now`), and none fails.
    result_bytes: added to each result; over 512 bytes, pages spill them into rows of their own.
    pause_s: how long a paused worker stands still; longer than leases and visibility timeouts.
    restart_s: after a crash, before another life begins.
    drain_s: after the last task is accounted for, for the queue to become empty: whatever comes late or
        twice is to be turned away, and not to come for ever.
    horizon: crashes and pauses fall on one of that many first steps of a host's life. at_step: on
        just this one, where it is given.
    leased: a client takes the run's lease before it does anything, as those do that others can reach. It
        does in any case where there may be a second client.
    hands_on: workers note what they hold, and their parent hands that on when they crash.
    forgets: with a client that crashes goes a part of what it recorded, as with a power cut where nothing
        waits for the disk. What is missing is read back from the ledger.
    limit_s, max_steps: by when it must have ended, in virtual seconds and in callbacks.
    """

    strategy: Plugin = Plugin("lease")
    backend: Searchable = "sim"
    tasks: int = 20
    workers: int = 3
    slots: int = 2
    prefetch: int | None = 2
    bundle: int | None = 1
    tasks_per_row: int | None = 1
    sizes: tuple[int, ...] = ()
    hold: HoldLimits = DEFAULT_HOLD
    timeout_s: float | None = None
    instant: bool = False
    result_bytes: int = 0
    task_s: float = 2.0
    spread: float = 1.0
    brief: float = 0.0
    brief_times: float = 1.0
    failing: float = 0.1
    visibility_s: float = 20.0
    max_receives: int = 1_000
    rates: FaultRates = FaultRates()
    spans: FaultSpans = FaultSpans(resurrect_s=120.0, skew_s=0.25)
    pause_s: float = 90.0
    restart_s: float = 5.0
    drain_s: float = 5_000.0
    horizon: int = 1_000
    at_step: int | None = None
    leased: bool = False
    hands_on: bool = False
    forgets: bool = False
    limit_s: float = 50_000.0
    max_steps: int = 500_000


class Played(msgspec.Struct, frozen=True):
    """How a scenario went under one seed.

    breaks: every invariant that did not hold, promised or not. broken: those that were promised.
    picks, fired: the schedule and the faults, for a replay.
    """

    seed: int
    breaks: tuple[Break, ...]
    broken: tuple[Break, ...]
    states: dict[State, int]
    starts: int
    lives: int
    virtual_s: float
    steps: int
    picks: list[int]
    fired: list[Fired]


def play(
    scenario: Scenario,
    seed: int,
    *,
    schedule: Schedule | None = None,
    plan: Iterable[Fired] | None = None,
    trace: Trace | None = None,
    make_strategy: MakeStrategy | None = None,
    latency: Latency | None = None,
) -> Played:
    """Run a scenario once, and say which invariants held.

    schedule, plan: replay those picks and those faults in place of what the seed would choose.
    make_strategy: another strategy than the scenario names: a copy with a safeguard taken out, say.
    Raises whatever the code under test raises that it should not.
    """
    chosen = Seeded(seed) if schedule is None else schedule
    faults = Faults(scenario.rates, seed, scenario.spans, plan)
    loop = SimLoop(chosen, limit_s=scenario.limit_s, max_steps=scenario.max_steps)
    network = Network(faults, latency, trace)
    services = _services(scenario, seed, network, faults)
    make = make_strategy or _make(scenario.strategy)
    stage = _Stage(scenario, seed, loop, services, faults, make, Watch(trace))
    try:
        try:
            loop.run_until_complete(stage.run())
        except (SimDeadlock, SimTimeout) as error:
            stage.watch.breaks.append(Break(Invariant.DRAINS, loop.time(), None, str(error)))
        else:
            stage.check_counts()
        return Played(
            seed=seed,
            breaks=tuple(stage.watch.breaks),
            broken=tuple(each for each in stage.watch.breaks if each.invariant in stage.promised),
            states=dict(stage.tally.counts),
            starts=sum(stage.watch.starts.values()),
            lives=stage.lives,
            virtual_s=loop.time(),
            steps=loop.steps,
            picks=chosen.picks,
            fired=faults.fired,
        )
    finally:
        loop.close()
        services.close()
        stage.close()


def _services(scenario: Scenario, seed: int, network: Network, faults: Faults) -> Services:
    fifo = _class_of(scenario.strategy.name).needs_fifo
    if scenario.backend == "sqlite":
        return SqliteServices(faults, seed)
    if scenario.backend == "aws":
        return AwsServices(network, seed, fifo, scenario.tasks > MANY_TASKS)
    return SimServices(network, fifo)


_class_of: Final = functools.cache(strategy_class)
"""To find a class takes longer than some of a schedule's calls."""


def _make(plugin: Plugin) -> MakeStrategy:
    cls = _class_of(plugin.name)
    return lambda ledger, worker, clock: cls(ledger, worker, clock, **plugin.options)


class _Stage:
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
        self._away = services.away
        self._killers: dict[str, Callable[[], None]] = {}
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
        self._results = MemoryJournal()
        self._recording = ""  # the client that records, and from which line on
        self._recorded_from = 0
        self._journals: dict[str, MemoryJournal] = {}
        self._spec = RunSpec(
            run=RUN,
            experiment=RUN,
            backend=Plugin(scenario.backend),
            strategy=scenario.strategy,
            kind=Plugin("watched"),
            tasks=scenario.tasks,
            workers=scenario.workers,
            slots=scenario.slots,
            prefetch=scenario.prefetch,
            bundle=scenario.bundle,
            tasks_per_row=scenario.tasks_per_row,
            visibility_s=scenario.visibility_s,
            max_receives=scenario.max_receives,
            timeout_s=scenario.timeout_s,
            drain_s=STOP_S,
            seed=seed,
        )
        draw = random.Random(f"bodies:{seed}")
        shortest_s = scenario.task_s * (1.0 - scenario.spread)
        longest_s = scenario.task_s * (1.0 + scenario.spread)
        bodies = [
            (draw.uniform(shortest_s, longest_s), int(draw.random() < scenario.failing), index)
            for index in range(scenario.tasks)
        ]
        self._bodies = [
            (scenario.brief_times * task_s if draw.random() < scenario.brief else task_s, fails, index)
            for task_s, fails, index in bodies
        ]

    async def run(self) -> None:
        rows = self._scenario.tasks_per_row or 1
        await self._services.create(RUN, self._spec.channel_options, rows)
        async with asyncio.TaskGroup() as group:
            for number in range(1, self._scenario.workers + 1):
                group.create_task(self._worker_lives(f"w{number}"))
            second, started = None, asyncio.Event()
            if (far := self._faults.fires("second_client", CLIENT)) is not None:
                second = group.create_task(self._second_client(far, started))
            await self._client_lives(CLIENT, Clock(0.0), None)
            if second is not None and not started.is_set():
                second.cancel()  # the run ended before
        self._check_results()

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
            if await self._lives(host, worker.run(), "crash", "pause") and not told:
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
        if (far := self._faults.fires("stop", host)) is not None:

            def stop() -> None:
                self.watch.note(host, "is told to stop")
                told.append(host)
                worker.stop()

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
            if await self._lives(host, life, "client_crash", "client_pause"):
                return
            if self._scenario.forgets and self._recording == host:
                self._forget(host)
            await asyncio.sleep(self._scenario.restart_s)

    def _forget(self, host: str) -> None:
        """Lose the end of what a client recorded in this life."""
        lines = self._results.lines
        kept = random.Random(f"{self._seed}:forgets:{host}").randint(self._recorded_from, len(lines))
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
            return True
        if isinstance(first_cause(error), ClientReplaced | ConfigurationError):
            self.watch.note(host, "leaves the run to another client")
            return True
        if isinstance(first_cause(error), BackendUnavailable | StoreError):
            self.watch.note(host, "gives up", (), str(first_cause(error)))
            return False
        raise error

    def _step(self, far: Far) -> int:
        """Before which of the loop's steps a host that lives from now on is struck."""
        drawn = far.randrange(1, self._scenario.horizon)
        return self._loop.steps + (drawn if self._scenario.at_step is None else self._scenario.at_step)

    def _kill(self, host: str) -> None:
        if host in self._killers:
            self._killers[host]()

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
        cls = InstantKind if self._scenario.instant else WatchedKind
        kind = cls({"watch": self.watch, "result_bytes": self._scenario.result_bytes})
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
            # it may have stood still since it took the lease: then what counts is what the next one records
            if self._results is records and len(records.lines) == len(before.lines):
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
        client = Client(self._spec, channel, self._results, clock, rng, options)
        client.recall(self._recorded())
        self.tally = client.tally
        self._recording, self._recorded_from = host, len(self._results.lines)
        await client.run(self._bodies)
        if not self.cancelled:
            await self._drain(plain)
        await client.close()

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

    # --- at the end ----------------------------------------------------------------------------------

    def _recorded(self) -> list[Outcome]:
        packets = [msgspec.json.decode(line, type=Answers) for line in self._results.lines]
        return [outcome for packet in packets for outcome in packet.outcomes]

    def _check_results(self) -> None:
        """What the client has written down, compared with what really happened."""
        watch, recorded = self.watch, self._recorded()
        last: dict[int, State] = {}
        for outcome in recorded:
            index = outcome.index
            if last.get(index) in (State.DONE, State.FAILED):
                watch.broken(Invariant.TRUE_COUNTS, index, "the client records it a second time")
            last[index] = outcome.state
            if outcome.state is State.LOST and index not in self._services.expired:
                watch.broken(Invariant.NOTHING_LOST, index, "the client counts it as lost")
                if self._away.isdisjoint(watch.askers.get(index, ())):
                    how = "the client counts it as lost, and nobody who asked for it was away"
                    watch.broken(Invariant.LOST_BY_OUTAGE, index, how)
            elif outcome.state is State.DONE:
                result = encode(Outcome(index, 0, State.DONE, outcome.result))
                if result not in watch.ran.get(index, ()):
                    watch.broken(Invariant.TRUE_COUNTS, index, f"no execution came to {outcome.result!r}")
            if outcome.state in (State.DONE, State.FAILED) and gist(outcome) not in watch.stands.get(
                index, ()
            ):
                watch.broken(Invariant.TRUE_COUNTS, index, "the client records what no strategy let stand")
        self._check_graceful(last)
        states = Counter(last.values())
        if states != +Counter(self.tally.counts):
            how = f"the client counts {self.tally.counts}, and has recorded {dict(states)}"
            watch.broken(Invariant.TRUE_COUNTS, None, how)
        if sum(states.values()) != self._scenario.tasks:
            watch.broken(Invariant.TRUE_COUNTS, None, f"{sum(states.values())} tasks are recorded")

    def _check_graceful(self, last: dict[int, State]) -> None:
        """Where nothing went wrong, every task is done, or cancelled before it was committed."""
        if self._scenario.timeout_s is not None or {each.fault for each in self._faults.fired} - GRACEFUL:
            return
        for index, state in last.items():
            if state is State.DONE:
                continue
            if state is State.DEAD and self._scenario.max_receives < SPARE_RECEIVES:
                continue  # what arrives in the very moment of a stop is given back, and counts a receipt
            if state is not State.CANCELLED or not self.cancelled:
                how = f"it ends as {state}, and nothing went wrong"
                self.watch.broken(Invariant.LOST_BY_OUTAGE, index, how)
            elif self.watch.stands.get(index) and "client_pause" not in {f.fault for f in self._faults.fired}:
                how = "it is called cancelled, and its outcome was committed"
                self.watch.broken(Invariant.TRUE_COUNTS, index, how)

    def check_counts(self) -> None:
        """The workers' own records of their starts, from which the tables are made."""
        recorded: Counter[int] = Counter()
        for journal in self._journals.values():
            for line in journal.lines:
                if _START not in line:  # few are, and to decode all takes long
                    continue
                event = msgspec.json.decode(line)
                if event["e"] == Event.START:
                    first, count = event.get("r", (0, 0))
                    recorded.update(event.get("i", range(first, first + count)))
        started: Counter[int] = Counter()
        for (index, _), count in self.watch.starts.items():
            started[index] += count
        if started != recorded:
            how = f"recorded are {sum(recorded.values())} starts, and {sum(started.values())} were made"
            self.watch.breaks.append(Break(Invariant.TRUE_COUNTS, self._loop.time(), None, how))


def _names(name: str) -> Iterable[str]:
    """A host's name in each of its lives."""
    yield name
    life = 1
    while True:
        life += 1
        yield f"{name}.{life}"
