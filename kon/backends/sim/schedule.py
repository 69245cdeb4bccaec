"""Who runs next: the ways in which a simulated loop picks one of its ready callbacks.

The ready callbacks stand in the order in which they became ready, so that pick 0 is what a real
event loop would do.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


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


class Given(Schedule):
    """Repeats picks, and then goes on in order; for replaying, shrinking and systematic search.

    A pick that is out of range, as it may be in a shortened list, is taken as the last there is.
    """

    def __init__(self, picks: Sequence[int] = ()) -> None:
        super().__init__()
        self._given = picks

    def pick(self, ready: int) -> int:
        made = len(self.picks)
        chosen = min(self._given[made], ready - 1) if made < len(self._given) else 0
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
