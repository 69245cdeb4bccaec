"""A scenario: what is run, how much goes wrong, what must never happen, and how it went; the values alone."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from kon.backends.sim.faults import FaultRates, FaultSpans, Fired
from kon.core.clock import Clock
from kon.core.ledger import Ledger
from kon.core.spec import Plugin, RunSpec
from kon.core.strategy import Strategy
from kon.core.task import State
from kon.engine.give_back import DEFAULT_HOLD, HoldLimits
from kon.trials.prove.services import Searchable


class Invariant(enum.StrEnum):
    """What a strategy may promise, and what kon promises whatever the strategy; see `MEANING`."""

    NOTHING_LOST = "nothing lost"
    LOST_BY_OUTAGE = "lost by outage only"
    ONE_START = "one start"
    ONE_START_WHILE_HELD = "one start while held"
    ONE_RESULT = "one result"
    FENCED = "fenced"
    DRAINS = "drains"
    TRUE_COUNTS = "true counts"


MEANING: Final[Mapping[Invariant, str]] = {
    Invariant.NOTHING_LOST: "every task ends as done, failed or dead",
    Invariant.LOST_BY_OUTAGE: "no task is lost unless a host that saw it crashed, stood still or was cut off",
    Invariant.ONE_START: "no attempt at a task is started twice",
    Invariant.ONE_START_WHILE_HELD: "no task is started while another's claim, once begun, is in force",
    Invariant.ONE_RESULT: "no two different results of one task are kept or answered",
    Invariant.FENCED: "no commit stands of a claim that another has taken over",
    Invariant.DRAINS: "all are accounted for, the queue is empty and the workers stop, in bounded time",
    Invariant.TRUE_COUNTS: "what is recorded and counted is what happened",
}


class Break(msgspec.Struct, frozen=True):
    """An invariant that did not hold: when, in virtual seconds, for which task, and how."""

    invariant: Invariant
    at_s: float
    task: int | None
    how: str


def promised(strategy: Strategy) -> frozenset[Invariant]:
    """What must hold under this strategy, in every schedule."""
    guarantee = strategy.guarantee
    given = {
        Invariant.NOTHING_LOST: guarantee.nothing_lost,
        Invariant.LOST_BY_OUTAGE: True,
        Invariant.ONE_START: guarantee.one_start,
        Invariant.ONE_START_WHILE_HELD: guarantee.one_start_while_held,
        Invariant.ONE_RESULT: guarantee.one_result,
        # where a claim is never granted twice, none is ever taken over
        Invariant.FENCED: strategy.lease_s is not None or guarantee.one_start,
        Invariant.DRAINS: True,
        Invariant.TRUE_COUNTS: True,
    }
    return frozenset(invariant for invariant, promise in given.items() if promise)


MakeStrategy = Callable[[Ledger, str, Clock], Strategy]


RUN: Final = "sim"

STOP_S: Final = 1.0
"""How long a worker that is told to stop lets tasks run: shorter than most tasks take."""


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
    foreign: somebody sends messages that are not kon's into its queues.
    stores: each attempt that ends well stores an object first.
    hesitates: the kind has some tasks wait for room before they start (`Kind.ready`).
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
    foreign: bool = False
    stores: bool = False
    hesitates: bool = False
    limit_s: float = 50_000.0
    max_steps: int = 500_000

    def spec(self, seed: int) -> RunSpec:
        """The run of the scenario."""
        return RunSpec(
            run=RUN,
            experiment=RUN,
            backend=Plugin(self.backend),
            strategy=self.strategy,
            kind=Plugin("watched"),
            tasks=self.tasks,
            workers=self.workers,
            slots=self.slots,
            prefetch=self.prefetch,
            bundle=self.bundle,
            tasks_per_row=self.tasks_per_row,
            visibility_s=self.visibility_s,
            max_receives=self.max_receives,
            timeout_s=self.timeout_s,
            drain_s=STOP_S,
            seed=seed,
        )

    def bodies(self, seed: int) -> list[tuple[float, int, int]]:
        """How long each task takes, in seconds, how many of its attempts fail, and its index."""
        draw = random.Random(f"bodies:{seed}")
        shortest_s, longest_s = self.task_s * (1.0 - self.spread), self.task_s * (1.0 + self.spread)
        drawn = [
            (draw.uniform(shortest_s, longest_s), int(draw.random() < self.failing), index)
            for index in range(self.tasks)
        ]
        return [
            (self.brief_times * task_s if draw.random() < self.brief else task_s, fails, index)
            for task_s, fails, index in drawn
        ]


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
