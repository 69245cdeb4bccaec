"""Time, as every part of kon reads it.

All of kon's logic takes its time from the running event loop, so that the same code runs under a
virtual clock. A loop's own time has an arbitrary origin; leases and records need one that hosts
share, so a `Clock` adds an offset that is measured where a process starts.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final


class Clock:
    """Seconds since the epoch, as one host believes them to be."""

    def __init__(self, offset_s: float) -> None:
        self._offset_s = offset_s

    @staticmethod
    def of_this_host() -> Clock:
        """The wall clock of this machine; call it inside the running loop, once for a process."""
        return _HostClock(time.time() - asyncio.get_running_loop().time())

    def now_s(self) -> float:
        return asyncio.get_running_loop().time() + self._offset_s


SHORTEST_SUSPEND_S: Final = 0.1
"""A difference of the two clocks that is no chance of when each was read."""


class _HostClock(Clock):
    """A clock that goes on while the host is suspended, which a loop's time does not.

    Without that, workers from before a suspend would be behind those that start after it, by its length.
    """

    def __init__(self, offset_s: float) -> None:
        super().__init__(offset_s)
        self._suspended_s = suspended_s()

    def now_s(self) -> float:
        slept_s = suspended_s() - self._suspended_s
        if slept_s > SHORTEST_SUSPEND_S:
            self._suspended_s += slept_s
            self._offset_s += slept_s
        return asyncio.get_running_loop().time() + self._offset_s


_BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


def suspended_s() -> float:
    """How long this host has been suspended since it was started, in seconds; 0 where no clock tells."""
    if _BOOT_CLOCK is None:
        return 0.0
    return time.clock_gettime(_BOOT_CLOCK) - time.clock_gettime(time.CLOCK_MONOTONIC)
