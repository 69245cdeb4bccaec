"""Room for what images take in memory, so that it is bounded; and how freed memory leaves this process."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final


class Room:
    """Bytes that the images of one job may hold together. One that takes more than all of it has it alone.

    first_waits: no image waits for another while it holds room, so that the one that comes first in the video
    can wait as well. Else it never waits: the others may be waiting for it.
    """

    def __init__(self, size_bytes: int, *, first_waits: bool = False) -> None:
        self._size_bytes = size_bytes
        self._first_waits = first_waits
        self._held: dict[int, int] = {}
        self._changed = asyncio.Condition()
        self.most_bytes = 0
        """The most that was ever held."""

    @asynccontextmanager
    async def image(self, number: int) -> AsyncIterator[None]:
        """While an image, by its place in the video, is fetched and decoded."""
        self._held[number] = 0
        try:
            yield
        finally:
            del self._held[number]
            async with self._changed:
                self._changed.notify_all()

    async def hold(self, number: int, size_bytes: int) -> None:
        """Wait until that many bytes in all may be held for the image."""
        more_bytes = size_bytes - self._held[number]
        if more_bytes <= 0:
            return
        async with self._changed:
            await self._changed.wait_for(lambda: self._has(more_bytes, number))
            self._held[number] = size_bytes
            self.most_bytes = max(self.most_bytes, sum(self._held.values()))

    def _has(self, more_bytes: int, number: int) -> bool:
        held_bytes = sum(self._held.values())
        if self._first_waits:
            alone = held_bytes == self._held[number]
        else:
            alone = number == min(self._held)
        return alone or held_bytes + more_bytes <= self._size_bytes


_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""As in glibc's malloc.h."""
_LARGE_BYTES: Final = 8 << 20
"""Above what an encoder of 1080p asks for again and again, which would cost it a tenth more CPU time."""
_KEPT_BYTES: Final = 32 << 20
"""That each of glibc's heaps may keep at its end: what one picture's decoder and encoder give back, those of
the next ask for again. To get it from the system again, page by page, costs a twentieth of the CPU time."""


def give_back_all() -> None:
    """Have all that is free leave this process now. For once in a while: it takes milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back_large_blocks() -> None:
    """Have blocks of 8 MiB and more leave this process as soon as they are freed, and smaller ones not.

    Left alone, glibc keeps ever larger blocks in its heaps once some have been freed. Cut up as these then
    are, a worker that meets large images ends up with half as much memory again. Other allocators have no
    such setting, and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
