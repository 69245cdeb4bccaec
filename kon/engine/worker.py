"""The worker: receives messages, has their tasks admitted and run, settles them, and keeps them alive.

A task's way through it: `_fetch` receives its message, the intake asks the strategy, the executor
runs it in a slot, the settler commits, answers and acks.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

import msgspec

from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import BackendDenied, BackendUnavailable, KonError, StoreError, first_cause
from kon.core.kind import Kind
from kon.core.ledger import Ledger
from kon.core.spec import RunSpec
from kon.core.strategy import Claim, Strategy, check_queue
from kon.core.task import Task
from kon.engine.control import Control, Status, WorkerState
from kon.engine.executor import Executor, ExecutorOptions
from kon.engine.give_back import DEFAULT_HOLD, NO_ROWS, GiveBack, HoldLimits, TaskRows
from kon.engine.holding import Held, Holding, Job, heartbeat_s
from kon.engine.intake import Intake
from kon.engine.layout import SegmentPages
from kon.engine.packing import chunks
from kon.engine.paged_ledger import PagedLedger, in_pages
from kon.engine.patience import DENIED_S, Patience, check_asked, patient
from kon.engine.prefetch import Prefetch
from kon.engine.records.events import Event, Life
from kon.engine.settler import Settler
from kon.engine.sizing import Sizing

_log = logging.getLogger(__name__)

PARKED_FROM: Final = 2
"""A receive may bring this many times the tasks that were wanted before some of them are parked: claiming a
few more at once saves a call."""

LEAST_WAIT_S: Final = 1.0
"""No long poll is shorter, so that a worker whose time to be idle ends does not poll in a circle."""

TELLING: Final = 16
"""So many first messages have their first outcome answered at once, where the client knows nothing yet."""

StrategyMaker = Callable[[Ledger, str, Clock], Strategy]


class WorkerOptions(msgspec.Struct, frozen=True):
    """Options of one worker that its run's spec does not have, in seconds.

    wait_s: the long poll of an empty queue; None for the queue's own `poll_s`.
    outage_s: how long the backend may stay away.
    denied_s: how long it may deny what the worker needs.
    heartbeat_s: between renewals of visibility and leases; None for a third of the shorter one.
    hold: how long tasks may wait here for a slot.
    """

    wait_s: float | None = None
    outage_s: float = 300.0
    denied_s: float = DENIED_S
    heartbeat_s: float | None = None
    hold: HoldLimits = DEFAULT_HOLD


DEFAULT_OPTIONS: Final = WorkerOptions()


class Load(NamedTuple):
    """A worker's load: tasks that run, wait for a slot or are being settled, and the messages that
    brought them."""

    running: int
    waiting: int
    settling: int
    messages: int


class Worker:
    """One life of one worker of a run."""

    def __init__(
        self,
        life: Life,
        spec: RunSpec,
        channel: Channel,
        make_strategy: StrategyMaker,
        kind: Kind,
        options: WorkerOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.name = life.name
        self.spec = spec
        self._life = life
        self._recorder = life.recorder
        self._kind = kind
        self._options = options
        self._idle_s = spec.idle_s
        patience = Patience(options.outage_s, life.rng, self._trouble, options.denied_s)
        self._last_words = Control(channel.control)
        self.timings = patience.timings
        self._segments = SegmentPages() if spec.tasks_per_row is None else None
        pages = in_pages(channel.ledger, spec, life.name, self._segments)
        if pages is not None:
            channel = msgspec.structs.replace(channel, ledger=pages)
        world = patient(channel, patience)
        self._objects = world.objects
        self._queue = world.tasks
        self._strategy = make_strategy(world.ledger, life.name, life.clock)
        check_queue(type(self._strategy), world.tasks.limits.fifo)
        self._control = Control(world.control)
        self._holding = Holding()
        self._room = asyncio.Event()
        self._settler = Settler(life, spec, world, self._strategy, self._holding, self._room.set)
        self._intake = Intake(spec, world, self._strategy, self._holding, self._settler, life.recorder)
        limits = ExecutorOptions(
            run=spec.run,
            slots=spec.slots,
            attempts=spec.attempts,
            timeout_s=spec.timeout_s,
            max_result_bytes=_max_result_bytes(world, self._strategy),
        )
        self._executor = Executor(
            kind, limits, life.clock, life.recorder, on_finished=self._finished, on_dropped=self._dropped
        )
        self._key = 0  # of its row in the control table
        self._roll = 0  # the last roll call that it has answered
        self._prefetch = Prefetch(spec, self._queue.limits, self._executor)

        rows = NO_ROWS
        if pages is not None and self._strategy.uses_ledger:
            rows = TaskRows(partial(_move, pages, patience), pages.leaving)
        self._give_back = GiveBack(
            self._holding, self._executor, self._strategy, self._settler, rows, life.recorder
        )
        # the client waits to hear how long tasks take
        self._is_asked = Sizing(spec).is_blind
        self._stopping = asyncio.Event()
        self._receiving = False
        self._dry = True  # the last receive brought less than was asked for

    @property
    def load(self) -> Load:
        """The load at this moment; for any thread."""
        executor = self._executor
        return Load(executor.running, executor.waiting, self._settler.waiting, len(self._holding.deliveries))

    @property
    def takeovers(self) -> int:
        """Claims whose earlier holder had let them run out, by what its strategy says."""
        return self._strategy.takeovers

    def end_when_idle(self, idle_s: float) -> None:
        """End once the queue has been empty for `idle_s` seconds, or earlier if the spec says so."""
        self._idle_s = idle_s if self._idle_s is None else min(self._idle_s, idle_s)

    def stop(self) -> None:
        """Drain: let running tasks end, give back what has not started, then return from `run`."""
        self._stopping.set()
        self._room.set()

    async def run(self) -> None:
        """Work until stopped, idle for too long, or the run is over.

        Raises an ExceptionGroup of BackendUnavailable or StoreError when it can't go on; what it
        holds comes again after the visibility timeout. Where it was denied, it leaves a word of that: nothing
        that it received says anything against a task.
        """
        try:
            await self._live()
        except asyncio.CancelledError as error:
            check_asked(error, "open() or close() of the kind")
            raise
        self._recorder.note(Event.USAGE, **self._life.usage(), calls=self.timings.sums())
        self._recorder.note(Event.DOWN)
        self._recorder.flush()

    async def _live(self) -> None:
        try:
            await self._kind.open(self._objects)
            await self._work()
        except (KonError, BaseExceptionGroup) as error:
            if isinstance(cause := first_cause(error), BackendDenied):
                await self._tell_of(cause)
            raise
        finally:
            await self._kind.close()

    async def _work(self) -> None:
        self._key = await self._control.register(WorkerState(self.name, self._life.usage()), self._life.rng)
        self._recorder.note(Event.UP, worker=self.name, slots=self.spec.slots, **self._life.usage())
        self._recorder.flush()
        async with asyncio.TaskGroup() as group:
            self._executor.start(group)
            background = [
                group.create_task(self._settler.run(), name="settler"),
                group.create_task(self._heartbeat(), name="heartbeat"),
            ]
            if self.spec.bundle is None:
                watch = self._give_back.watch(self._prefetch, self.spec, self._options.hold)
                background.append(group.create_task(watch, name="give-back"))
            fetch = group.create_task(self._fetch(), name="receiving")
            drain = group.create_task(self._until_drained(fetch), name="drain")
            # a group takes a child that was cancelled for one that has done its work
            await asyncio.wait({drain, *background}, return_when=asyncio.FIRST_COMPLETED)
            for task in (*background, drain):
                _check_not_cancelled(task)
            for task in background:
                task.cancel()
        await self._control.say(self._key, WorkerState(self.name, self._life.usage(), self._roll, gone=True))

    async def _until_drained(self, fetch: asyncio.Task[None]) -> None:
        fetch.add_done_callback(lambda _: self._stopping.set())
        await self._stopping.wait()
        is_stopped = self._receiving and fetch.cancel()
        await asyncio.wait({fetch})
        if not is_stopped:
            _check_not_cancelled(fetch)
        await self._drain()

    async def _tell_of(self, denial: BackendDenied) -> None:
        if self._key:
            with suppress(StoreError, BackendUnavailable):  # it may be this that it is denied
                state = WorkerState(self.name, roll=self._roll, gone=True, denied=str(denial))
                await self._last_words.say(self._key, state)

    async def _fetch(self) -> None:
        now_s = asyncio.get_running_loop().time
        busy_s = now_s()
        while not self._stopping.is_set():
            wanted = self._tasks_wanted()
            if not wanted:
                self._room.clear()
                await self._room.wait()
                busy_s = now_s()
            elif await self._take(wanted, busy_s):
                busy_s = now_s()
            elif self._holding.deliveries:
                busy_s = now_s()
                if self._executor.idle:
                    self._settler.hurry()
            elif (self._idle_s is not None and now_s() - busy_s >= self._idle_s) or await self._is_over():
                self.stop()

    async def _take(self, tasks: int, busy_s: float) -> bool:
        """Claim that many tasks of those that are here, or else of what can be received. Whether any came."""
        if parked := self._holding.parked:
            await self._claim([parked.popleft() for _ in range(min(tasks, len(parked)))])
            return True
        return await self._receive(tasks, busy_s)

    async def _receive(self, tasks: int, busy_s: float) -> bool:
        """Receive messages for that many tasks, and claim as many. Whether any came."""
        queue, now_s = self._queue, asyncio.get_running_loop().time
        wanted = self._prefetch.messages_wanted(tasks)
        began_s = now_s()
        self._receiving = True
        may_wait = self._dry
        deliveries = await queue.receive(wanted, self._wait_s(busy_s) if may_wait else 0.0)
        self._receiving = False
        self._dry = len(deliveries) < wanted
        if not deliveries:
            return False
        unpacked = await self._intake.unpack(deliveries)
        if self._segments is not None:
            for held in dict.fromkeys(held for held, _ in unpacked):
                self._segments.learn(held.bundle)
        self._prefetch.received(len(unpacked), len(deliveries))
        # what is received is not claimed: a task that was not begun costs a crash nothing
        if self.spec.bundle is not None:
            now = len(unpacked)
        elif self._executor.mean_s is None:
            # one write claims all of a page, and one gives it back if they take long
            in_pages = all(held.bundle.segment is not None for held, _ in unpacked)
            now = len(unpacked) if in_pages and self._give_back.releases else tasks
        elif any(self._is_paid(held) for held, _ in unpacked):
            now = self._prefetch.tasks_wanted(here=True, paid=True)
        else:
            now = PARKED_FROM * tasks
        self._holding.parked.extend(unpacked[now:])
        await self._claim(unpacked[:now])
        if not may_wait:
            self._prefetch.fetched(now_s() - began_s)
        return True

    async def _claim(self, unpacked: Sequence[tuple[Held, Task]]) -> None:
        self._executor.submit(await self._intake.claim(unpacked))
        self._give_back.look()

    def _tasks_wanted(self) -> int:
        if not self._settler.has_room:
            return 0
        if not (parked := self._holding.parked):
            return self._prefetch.tasks_wanted(here=False)
        held, _ = parked[0]
        return self._prefetch.tasks_wanted(here=True, paid=self._is_paid(held))

    def _is_paid(self, held: Held) -> bool:
        """Whether the claim of each of its tasks is paid for: rows cost, and theirs are in no page."""
        rows_cost = self._segments is not None and self._strategy.uses_ledger
        return rows_cost and self.spec.bundle is None and held.bundle.segment is None

    def _wait_s(self, busy_s: float) -> float:
        """How long the next receive may wait: no longer than this worker has left to be idle."""
        wait_s = self._options.wait_s or self._queue.limits.poll_s
        if self._idle_s is not None:
            left_s = busy_s + self._idle_s - asyncio.get_running_loop().time()
            wait_s = max(min(wait_s, left_s), min(wait_s, LEAST_WAIT_S))
        return wait_s

    def _finished(self, jobs: Sequence[Job]) -> None:
        # while the queue has plenty, the next tasks may end soon, and are then settled with these
        nothing_left = self._executor.idle and not self._holding.parked
        is_asked, self._is_asked = self._is_asked and tells_first(jobs[0]), False
        self._settler.add(jobs, at_once=is_asked or (self._dry and nothing_left))
        if self._tasks_wanted():
            self._room.set()

    def _dropped(self, job: Job) -> None:
        """A claim ran out before a slot was free: its message comes again, to whoever may then have it."""
        job.held.abandoned = True
        for held in self._holding.settle((job,)):
            held.forget()
        self._recorder.tasks(Event.DROP, (job.task,))
        self._room.set()

    async def _heartbeat(self) -> None:
        beat_s = self._options.heartbeat_s or heartbeat_s(self.spec.visibility_s, self._strategy.lease_s)
        queue = self._queue
        while True:
            await asyncio.sleep(beat_s)
            held = [held.delivery for held in self._holding.deliveries]
            self._tell_of_those_that_end(beat_s)
            for batch in chunks(held, queue.limits.max_batch):
                await queue.extend(batch, self.spec.visibility_s)
            if self._strategy.lease_s is not None:
                async with self._holding.claims:
                    await self._renew(self._holding.open_jobs())
            self._recorder.note(Event.USAGE, **self._life.usage(), calls=self.timings.sums())
            self._recorder.flush()
            if await self._is_over():
                self.stop()

    def _tell_of_those_that_end(self, beat_s: float) -> None:
        """Some queues hold a message for so long and no longer, SQS for 12 hours: said once, before."""
        most_s = self._queue.limits.max_receipt_s
        if math.isinf(most_s):
            return
        for held in self._holding.deliveries:
            before_s, held.extended_s = held.extended_s, held.extended_s + beat_s
            if before_s + self.spec.visibility_s <= most_s < held.extended_s + self.spec.visibility_s:
                tasks = ", ".join(str(task.index) for task in held.bundle.tasks[:3])
                more = f" and {len(held.bundle.tasks) - 3} more" if len(held.bundle.tasks) > 3 else ""
                _log.warning(
                    "task %s%s: the queue holds its message for %.0f h from the receipt and no longer, then "
                    "it comes again. %s. Cut tasks that take so long into shorter ones",
                    tasks,
                    more,
                    most_s / 3600,
                    "Another worker may run it a second time meanwhile"
                    if self._strategy.lease_s is None
                    else "Its claim is renewed all the same, so that no other worker runs it meanwhile",
                )

    async def _is_over(self) -> bool:
        """Whether the client has closed the run; answers its roll call where there is a new one."""
        state = await self._control.read()
        if state.roll > self._roll:
            self._roll, holds = state.roll, len(self._holding.deliveries)
            await self._control.say(self._key, WorkerState(self.name, self._life.usage(), self._roll, holds))
        return state.status is not Status.OPEN

    async def _renew(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        renewed = await self._strategy.renew([job.claim for job in jobs])
        for job, claim in zip(jobs, renewed, strict=True):
            # a lost claim never starts; where its task runs already, the commit will be refused
            job.claim = claim or Claim(job.task, job.claim.token, -math.inf)
        self._recorder.tasks(Event.RENEW, [job.task for job in jobs])

    async def _drain(self) -> None:
        # at once, so that others may start these while what runs here ends
        await self._settler.give_back(self._give_back.withdraw_all(), started=False)
        stopped = await self._executor.stop(self.spec.drain_s)
        await self._give_back.ended()
        await self._settler.drained()
        await self._settler.give_back(stopped, started=True)

    def _trouble(self, error: KonError, pause_s: float) -> None:
        self._recorder.note(Event.TROUBLE, error=str(error), pause_s=pause_s)
        self._recorder.flush()


def _check_not_cancelled(task: asyncio.Task[None]) -> None:
    """Raises RuntimeError where a strategy or a store has ended this task, as its CancelledError does."""
    if task.cancelled():
        raise RuntimeError(f"a worker's {task.get_name()} was cancelled by what it called")


async def _move(pages: PagedLedger, patience: Patience, indexes: Sequence[int]) -> list[bool]:
    return await patience.call("ledger.move", len(indexes), lambda: pages.move(indexes))


def tells_first(job: Job) -> bool:
    """Whether this task came in one of the run's first messages, which tell how long tasks take."""
    return job.task.index < TELLING * len(job.held.bundle.tasks)


def _max_result_bytes(channel: Channel, strategy: Strategy) -> int:
    """The largest encoded outcome that both the answers and the strategy's table can carry."""
    # an answer has the worker's name and its own brackets around it
    in_answer = channel.answers.limits.max_bytes - 1_024
    in_row = channel.ledger.max_outcome_bytes if strategy.uses_ledger else None
    return in_answer if in_row is None else min(in_answer, in_row)
