"""Room for what images take in memory, so that it is bounded however large they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


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
