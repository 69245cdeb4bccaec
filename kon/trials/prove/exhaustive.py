"""The small model, searched in whole: two workers, one task, every order within a bound, every single fault.

A schedule here is the order in which requests take effect at the services and timers fall due. What a
host does between two of those touches nothing that another host can see, so that its place in the order
makes no difference: it is done at once, as a host's own event loop would. First come, first served is
the schedule without a pre-emption; each time that something else goes first is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from kon.backends.sim.faults import FAULTS, FaultSpans, Fired
from kon.backends.sim.network import Request
from kon.backends.sim.schedule import Given, Schedule, next_picks
from kon.core.plugins import strategy_class
from kon.core.spec import Plugin
from kon.core.strategy import strategy_options
from kon.trials.prove.classes import NO_FAULT
from kon.trials.prove.counterexample import Counterexample, taken_from
from kon.trials.prove.invariants import Invariant
from kon.trials.prove.playing import play
from kon.trials.prove.pool import processes
from kon.trials.prove.scenario import MakeStrategy, Scenario

VISIBILITY_S: Final = 6.0
"""And the lease: less than a pause, more than a task."""

SMALL: Final = Scenario(
    tasks=1,
    workers=2,
    slots=1,
    prefetch=1,
    task_s=1.3,
    spread=0.0,
    failing=0.0,
    visibility_s=VISIBILITY_S,
    spans=FaultSpans(
        duplicate_s=4.0, resurrect_s=10.0, delay_s=8.0, stale_s=2.0, partition_s=8.0, skew_s=0.25
    ),
    pause_s=15.0,
    restart_s=1.0,
    drain_s=600.0,
    limit_s=5_000.0,
    max_steps=50_000,
)
"""Short: a hundred steps or two. Every wait has a length of its own, so that only what belongs together
falls into one instant."""

_QUEUES: Final = ("tasks", "answers", "dead")
_TABLES: Final = ("ledger", "control")
_WORKERS: Final = ("w1", "w2")

_STRIKES: Final = {"crash": _WORKERS, "pause": _WORKERS, "client_crash": ("client",)}
"""Faults of a host, tried before each step of its first life."""

_PLACES: Final[dict[str, tuple[str, ...]]] = {
    "skew": _WORKERS,
    "write_reply_lost": _TABLES,
    "stale_read": _TABLES,
    "throttle": _TABLES,
    "error_after": _QUEUES + _TABLES,
    "error_before": _QUEUES + _TABLES,
    "partition": ("queue", "ledger"),
}
"""Where a fault has its occasions; those that are not named here have them at the queues."""

_EXTENTS: Final = 3
_DRAWN: Final = frozenset(
    {
        "duplicate",
        "answer_duplicate",
        "resurrect",
        "delay",
        "reorder",
        "stale_read",
        "stale_depth",
        "partition",
        "skew",
    }
)
"""Faults that go far or not: each is tried with this many extents, drawn by as many seeds."""


class Covered(msgspec.Struct, frozen=True):
    """What was tried of one fault.

    occasions: how many single faults of this name there were. schedules: tried under all of those.
    whole: whether the bound cut none off. breaks: in how many of the schedules each invariant broke,
        promised or not.
    """

    fault: str
    occasions: int
    schedules: int
    whole: bool
    breaks: dict[Invariant, int]


class Exhausted(msgspec.Struct, frozen=True):
    """The small model under one strategy.

    preemptions: the bound, or None for every order. broken: a schedule for each single fault under which
    a promise broke.
    """

    strategy: Plugin
    preemptions: int | None
    searched: tuple[Covered, ...]
    broken: tuple[Counterexample, ...]

    @property
    def schedules(self) -> int:
        return sum(one.schedules for one in self.searched)

    @property
    def occasions(self) -> int:
        return sum(one.occasions for one in self.searched if one.fault != NO_FAULT)

    def extent(self) -> str:
        """Just what was searched, in a sentence."""
        bound = "every order" if self.preemptions is None else f"every order with at most {self.preemptions}"
        of = "" if self.preemptions is None else f" pre-emption{'s' * (self.preemptions != 1)}"
        whole = all(one.whole for one in self.searched)
        schedules = "1 schedule" if self.schedules == 1 else f"{self.schedules:,} schedules"
        faults = f" and with each of {self.occasions:,} single faults" if self.occasions else ""
        others = "; there are no others" if whole else ""
        return f"{schedules}: {bound}{of}, without a fault{faults}{others}"


class Orders(Schedule):
    """Picks among requests that take effect and timers that fall due; whatever else is ready goes first.

    choices: those picks alone, for `next_picks`. Its own picks are all that the loop asked for, so that
    `Given` repeats the schedule.
    """

    def __init__(self, picks: Sequence[int] = ()) -> None:
        super().__init__()
        self.choices = Given(picks)

    def pick(self, ready: int) -> int:
        chosen = self._choose()
        self.picks.append(chosen)
        self.options.append(ready)
        return chosen

    def _choose(self) -> int:
        events = []
        for at, handle in enumerate(self.ready):
            if handle.callback is None or not (handle.when_s > 0.0 or _is_request(handle.args)):
                return at
            events.append(at)
        return events[self.choices.pick(len(events))] if len(events) > 1 else events[0]


def exhaust(
    strategy: Plugin,
    preemptions: int | None = 1,
    faults: Sequence[str] | None = None,
    *,
    scenario: Scenario = SMALL,
    make_strategy: MakeStrategy | None = None,
) -> Exhausted:
    """Play the small model in every order within the bound, under no fault and under every single one.

    preemptions: how often something may go first that was not first in line; None for no bound.
    faults: the names of those to try; None for all.
    """
    search = _Search(_with_lease(scenario, strategy), preemptions, make_strategy)
    searched = [search.fault(NO_FAULT, [(None, None, 0)])]
    for name in FAULTS if faults is None else faults:
        searched.append(search.fault(name, search.occasions(name)))
    return Exhausted(strategy, preemptions, tuple(searched), tuple(search.broken))


def exhaust_each(
    strategies: Sequence[Plugin],
    preemptions: int | None = 1,
    faults: Sequence[str] | None = None,
    jobs: int | None = None,
    on_progress: Callable[[Exhausted], None] = lambda exhausted: None,
) -> list[Exhausted]:
    """`exhaust` every strategy, on `jobs` processes (None: one for each core).

    on_progress: called after each strategy, in order.
    """
    exhausted = []
    with processes(_exhaust_part, jobs if len(strategies) > 1 else 1) as run:
        for each in run([(strategy, preemptions, faults) for strategy in strategies]):
            on_progress(each)
            exhausted.append(each)
    return exhausted


def _exhaust_part(part: tuple[Plugin, int | None, Sequence[str] | None]) -> Exhausted:
    strategy, preemptions, faults = part
    return exhaust(strategy, preemptions, faults)


_Single = tuple[Fired | None, int | None, int]
"""A single fault, the step at which it strikes a host, and the seed of its extent."""


class _Search:
    """Goes through schedules, depth first, fault by fault."""

    def __init__(
        self, scenario: Scenario, preemptions: int | None, make_strategy: MakeStrategy | None
    ) -> None:
        self._scenario = scenario
        self._preemptions = 1 << 30 if preemptions is None else preemptions
        self._make_strategy = make_strategy
        self._longest = 0  # steps of a schedule without a fault
        self._fired = False  # whether the fault at hand fired in any of its schedules
        self.broken: list[Counterexample] = []

    def occasions(self, fault: str) -> Iterator[_Single]:
        """Every single fault of a name. The next is asked for when all orders with the last were tried."""
        for host in _STRIKES.get(fault, ()):
            for step in range(1, self._longest + 1):
                yield Fired(fault, host, 0), step, 0
        if fault in _STRIKES:
            return
        for service in _PLACES.get(fault, _QUEUES):
            for seed in range(_EXTENTS if fault in _DRAWN else 1):
                nth = 0
                while True:
                    self._fired = False
                    yield Fired(fault, service, nth), None, seed
                    if not self._fired:
                        break
                    nth += 1

    def fault(self, name: str, singles: Iterable[_Single]) -> Covered:
        occasions = schedules = 0
        whole, breaks = True, Counter[Invariant]()
        for fired, at_step, seed in singles:
            tried, all_of_them = self._orders(fired, at_step, seed, breaks)
            if fired is not None and not self._fired:
                continue  # no such occasion
            occasions += 1
            schedules += tried
            whole = whole and all_of_them
        return Covered(name, occasions, schedules, whole, dict(breaks))

    def _orders(
        self, fired: Fired | None, at_step: int | None, seed: int, breaks: Counter[Invariant]
    ) -> tuple[int, bool]:
        """Every order under one fault: how many there were, and whether the bound cut none off."""
        scenario = msgspec.structs.replace(self._scenario, at_step=at_step)
        plan = [] if fired is None else [fired]
        picks: list[int] | None = []
        schedules, whole, sound = 0, True, True
        while picks is not None:
            schedule = Orders(picks)
            played = play(scenario, seed, schedule=schedule, plan=plan, make_strategy=self._make_strategy)
            schedules += 1
            self._fired = self._fired or bool(played.fired)
            if fired is None:
                self._longest = max(self._longest, played.steps)
            breaks.update({each.invariant for each in played.breaks})
            if played.broken and sound:
                sound = False  # one for each fault will do
                self.broken.append(taken_from(played, scenario, played.broken[0].invariant))
            whole = whole and sum(map(bool, schedule.choices.picks)) < self._preemptions
            picks = next_picks(schedule.choices, self._preemptions)
        return schedules, whole


def _with_lease(scenario: Scenario, strategy: Plugin) -> Scenario:
    """With a lease as short as the visibility timeout, where the strategy has one."""
    if "lease_s" in strategy_options(strategy_class(strategy.name)):
        strategy = Plugin(strategy.name, {"lease_s": VISIBILITY_S, **strategy.options})
    return msgspec.structs.replace(scenario, strategy=strategy)


def _is_request(args: Sequence[object]) -> bool:
    return bool(args) and isinstance(args[0], Request)
