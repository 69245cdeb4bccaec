"""When each task was first delivered, and when its first result was kept: 8 bytes a task.

A task's latency is the time from the one to the other: it waits in its worker, runs, is tried again where
it fails, and is committed. What it waits in the queue before is the makespan's business: a bag of tasks is
submitted at once, so that the wait there says how large the bag was.
"""

from __future__ import annotations

import operator
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

_LATEST: Final = (1 << 29) - 1
"""The latest moment there can be, in units."""
_NOT_DELIVERED: Final = 3 << 30
_NOT_KEPT: Final = (1 << 32) - 1
# Chosen so that kept - delivered is out of a latency's range where either of them is missing, or both.

LEAST_UNIT_S: Final = 1e-6
RUNNING_S: Final = 7 * 86_400.0
"""Reckoned with for a run whose end is not known, in seconds."""

_DIGITS: Final = 11
"""Binary digits of a latency that are kept: one part in a thousand."""
_AT_ONCE: Final = 50_000


class Moments:
    """Gathers the moments of a run's tasks, in units since `began_s`.

    began_s: without it nothing is gathered. span_s: how long the run took, None where it goes on; what
        lies beyond, by clocks that differ, counts as its beginning or end.
    """

    def __init__(self, tasks: int, began_s: float | None, span_s: float | None) -> None:
        self.tasks = tasks
        self.began_s = began_s
        self.unit_s = max(LEAST_UNIT_S, (RUNNING_S if span_s is None else 1.1 * span_s) / _LATEST)
        self.delivered = array("I", [_NOT_DELIVERED]) * tasks
        self.kept = array("I", [_NOT_KEPT]) * tasks

    def deliver(self, t: float, indexes: Sequence[int] | None, run: tuple[int, int] | None) -> None:
        """Raises IndexError, for a range that ends beyond the tasks as well."""
        self._note(self.delivered, _NOT_DELIVERED, t, indexes, run)

    def keep(self, t: float, indexes: Sequence[int] | None, run: tuple[int, int] | None) -> None:
        self._note(self.kept, _NOT_KEPT, t, indexes, run)

    def _note(
        self,
        moments: array[int],
        none: int,
        t: float,
        indexes: Sequence[int] | None,
        run: tuple[int, int] | None,
    ) -> None:
        if self.began_s is None:
            return
        at = min(_LATEST, max(0, int((t - self.began_s) / self.unit_s)))
        if run is not None:
            first, count = run
            if first + count > self.tasks:
                raise IndexError(first)
            if moments[first : first + count] == array("I", [none]) * count:
                moments[first : first + count] = array("I", [at]) * count
            else:
                indexes = range(first, first + count)
        for index in indexes or ():
            if moments[index] > at:
                moments[index] = at

    def latencies(self) -> Latencies:
        """Latencies of the tasks that were delivered and have a result."""
        rounded: dict[int, int] = {}
        for start in range(0, self.tasks, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            # tasks that came and went together have one latency, so that few values are looked at here
            for units, tasks in Counter(map(operator.sub, self.kept[part], self.delivered[part])).items():
                if -_LATEST <= units <= _LATEST:
                    shift = max(0, units.bit_length() - _DIGITS)
                    key = max(0, units) >> shift << shift
                    rounded[key] = rounded.get(key, 0) + tasks
        return Latencies({key * self.unit_s: rounded[key] for key in sorted(rounded)})


class Latencies:
    """How many tasks took how long, in seconds, shortest first; exact to one part in a thousand."""

    def __init__(self, tasks_by_s: Mapping[float, int]) -> None:
        self.tasks_by_s = tasks_by_s
        self.tasks = sum(tasks_by_s.values())

    def quantile(self, share: float) -> float | None:
        """The latency that this share of the tasks did not exceed (nearest rank); None without tasks."""
        wanted, met = share * self.tasks, 0
        for latency_s, tasks in self.tasks_by_s.items():
            met += tasks
            if met >= wanted:
                return latency_s
        return None
