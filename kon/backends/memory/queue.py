"""A queue in memory.

What has never been received stands in a deque. Whatever has a handle, because it was received or is
delayed, stands in `_held`; a heap says when handles fall due, whole receives at a time. An ack or an
extension leaves the heap as it is: an entry is judged when it comes up. So every call costs O(batch),
however much is queued or in flight.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

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

LIMITS: Final = QueueLimits(max_batch=1_000, max_bytes=16 << 20, max_delay_s=43_200.0)

_FIRST_SWEEP: Final = 1_000  # entries of the heap, most of which may speak of messages long acked

_Waiter = tuple["asyncio.Future[None]", int]  # who waits, and for how many messages at most


class MemoryQueue(Queue):
    """One queue, for one event loop at a time.

    max_receives: deliveries of one message before it goes on to `dead`; both or neither are given.
    """

    limits = LIMITS

    def __init__(
        self,
        visibility_s: float,
        requests: RequestCount,
        max_receives: float = math.inf,
        dead: MemoryQueue | None = None,
    ) -> None:
        self._visibility_s = visibility_s
        self._requests = requests
        self._max_receives = max_receives
        self._dead = dead
        self._fresh: deque[Message] = deque()
        self._held: dict[int, Delivery] = {}  # by handle; receives is 0 for what is delayed
        self._extended: dict[int, float] = {}  # handles that do not fall due with their first entry
        self._due: list[tuple[float, int, Sequence[int]]] = []  # a heap: when, tie-breaker, handles
        self._back: deque[int] = deque()  # fell due: to be had again, by the old handle until then
        self._entries = 0
        self._sweep_at = _FIRST_SWEEP
        self._handles = 0
        self._waiters: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        self._requests.made += 1
        delayed = check_send(self.limits, messages)
        await asyncio.sleep(0)  # the receivers' turn: nothing here waits by itself
        if delayed:
            self._send_delayed([message for message in messages if message.delay_s])
            messages = [message for message in messages if not message.delay_s]
        self._fresh.extend(messages)
        self._wake(len(messages))
        self._arm()

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        self._requests.made += 1
        check_batch(self.limits, max_messages)
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while True:
            now_s = loop.time()
            taken = self._take(max_messages, now_s)
            if taken or now_s >= deadline_s:
                return taken
            await self._news(max_messages, deadline_s)

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        self._requests.made += 1
        check_batch(self.limits, len(deliveries))
        check_visibility(self.limits, visible_s)
        held = self._held
        handles = [delivery.handle for delivery in deliveries if delivery.handle in held]
        due_s = asyncio.get_running_loop().time() + visible_s
        self._extended.update(dict.fromkeys(handles, due_s))
        self._fall_due(due_s, handles)
        self._arm()
        return [delivery.handle in held for delivery in deliveries]

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        self._requests.made += 1
        check_batch(self.limits, len(deliveries))
        forget = self._held.pop
        gone = [forget(delivery.handle, None) is not None for delivery in deliveries]
        if self._extended:
            for delivery in deliveries:
                self._extended.pop(delivery.handle, None)
        return gone

    async def depth(self) -> Depth:
        """Exact. Costs O(held)."""
        self._requests.made += 1
        self._expire(asyncio.get_running_loop().time())
        back = {handle for handle in self._back if self._is_back(handle)}
        delayed = sum(not held.receives for handle, held in self._held.items() if handle not in back)
        in_flight = len(self._held) - len(back) - delayed
        return Depth(visible=len(self._fresh) + len(back), in_flight=in_flight, delayed=delayed)

    # --- messages ----------------------------------------------------------------------------------

    def _take(self, max_messages: int, now_s: float) -> list[Delivery]:
        self._expire(now_s)
        first = self._handles
        taken = self._take_back(max_messages)
        fresh, count = self._fresh, max_messages - len(taken)
        messages: Iterable[Message]
        if count < len(fresh):
            popleft = fresh.popleft
            messages = [popleft() for _ in range(count)]
        else:
            messages = tuple(fresh)
            fresh.clear()
        taken += [Delivery(handle, each.body, 1) for handle, each in enumerate(messages, self._handles)]
        if taken:
            self._handles = first + len(taken)
            handles = range(first, self._handles)
            self._held.update(zip(handles, taken))
            self._fall_due(now_s + self._visibility_s, handles)
        return taken

    def _take_back(self, max_messages: int) -> list[Delivery]:
        """What was received before, or delayed, under new handles."""
        taken: list[Delivery] = []
        while self._back and len(taken) < max_messages:
            handle = self._back.popleft()
            if not self._is_back(handle):
                continue
            old = self._held.pop(handle)
            if self._dead is not None and old.receives >= self._max_receives:
                self._dead._fresh.append(Message(old.body))
                self._dead._wake(1)
                continue
            taken.append(Delivery(self._handles, old.body, old.receives + 1))
            self._handles += 1
        return taken

    def _is_back(self, handle: int) -> bool:
        return handle in self._held and handle not in self._extended

    def _send_delayed(self, messages: Sequence[Message]) -> None:
        now_s = asyncio.get_running_loop().time()
        for message in messages:
            handle = self._handles
            self._handles += 1
            self._held[handle] = Delivery(handle, message.body, 0)
            self._fall_due(now_s + message.delay_s, (handle,))

    def _fall_due(self, due_s: float, handles: Sequence[int]) -> None:
        heapq.heappush(self._due, (due_s, self._entries, handles))
        self._entries += 1
        if len(self._due) > self._sweep_at:
            self._due = [entry for entry in self._due if any(self._governs(entry[0], h) for h in entry[2])]
            heapq.heapify(self._due)
            self._sweep_at = 2 * len(self._due) + _FIRST_SWEEP

    def _governs(self, due_s: float, handle: int) -> bool:
        """Whether an entry of the heap still says when this handle falls due."""
        return handle in self._held and self._extended.get(handle, due_s) == due_s

    def _expire(self, now_s: float) -> None:
        while self._due and self._due[0][0] <= now_s:
            due_s, _, handles = heapq.heappop(self._due)
            for handle in handles:
                if self._governs(due_s, handle):
                    self._extended.pop(handle, None)
                    self._back.append(handle)

    # --- waiting -----------------------------------------------------------------------------------

    async def _news(self, max_messages: int, deadline_s: float) -> None:
        """Return when there may be messages for this receiver, or at the deadline."""
        loop = asyncio.get_running_loop()
        news: asyncio.Future[None] = loop.create_future()
        waiter = (news, max_messages)
        self._waiters.append(waiter)
        self._arm()
        limit = loop.call_at(deadline_s, _resolve, news)
        try:
            await news
        except asyncio.CancelledError:
            if not news.cancelled():
                self._wake(max_messages)  # what it was woken for is another's now
            raise
        finally:
            limit.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            if not self._waiters:
                self._disarm()

    def _wake(self, messages: int) -> None:
        """Wake as many receivers as that many messages need, the longest waiting first."""
        while messages > 0 and self._waiters:
            news, max_messages = self._waiters.popleft()
            if not news.done():
                news.set_result(None)
                messages -= max_messages

    def _arm(self) -> None:
        """While somebody waits, have a timer at the time when the next held message falls due."""
        if not self._due or not self._waiters:
            return
        due_s = self._due[0][0]
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due_s, self._on_due)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_due(self) -> None:
        self._timer = None
        self._expire(asyncio.get_running_loop().time())
        self._wake(len(self._back))
        self._arm()


def _resolve(news: asyncio.Future[None]) -> None:
    if not news.done():
        news.set_result(None)
