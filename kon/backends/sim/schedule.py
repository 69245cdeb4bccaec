"""Who runs next: the ways in which a simulated loop picks one of its ready callbacks.

The ready callbacks stand in the order in which they became ready, so that pick 0 is what a real
event loop would do.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

AT_RANDOM: Final = 1 / 16
"""The share of choices that `Prioritized` leaves to chance."""


class Schedule(ABC):
    """Picks among ready callbacks, and remembers its picks, so that `Given` can repeat them.

    picks: each pick made while there was a choice. options: among how many it was made.
    ready: the loop's own list of ready callbacks, for a schedule that has to see what it picks.
    """

    def __init__(self) -> None:
        self.picks: list[int] = []
        self.options: list[int] = []
        self.ready: Sequence[Any] = ()

    @abstractmethod
    def pick(self, ready: int) -> int:
        """One of 0 to `ready` - 1. Asked only when `ready` is 2 or more."""


class Seeded(Schedule):
    """Picks at random, each ready callback alike, as a seed decides."""

    def __init__(self, seed: int | str) -> None:
        super().__init__()
        self._random = random.Random(f"schedule:{seed}").random

    def pick(self, ready: int) -> int:
        chosen = int(self._random() * ready)
        self.picks.append(chosen)
        self.options.append(ready)
        return chosen


class Prioritized(Schedule):
    """Runs what has the highest priority, as a seed draws it for each task; all that is no task's has one.

    At `changes` of the first `within` choices whoever is chosen falls behind all others. So one that is
    slow stays slow, and an order of few steps that breaks something is met more often than by chance alone.
    Now and then it picks at random, lest one that asks again and again keep all others from going on.
    """

    def __init__(self, seed: int | str, changes: int = 3, within: int = 200) -> None:
        super().__init__()
        self._draw = random.Random(f"priorities:{seed}")
        self._changes = {self._draw.randrange(within) for _ in range(changes)}
        self._priorities: dict[int, float] = {}  # by the number of the task

    def pick(self, ready: int) -> int:
        made = len(self.picks)
        if self._draw.random() < AT_RANDOM:
            chosen = self._draw.randrange(ready)
        else:
            chosen = max(range(ready), key=lambda at: self._priority(self.ready[at]))
        if made in self._changes:
            self._priorities[_owner(self.ready[chosen])] = -1.0 - made
        self.picks.append(chosen)
        self.options.append(ready)
        return chosen

    def _priority(self, handle: Any) -> float:
        owner = _owner(handle)
        if owner not in self._priorities:
            self._priorities[owner] = self._draw.random()
        return self._priorities[owner]


def _owner(handle: Any) -> int:
    """The number of the task whose step waits there; -1 for what is no task's."""
    return getattr(getattr(handle.callback, "__self__", None), "number", -1)


class Given(Schedule):
    """Repeats picks, and then goes on in order, or at random as a seed decides; for replaying, shrinking and
    systematic search.

    A pick that is out of range, as it may be in a shortened list, is taken as the last there is.
    """

    def __init__(self, picks: Sequence[int] = (), then: int | str | None = None) -> None:
        super().__init__()
        self._given = picks
        self._random = None if then is None else random.Random(f"schedule:{then}").random

    def pick(self, ready: int) -> int:
        made = len(self.picks)
        if made < len(self._given):
            chosen = min(self._given[made], ready - 1)
        else:
            chosen = 0 if self._random is None else int(self._random() * ready)
        self.picks.append(chosen)
        self.options.append(ready)
        return chosen


def next_picks(schedule: Schedule, max_deviations: int) -> list[int] | None:
    """The picks of the next schedule in a depth-first search of all of them; None after the last.

    max_deviations: how often a schedule may run something else than what is first in line. Where no
    schedule has that many choices, the search is complete.
    """
    picks, options = schedule.picks, schedule.options
    deviations = sum(1 for pick in picks if pick)
    for place in range(len(picks) - 1, -1, -1):
        pick = picks[place]
        deviations -= pick > 0
        if pick + 1 < options[place] and deviations < max_deviations:
            return [*picks[:place], pick + 1]
    return None
