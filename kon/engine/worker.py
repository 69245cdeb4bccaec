"""The worker: receives messages, has their tasks admitted and run, settles them, and keeps them alive.

A task's way through it: `_fetch` receives its message, the intake asks the strategy, the executor
runs it in a slot, the settler commits, answers and acks.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import BackendUnavailable
from kon.core.kind import Kind
from kon.core.ledger import Ledger
from kon.core.spec import RunSpec
from kon.core.strategy import Claim, Strategy, check_queue
from kon.engine.control import Control, Status, WorkerState
from kon.engine.executor import Executor, ExecutorOptions
from kon.engine.holding import Holding, Job, heartbeat_s
from kon.engine.intake import Intake
from kon.engine.life import Life
from kon.engine.packing import chunks
from kon.engine.paged_ledger import PagedLedger
from kon.engine.patience import Patience, patient
from kon.engine.records.events import Event
from kon.engine.settler import Settler

HORIZON_S: Final = 0.2
"""How much work a worker holds ahead of its slots, in seconds: enough to hide a round trip, little
enough that at the end of a run no worker sits on what an idle one could do."""

LEAST_WAIT_S: Final = 1.0
"""No long poll is shorter, so that a worker whose time to be idle ends does not poll in a circle."""

StrategyMaker = Callable[[Ledger, str, Clock], Strategy]


class WorkerOptions(msgspec.Struct, frozen=True):
    """Options of one worker that its run's spec does not have, in seconds.

    wait_s: the long poll of an empty queue; None for the queue's own `poll_s`.
    outage_s: how long the backend may stay away.
    heartbeat_s: between renewals of visibility and leases; None for a third of the shorter one.
    """

    wait_s: float | None = None
    outage_s: float = 300.0
    heartbeat_s: float | None = None


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
        patience = Patience(options.outage_s, life.rng, self._trouble)
        self.timings = patience.timings
        world = patient(_in_pages(channel, spec, life.name), patience)
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
        self._stopping = asyncio.Event()
        self._receiving = False
        self._dry = True  # the last receive brought less than was asked for
        self._fetch_s = 0.0  # how long receive and claim take, lately

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
        holds comes again after the visibility timeout.
        """
        try:
            await self._kind.open(self._objects)
            await self._work()
        finally:
            await self._kind.close()
        self._recorder.note(Event.USAGE, **self._life.usage(), calls=self.timings.sums())
        self._recorder.note(Event.DOWN)
        self._recorder.flush()

    async def _work(self) -> None:
        self._key = await self._control.register(WorkerState(self.name, self._life.usage()), self._life.rng)
        self._recorder.note(Event.UP, worker=self.name, slots=self.spec.slots, **self._life.usage())
        self._recorder.flush()
        async with asyncio.TaskGroup() as group:
            self._executor.start(group)
            background = [group.create_task(self._settler.run()), group.create_task(self._heartbeat())]
            fetch = group.create_task(self._fetch())
            await self._stopping.wait()
            if self._receiving:
                fetch.cancel()
            await asyncio.wait({fetch})
            await self._drain()
            for task in background:
                task.cancel()
        await self._control.say(self._key, WorkerState(self.name, self._life.usage(), self._roll, gone=True))

    async def _fetch(self) -> None:
        queue, now_s = self._queue, asyncio.get_running_loop().time
        busy_s = now_s()
        while not self._stopping.is_set():
            wanted = min(self._messages_wanted(), queue.limits.max_batch)
            if wanted == 0:
                self._room.clear()
                await self._room.wait()
                busy_s = now_s()
                continue
            began_s = now_s()
            self._receiving = True
            may_wait = self._dry
            deliveries = await queue.receive(wanted, self._wait_s(busy_s) if may_wait else 0.0)
            self._receiving = False
            self._dry = len(deliveries) < wanted
            if deliveries:
                self._executor.submit(await self._intake.take(deliveries))
                busy_s = now_s()
                if not may_wait:  # a long poll's time is that of the messages, not of the call
                    self._fetch_s += 0.2 * (busy_s - began_s - self._fetch_s)
            elif self._holding.deliveries:
                busy_s = now_s()
                if self._executor.idle:
                    self._settler.hurry()
            elif (self._idle_s is not None and now_s() - busy_s >= self._idle_s) or await self._is_over():
                self.stop()

    def _wait_s(self, busy_s: float) -> float:
        """How long the next receive may wait: no longer than this worker has left to be idle."""
        wait_s = self._options.wait_s or self._queue.limits.poll_s
        if self._idle_s is not None:
            left_s = busy_s + self._idle_s - asyncio.get_running_loop().time()
            wait_s = max(min(wait_s, left_s), min(wait_s, LEAST_WAIT_S))
        return wait_s

    def _messages_wanted(self) -> int:
        """How many messages to ask for: slots should never wait, and little be held ahead of them."""
        spec, mean_s = self.spec, self._executor.mean_s
        ahead = spec.prefetch * spec.bundle
        if mean_s is None:
            ahead = 0  # nothing is known yet: fill the slots and see
        elif mean_s > 0:
            horizon_s = max(HORIZON_S, 4 * self._fetch_s)
            ahead = min(ahead, int(horizon_s * spec.slots / mean_s))
        # jobs that a free slot is about to take do not wait: 10 of 32 slots filled leave 22 to be filled
        free = spec.slots - self._executor.waiting - self._executor.running
        if -free > ahead // 2 or not self._settler.has_room:
            return 0  # fetch when half is used up, so that messages come in batches
        wanted = max(0, math.ceil((free + ahead) / spec.bundle))
        whole = wanted - wanted % self._queue.limits.call_batch
        # a request for the odd rest alone is made only where a slot would stay free without it
        return whole if whole and whole * spec.bundle >= free else wanted

    def _finished(self, jobs: Sequence[Job]) -> None:
        # while the queue has plenty, the next tasks may end soon, and are then settled with these
        self._settler.add(jobs, at_once=self._dry and self._executor.idle)
        if self._messages_wanted():
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
            for batch in chunks(held, queue.limits.max_batch):
                await queue.extend(batch, self.spec.visibility_s)
            if self._strategy.lease_s is not None:
                await self._renew(self._holding.open_jobs())
            self._recorder.note(Event.USAGE, **self._life.usage(), calls=self.timings.sums())
            self._recorder.flush()
            if await self._is_over():
                self.stop()

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
        await self._settler.give_back(self._executor.withdraw(), started=False)
        stopped = await self._executor.stop(self.spec.drain_s)
        await self._settler.drained()
        await self._settler.give_back(stopped, started=True)

    def _trouble(self, error: BackendUnavailable, pause_s: float) -> None:
        self._recorder.note(Event.TROUBLE, error=str(error), pause_s=pause_s)
        self._recorder.flush()


def _in_pages(channel: Channel, spec: RunSpec, writer: str) -> Channel:
    """The channel, with the ledger's rows in pages where the run has them."""
    if spec.tasks_per_row <= 1:
        return channel
    return msgspec.structs.replace(channel, ledger=PagedLedger(channel.ledger, writer, spec.tasks_per_row))


def _max_result_bytes(channel: Channel, strategy: Strategy) -> int:
    """The largest encoded outcome that both the answers and the strategy's table can carry."""
    # an answer has the worker's name and its own brackets around it
    in_answer = channel.answers.limits.max_bytes - 1_024
    in_row = channel.ledger.max_outcome_bytes if strategy.uses_ledger else None
    return in_answer if in_row is None else min(in_answer, in_row)
