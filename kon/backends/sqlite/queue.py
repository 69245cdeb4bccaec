"""A queue in a run's database, and word of its changes to the receivers of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from kon.backends.sqlite.connection import Connection, Work
from kon.backends.sqlite.spans import Spans
from kon.core.backend import RequestCount
from kon.core.queue import (
    Delivery,
    Depth,
    Message,
    Queue,
    QueueLimits,
    check_batch,
    check_send,
    check_visibility,
)


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


LIMITS: Final = QueueLimits(max_batch=1_000, max_bytes=16 << 20, max_delay_s=43_200.0)


class SqliteQueue(Queue):
    """One queue, as one channel sees it.

    now_ms: milliseconds since the epoch, callable from any thread.
    news: spread when this queue may have changed, dead_news when the dead-letter queue may have.
    """

    limits = LIMITS

    def __init__(
        self,
        connection: Connection,
        spans: Spans,
        visibility_s: float,
        now_ms: Callable[[], int],
        news: News,
        dead_news: News,
        requests: RequestCount,
    ) -> None:
        self._connection = connection
        self._spans = spans
        self._visibility_s = visibility_s
        self._now_ms = now_ms
        self._news = news
        self._dead_news = dead_news
        self._requests = requests

    async def send(self, messages: Sequence[Message]) -> None:
        self._requests.made += 1
        check_send(self.limits, messages)
        if messages:
            await self._connection.write(lambda db: self._spans.send(db, messages, self._now_ms()))
            self._news.spread()

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        self._requests.made += 1
        check_batch(self.limits, max_messages)
        now_s = asyncio.get_running_loop().time
        deadline_s = now_s() + wait_s
        while True:
            taken, buried = await self._connection.write_or_undo(
                lambda db: self._spans.take(db, max_messages, self._now_ms(), self._visibility_s),
                lambda reply: self._extension(reply[0], 0),
            )
            if buried:
                self._dead_news.spread()
            if taken or now_s() >= deadline_s:
                return taken
            with self._connection.watch():
                if not await self._visible(deadline_s):
                    return []

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        self._requests.made += 1
        check_batch(self.limits, len(deliveries))
        check_visibility(self.limits, visible_s)
        if not deliveries:
            return []
        extended = await self._connection.write(self._extension(deliveries, visible_s))
        self._news.spread()
        return extended

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        self._requests.made += 1
        check_batch(self.limits, len(deliveries))
        if not deliveries:
            return []
        handles = [delivery.handle for delivery in deliveries]
        return await self._connection.write(lambda db: self._spans.ack(db, handles))

    async def depth(self) -> Depth:
        """Exact."""
        self._requests.made += 1
        return await self._connection.read(lambda db: self._spans.depth(db, self._now_ms()))

    def _extension(self, deliveries: Sequence[Delivery], visible_s: float) -> Work[list[bool]]:
        handles = [delivery.handle for delivery in deliveries]
        return lambda db: self._spans.extend(db, handles, self._now_ms(), visible_s)

    async def _visible(self, deadline_s: float) -> bool:
        """Wait until there is a message to be had, or until the deadline; whether there is one."""
        now_s = asyncio.get_running_loop().time
        while True:
            seen = self._news.changes
            look = await self._connection.read(lambda db: self._spans.look(db, self._now_ms()))
            if look.visible:
                return True
            left_s = deadline_s - now_s()
            if left_s <= 0:
                return False
            if look.next_due_ms is not None:
                left_s = min(left_s, max(0.001, (look.next_due_ms - self._now_ms()) / 1000))
            await self._news.wait(seen, left_s)
