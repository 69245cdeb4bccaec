"""How long calls to the backend take, added up call by call: what a model of them can be fitted to."""

from __future__ import annotations

import math
from typing import Any, Final

SHORTEST_S: Final = 1e-7
"""A call that takes no time at all, as in memory, counts as this long: its logarithm must be a number."""


class Timing:
    """The sums over all calls of one sort that a line and a log-normal distribution are fitted from."""

    __slots__ = ("calls", "item_s", "items", "items2", "log", "log2", "max_s", "sum_s")

    def __init__(self) -> None:
        self.calls = 0
        self.items = 0
        self.items2 = 0
        self.sum_s = 0.0
        self.item_s = 0.0  # of items times seconds
        self.log = 0.0
        self.log2 = 0.0
        self.max_s = 0.0

    def add(self, items: int, took_s: float) -> None:
        log = math.log(took_s if took_s > SHORTEST_S else SHORTEST_S)
        self.calls += 1
        self.items += items
        self.items2 += items * items
        self.sum_s += took_s
        self.item_s += items * took_s
        self.log += log
        self.log2 += log * log
        if took_s > self.max_s:
            self.max_s = took_s

    def sums(self) -> dict[str, float]:
        """For the records."""
        return {name: getattr(self, name) for name in sorted(self.__slots__)}


class Timings:
    """Those of one worker or client, by call, such as `queue.send`."""

    def __init__(self) -> None:
        self._by_call: dict[str, Timing] = {}

    def add(self, call: str, items: int, took_s: float) -> None:
        timing = self._by_call.get(call)
        if timing is None:
            timing = self._by_call[call] = Timing()
        timing.add(items, took_s)

    def by_call(self) -> dict[str, Timing]:
        """Those so far; for any thread."""
        return self._by_call.copy()

    def sums(self) -> dict[str, Any]:
        """For the records."""
        return {call: timing.sums() for call, timing in self._by_call.items()}
