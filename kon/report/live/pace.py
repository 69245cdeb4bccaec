"""How many tasks ended when, in bounded memory, however long a run goes on."""

from __future__ import annotations

from typing import Final

BINS: Final = 240
"""Points of the line of throughput over time, at most."""

FIRST_BIN_S: Final = 0.25

RECENT_S: Final = 60.0
"""Remembered at full resolution."""

WINDOW_S: Final = 10.0
"""What "lately" means, in seconds; longer, up to all that is remembered, where fewer than `ENOUGH` ended."""

ENOUGH: Final = 10


class Pace:
    """Tasks by the time of their end, in equal bins that double in width whenever they would be too many."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.bin_s = FIRST_BIN_S
        self.bins: list[int] = []
        self._recent: dict[int, int] = {}
        self._latest = 0

    def add(self, ended_s: float, tasks: int = 1) -> None:
        passed_s = max(0.0, ended_s - self.began_s)
        at = int(passed_s / self.bin_s)
        while at >= BINS:
            self.bins = [sum(self.bins[n : n + 2]) for n in range(0, len(self.bins), 2)]
            self.bin_s *= 2
            at = int(passed_s / self.bin_s)
        if at >= len(self.bins):
            self.bins.extend([0] * (at + 1 - len(self.bins)))
        self.bins[at] += tasks
        slot = int(ended_s / FIRST_BIN_S)
        self._recent[slot] = self._recent.get(slot, 0) + tasks
        if slot > self._latest:
            self._latest = slot
            oldest = slot - RECENT_S / FIRST_BIN_S
            if len(self._recent) > 2 * RECENT_S / FIRST_BIN_S:
                self._recent = {each: count for each, count in self._recent.items() if each >= oldest}

    def per_s(self, now_s: float) -> float:
        """Tasks a second, lately."""
        ended, window_s = 0, RECENT_S
        for slot in sorted(self._recent, reverse=True):
            ago_s = now_s - slot * FIRST_BIN_S
            if ago_s > WINDOW_S and ended >= ENOUGH:
                break
            if 0 <= ago_s <= RECENT_S:
                ended, window_s = ended + self._recent[slot], max(ago_s, WINDOW_S)
        if ended < ENOUGH:
            window_s = RECENT_S
        window_s = min(window_s, now_s - self.began_s)
        return ended / window_s if window_s > 0 else 0.0
