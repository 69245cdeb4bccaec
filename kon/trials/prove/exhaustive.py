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
from kon.trials.prove.playing import Counterexample, play, processes, taken_from
from kon.trials.prove.scenario import Invariant, MakeStrategy, Scenario

VISIBILITY_S: Final = 6.0
"""Visibility and lease: less than a pause, more than a task."""

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

SHARED_PAGE: Final = msgspec.structs.replace(SMALL, tasks=2, tasks_per_row=2)
"""Two tasks, whose rows lie in one page that both workers write."""

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
        a promise broke. tasks: of the scenario.
    """

    strategy: Plugin
    preemptions: int | None
    searched: tuple[Covered, ...]
    broken: tuple[Counterexample, ...]
    tasks: int = 1

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


class FaultPlace(msgspec.Struct, frozen=True):
    """The single faults of one name at one place, under every order within the bound.

    place: a host or a service; empty for the schedules without a fault. longest: steps of the longest
        schedule without a fault; a host is struck before each step up to there.
    """

    scenario: Scenario
    preemptions: int | None
    make_strategy: MakeStrategy | None
    fault: str
    place: str = ""
    longest: int = 0


class PlaceSearched(msgspec.Struct, frozen=True):
    """What came of one place. longest: the steps of its longest schedule."""

    covered: Covered
    broken: tuple[Counterexample, ...]
    longest: int


SearchPlaces = Callable[[Iterable[FaultPlace]], Iterable[PlaceSearched]]
"""What has places searched, here or by other processes, and gives what came of them in order."""


def exhaust(
    strategy: Plugin,
    preemptions: int | None = 1,
    faults: Sequence[str] | None = None,
    *,
    scenario: Scenario = SMALL,
    make_strategy: MakeStrategy | None = None,
    run: SearchPlaces | None = None,
) -> Exhausted:
    """Play the small model in every order within the bound, under no fault and under every single one.

    preemptions: how often something may go first that was not first in line; None for no bound.
    faults: the names of those to try; None for all. run: None for this process.
    """
    without = FaultPlace(_with_lease(scenario, strategy), preemptions, make_strategy, NO_FAULT)
    none = search_place(without)
    names = FAULTS if faults is None else tuple(dict.fromkeys(faults))
    places = [
        msgspec.structs.replace(without, fault=name, place=place, longest=none.longest)
        for name in sorted(names, key=lambda name: name not in _STRIKES)  # the longest first
        for place in _STRIKES.get(name) or _PLACES.get(name, _QUEUES)
    ]
    found = [none, *(map(search_place, places) if run is None else run(places))]
    order = [NO_FAULT, *names]
    found.sort(key=lambda each: order.index(each.covered.fault))
    searched = [_all_of(name, [each.covered for each in found]) for name in order]
    broken = [broken for each in found for broken in each.broken]
    return Exhausted(strategy, preemptions, tuple(searched), tuple(broken), scenario.tasks)


def exhaust_each(
    strategies: Sequence[Plugin],
    preemptions: int | None = 1,
    faults: Sequence[str] | None = None,
    jobs: int | None = None,
    on_progress: Callable[[Exhausted], None] = lambda exhausted: None,
    *,
    scenario: Scenario = SMALL,
) -> list[Exhausted]:
    """`exhaust` every strategy, on `jobs` processes (None: one for each core).

    on_progress: called after each strategy, in order.
    """
    exhausted = []
    with processes(search_place, jobs) as run:
        for strategy in strategies:
            each = exhaust(strategy, preemptions, faults, scenario=scenario, run=run)
            on_progress(each)
            exhausted.append(each)
    return exhausted


def search_place(at: FaultPlace) -> PlaceSearched:
    """Go through the schedules of one place, depth first, single fault by single fault."""
    return _Search(at).search()


def _all_of(fault: str, covered: Iterable[Covered]) -> Covered:
    """What was tried of a fault at all of its places."""
    own = [each for each in covered if each.fault == fault]
    breaks = Counter[Invariant]()
    for each in own:
        breaks.update(each.breaks)
    return Covered(
        fault,
        sum(each.occasions for each in own),
        sum(each.schedules for each in own),
        all(each.whole for each in own),
        dict(breaks),
    )


_Single = tuple[Fired | None, int | None, int]
"""A single fault, the step at which it strikes a host, and the seed of its extent."""


class _Search:
    """Goes through the schedules of a place."""

    def __init__(self, at: FaultPlace) -> None:
        self._at = at
        self._preemptions = 1 << 30 if at.preemptions is None else at.preemptions
        self._longest = 0
        self._fired = False  # whether the single fault at hand fired in any of its schedules
        self._breaks = Counter[Invariant]()
        self._broken: list[Counterexample] = []

    def search(self) -> PlaceSearched:
        occasions = schedules = 0
        whole = True
        for fired, at_step, seed in self._singles():
            tried, all_of_them = self._orders(fired, at_step, seed)
            if fired is not None and not self._fired:
                continue  # no such occasion
            occasions += 1
            schedules += tried
            whole = whole and all_of_them
        covered = Covered(self._at.fault, occasions, schedules, whole, dict(self._breaks))
        return PlaceSearched(covered, tuple(self._broken), self._longest)

    def _singles(self) -> Iterator[_Single]:
        """Every single fault of the place. The next is asked for when all orders with the last were tried."""
        fault, place = self._at.fault, self._at.place
        if fault == NO_FAULT:
            yield None, None, 0
        elif fault in _STRIKES:
            for step in range(1, self._at.longest + 1):
                yield Fired(fault, place, 0), step, 0
        else:
            for seed in range(_EXTENTS if fault in _DRAWN else 1):
                nth = 0
                while True:
                    self._fired = False
                    yield Fired(fault, place, nth), None, seed
                    if not self._fired:
                        break
                    nth += 1

    def _orders(self, fired: Fired | None, at_step: int | None, seed: int) -> tuple[int, bool]:
        """Every order under one fault: how many there were, and whether the bound cut none off."""
        scenario = msgspec.structs.replace(self._at.scenario, at_step=at_step)
        plan = [] if fired is None else [fired]
        picks: list[int] | None = []
        schedules, whole, sound = 0, True, True
        while picks is not None:
            schedule = Orders(picks)
            played = play(scenario, seed, schedule=schedule, plan=plan, make_strategy=self._at.make_strategy)
            schedules += 1
            self._fired = self._fired or bool(played.fired)
            self._longest = max(self._longest, played.steps)
            self._breaks.update({each.invariant for each in played.breaks})
            if played.broken and sound:
                sound = False  # one for each fault will do
                self._broken.append(taken_from(played, scenario, played.broken[0].invariant))
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
