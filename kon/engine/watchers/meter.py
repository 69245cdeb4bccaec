"""The meter: what the workers of a process have done so far, counted as they do it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kon.core.task import Outcome
from kon.engine.records.events import Event, Named, Watcher

TASK_BOUNDS_S: Final = (
    0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0
)  # fmt: skip
"""From a no-op to a video, few enough that a fleet of hundreds of workers is no burden."""

SETTLE_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""From a commit in memory to one that waits for a service that throttles."""


class Histogram:
    """How many values lay at or below each bound, for one writer and any readers."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """As Prometheus has them: (bound, how many up to it), added up; and the sum of all values."""
        total, added_up = 0, []
        total_s, counts = self._sum, self._counts.copy()
        for bound, count in zip([*map(str, self._bounds), "+Inf"], counts, strict=True):
            total += count
            added_up.append((bound, float(total)))
        return added_up, total_s


_KEEP: Final = Event.KEEP  # Python 3.11 takes longer to find a member in its class than to count with it
_DEAD: Final = Event.DEAD
_DELIVER: Final = Event.DELIVER


class EventMeter(Watcher):
    """Watches the workers of one process: an addition or two for a whole batch, whatever its size."""

    def __init__(self) -> None:
        self._tasks = dict.fromkeys(Event, 0)
        self._notes = dict.fromkeys(Event, 0)
        self._redelivered = 0
        self._ended = {"done": 0, "failed": 0, "dead": 0}
        self._failing = 0  # of the next `keep`
        self.task_s = Histogram(TASK_BOUNDS_S)
        self.settle_s = Histogram(SETTLE_BOUNDS_S)

    def note(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._notes[event] += 1

    def tasks(self, event: Event, tasks: Named, fields: Mapping[str, Any]) -> None:
        count = len(tasks.indexes)
        self._tasks[event] += count
        if event is _KEEP:
            # each sum only ever grows, whenever somebody looks: to Prometheus one that shrinks began anew
            self._ended["done"] += count - self._failing
            self._ended["failed"] += self._failing
            self._failing = 0
        elif event is _DEAD:
            self._ended["dead"] += count
        elif event is _DELIVER and "n" in fields:
            self._redelivered += count

    def failed(self, outcomes: Sequence[Outcome]) -> None:
        self._failing += len(outcomes)

    def ran(self, tasks: int, each_s: float) -> None:
        self.task_s.add(each_s, tasks)

    def settled(self, tasks: int, took_s: float) -> None:
        self.settle_s.add(took_s)

    def count(self, event: Event) -> int:
        """Tasks that it happened to; of events that are the worker's own, how often it happened."""
        return self._tasks[event] or self._notes[event]

    @property
    def redelivered(self) -> int:
        """Deliveries of tasks whose message had been received before."""
        return self._redelivered

    def ended(self) -> dict[str, int]:
        """Tasks by what became of them here."""
        return self._ended.copy()
