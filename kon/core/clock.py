"""Time, as every part of kon reads it.

All of kon's logic takes its time from the running event loop, so that the same code runs under a
virtual clock. A loop's own time has an arbitrary origin; leases and records need one that hosts
share, so a `Clock` adds an offset that is measured once, where a process starts.
"""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Seconds since the epoch, as one host believes them to be."""

    def __init__(self, offset_s: float) -> None:
        self._offset_s = offset_s

    @classmethod
    def of_this_host(cls) -> Clock:
        """The wall clock of this machine; call it inside the running loop, once for a process."""
        return cls(time.time() - asyncio.get_running_loop().time())

    def now_s(self) -> float:
        return asyncio.get_running_loop().time() + self._offset_s
