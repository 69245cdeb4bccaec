"""Shrinking: from a break to the shortest counter-example that shows it.

Fewer tasks and workers first, then fewer faults, then a schedule that keeps closer to the order in which
things became ready. It is bounded by the number of schedules played, not by a clock, so that a search that
is repeated comes to the same end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from kon.backends.sim.schedule import Given, Schedule, Seeded
from kon.backends.sim.trace import Trace
from kon.core.spec import Plugin
from kon.trials.prove.classes import FaultClass
from kon.trials.prove.playing import Counterexample, play, taken_from, without_trailing_zeros
from kon.trials.prove.scenario import Invariant, MakeStrategy, Played, Scenario

PLAYS: Final = 600
"""Schedules of the search's own size that are played at the most to shorten one counter-example."""

_SIZES: Final = ((1, 2), (1, 3), (2, 2), (2, 3))
"""Tasks and workers of small worlds, from the smallest."""

_FAILING: Final = (0.0, 0.5)
"""The share of tasks whose first attempt fails: none, unless a retry is what it takes."""

_SMALL_HORIZON: Final = 80
"""Crashes and pauses come while there is something to be broken, in a world that has so little."""

_SEEDS: Final = 60
"""Tried in each small world, with the schedule in order and with one of the seed's own."""

_CHOICE: Final = 5
"""So many are shortened, and the shortest of them is taken."""


def shortest(
    base: Scenario,
    strategy: Plugin,
    faults: FaultClass,
    invariant: Invariant,
    make_strategy: MakeStrategy | None = None,
) -> Counterexample | None:
    """The shortest counter-example found in small worlds under these faults; None where none is."""
    for (tasks, workers), failing in itertools.product(_SIZES, _FAILING):
        small = msgspec.structs.replace(
            base,
            strategy=strategy,
            rates=faults.rates,
            tasks=tasks,
            workers=workers,
            slots=1,
            prefetch=1,
            bundle=1,
            tasks_per_row=1,
            failing=failing,
            horizon=_SMALL_HORIZON,
        )
        found = [
            shorten(each, PLAYS, make_strategy) for each in _in_small_world(small, invariant, make_strategy)
        ]
        if found:
            return min(found, key=lambda each: _length(each, make_strategy))
    return None


def _in_small_world(
    small: Scenario, invariant: Invariant, make_strategy: MakeStrategy | None
) -> Iterator[Counterexample]:
    left = _CHOICE
    for seed in range(_SEEDS):
        schedules: tuple[Schedule, ...] = (Given(), Seeded(seed))
        for schedule in schedules:
            played = _played(partial(play, small, seed, schedule=schedule, make_strategy=make_strategy))
            if played is None or not _breaks(played, invariant):
                continue
            example = taken_from(played, small, invariant)
            if _is_seen_again(example, make_strategy):
                yield example
                left -= 1
                break
        if not left:
            return


def shorten(
    example: Counterexample, plays: int = PLAYS, make_strategy: MakeStrategy | None = None
) -> Counterexample:
    """Shrink a break: fewer faults and a simpler schedule, for the same tasks and workers."""
    shrinker = _Shrinker(plays, make_strategy)
    while True:
        shorter = shrinker.simpler_schedule(shrinker.fewer_faults(shrinker.in_order(example)))
        if _size(shorter) >= _size(example):
            return example
        example = shorter


def _size(example: Counterexample) -> tuple[int, int, int]:
    return len(example.faults), example.deviations, len(example.picks)


def _length(example: Counterexample, make_strategy: MakeStrategy | None) -> tuple[int, int, int]:
    """What a reader has to follow."""
    trace = Trace()
    example.replay(trace, make_strategy)
    return len(example.faults), example.deviations, len(trace.steps)


def _breaks(played: Played, invariant: Invariant) -> bool:
    return any(each.invariant is invariant for each in played.breaks)


def _played(play_it: Callable[[], Played]) -> Played | None:
    """None where the code under test raises in this schedule: that is another finding than a break."""
    try:
        return play_it()
    except (Exception, BaseExceptionGroup):
        return None


def _is_seen_again(example: Counterexample, make_strategy: MakeStrategy | None) -> bool:
    """Whether a replay breaks it too.

    Nearly every one does. A simulated service promises less where a kind of fault may strike: depths, for
    example, are estimates where `depth_low` may. Without a fault of that kind the workers go another way.
    """
    played = _played(partial(example.replay, make_strategy=make_strategy))
    return played is not None and example.break_in(played) is not None


class _Shrinker:
    def __init__(self, plays: int, make_strategy: MakeStrategy | None) -> None:
        self._left = plays
        self._make_strategy = make_strategy

    def in_order(self, example: Counterexample) -> Counterexample:
        return self._still(msgspec.structs.replace(example, picks=())) or example

    def fewer_faults(self, example: Counterexample) -> Counterexample:
        def without(some: Sequence[int]) -> Counterexample:
            left = [fault for at, fault in enumerate(example.faults) if at not in set(some)]
            return msgspec.structs.replace(example, faults=tuple(left))

        for size in _halves(len(example.faults)):
            at = 0
            while at < len(example.faults):
                tried = self._still(without(range(at, at + size)))
                if tried is None:
                    at += size
                else:
                    example = tried
        return example

    def simpler_schedule(self, example: Counterexample) -> Counterexample:
        example = self._cut(example)
        for size in _halves(example.deviations):
            at = 0
            while at < example.deviations:
                deviating = [place for place, pick in enumerate(example.picks) if pick]
                tried = self._with_picks(example, set(deviating[at : at + size]), 0)
                if tried is None:
                    at += size
                else:
                    example = tried
        for place, pick in enumerate(example.picks):
            if pick > 1 and place < len(example.picks):
                example = self._with_picks(example, {place}, 1) or example
        return example

    def _cut(self, example: Counterexample) -> Counterexample:
        """Go on in order as early as may be."""
        low, high = 0, len(example.picks)
        while low < high:
            middle = (low + high) // 2
            tried = self._still(msgspec.structs.replace(example, picks=example.picks[:middle]))
            if tried is None:
                low = middle + 1
            else:
                example, high = tried, min(middle, len(tried.picks))
        return example

    def _with_picks(self, example: Counterexample, places: set[int], pick: int) -> Counterexample | None:
        picks = [pick if place in places else old for place, old in enumerate(example.picks)]
        return self._still(msgspec.structs.replace(example, picks=tuple(picks)))

    def _still(self, example: Counterexample) -> Counterexample | None:
        """The example with what really happened in it, where its invariant still breaks."""
        if not self._left:
            return None
        self._left -= 1
        played = _played(partial(example.replay, make_strategy=self._make_strategy))
        if played is None or example.break_in(played) is None:
            return None
        # picks that go on in order anyway are no part of it, nor are faults that had no occasion
        example = msgspec.structs.replace(example, picks=without_trailing_zeros(example.picks))
        fired = msgspec.structs.replace(example, faults=tuple(played.fired))
        if _kinds(fired) == _kinds(example):
            return fired
        if not self._left:
            return example
        self._left -= 1
        return fired if _is_seen_again(fired, self._make_strategy) else example


def _kinds(example: Counterexample) -> set[str]:
    return {each.fault for each in example.faults}


def _halves(count: int) -> Iterator[int]:
    """Sizes of parts to leave out: a half, a quarter, ... one."""
    size = count
    while size > 1:
        size = (size + 1) // 2
        yield size
    if count == 1:
        yield 1
