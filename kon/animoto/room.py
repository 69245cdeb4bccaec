"""Room for what has been fetched and not yet decoded, so that memory is bounded however large images are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Bytes that the images of one job may hold together.

    The image that comes first in the video never waits: the others may be waiting for it.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
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
        """Wait until so many bytes in all may be held for the image."""
        more_bytes = size_bytes - self._held[number]
        if more_bytes <= 0:
            return
        async with self._changed:
            await self._changed.wait_for(
                lambda: sum(self._held.values()) + more_bytes <= self._size_bytes or number == min(self._held)
            )
            self._held[number] = size_bytes
            self.most_bytes = max(self.most_bytes, sum(self._held.values()))
