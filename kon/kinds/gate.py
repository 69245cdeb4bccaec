"""When a task may start: a while after the one before, or while the machine has room for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOAD_LOOK_S: Final = 0.5
"""Between two looks at the load or the memory, which the system itself updates every few seconds."""

_SETTLE_S: Final = 1.0
"""Between two starts while the load or the memory is watched: what has just started does not show yet."""


class Gate:
    """Lets tasks start one by one."""

    def __init__(
        self,
        delay_s: float = 0.0,
        max_load: float | None = None,
        min_free_bytes: int | None = None,
        load: Callable[[], float] = lambda: os.getloadavg()[0],
        free_bytes: Callable[[], int] = lambda: free_memory_bytes(),
    ) -> None:
        """delay_s: seconds between two starts. max_load: none starts while the load average of the last
        minute is higher. min_free_bytes: none starts while less memory is available.
        """
        self._delay_s = delay_s
        self._max_load = max_load
        self._min_free_bytes = min_free_bytes
        self._load = load
        self._free_bytes = free_bytes
        self._turn = asyncio.Lock()
        self._last_s: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing was asked of it."""
        return not self._delay_s and self._max_load is None and self._min_free_bytes is None

    async def wait(self) -> None:
        """Return when the next task may start. Tasks pass one at a time."""
        now_s = asyncio.get_running_loop().time
        async with self._turn:
            if self._last_s is not None:
                await asyncio.sleep(max(0.0, self._last_s + self._pause_s() - now_s()))
            while self._is_busy():  # noqa: ASYNC110 - nothing but a look tells
                await asyncio.sleep(LOAD_LOOK_S)
            self._last_s = now_s()

    def _pause_s(self) -> float:
        watched = self._max_load is not None or self._min_free_bytes is not None
        return max(self._delay_s, _SETTLE_S) if watched and self._near() else self._delay_s

    def _near(self) -> bool:
        """Whether one more task might be too many."""
        return (self._max_load is not None and self._load() + 1 > self._max_load) or (
            self._min_free_bytes is not None and self._free_bytes() < 2 * self._min_free_bytes
        )

    def _is_busy(self) -> bool:
        return (self._max_load is not None and self._load() > self._max_load) or (
            self._min_free_bytes is not None and self._free_bytes() < self._min_free_bytes
        )


def free_memory_bytes() -> int:
    """Memory that programs can have without any swapping, as Linux estimates it.

    Raises OSError where this system does not say.
    """
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")
