"""Word of a change, from those who make or see it to the receivers of this process."""

from __future__ import annotations

import asyncio


class News:
    """One for each queue of a run. Counts changes, so that none is missed between two looks."""

    def __init__(self) -> None:
        self.changes = 0
        self._listeners: set[asyncio.Future[None]] = set()

    def spread(self) -> None:
        self.changes += 1
        for listener in self._listeners:
            if not listener.done():
                listener.set_result(None)

    async def wait(self, seen: int, timeout_s: float) -> None:
        """Return once there are more than `seen` changes, or after `timeout_s` seconds."""
        if self.changes != seen:
            return
        loop = asyncio.get_running_loop()
        listener: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(timeout_s, _resolve, listener)
        self._listeners.add(listener)
        try:
            await listener
        finally:
            timer.cancel()
            self._listeners.discard(listener)


def _resolve(listener: asyncio.Future[None]) -> None:
    if not listener.done():
        listener.set_result(None)
