"""Patience: riding out a backend that does not answer for a while.

Every call to queue and ledger is safe to repeat (see their classes), with the same arguments and so
with the same tokens. That is why repeating stands here, around the call, and not in the strategies.

A worker repeats for a while what it may not do, too: rights that were just given are not known everywhere at
once, and what a worker holds when it ends was received in vain.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from kon.core.backend import Channel
from kon.core.errors import BackendDenied, BackendUnavailable, KonError
from kon.core.ledger import Ledger, Record
from kon.core.objects import ObjectStore
from kon.core.queue import Delivery, Depth, Message, Queue

_Reply = TypeVar("_Reply")

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0

DENIED_S: Final = 10.0
"""How long a worker repeats a call that it may not make, in seconds."""

DENIED_PAUSE_S: Final = 1.0
"""The longest pause between two of these."""

SHORTEST_S: Final = 1e-7
"""A call that takes no time at all, as in memory, counts as this long: its logarithm must be a number."""


class Timing:
    """Sums over all calls of one sort. `kon calibrate` fits a line and a log-normal distribution to them."""

    __slots__ = ("calls", "item_s", "items", "items2", "log", "log2", "max_s", "sum_s")

    def __init__(self) -> None:
        self.calls = 0
        self.items = 0
        self.items2 = 0
        self.sum_s = 0.0
        self.item_s = 0.0  # of items times seconds
        self.log = 0.0
        self.log2 = 0.0
        self.max_s = 0.0

    def add(self, items: int, took_s: float) -> None:
        log = math.log(took_s if took_s > SHORTEST_S else SHORTEST_S)
        self.calls += 1
        self.items += items
        self.items2 += items * items
        self.sum_s += took_s
        self.item_s += items * took_s
        self.log += log
        self.log2 += log * log
        if took_s > self.max_s:
            self.max_s = took_s

    def sums(self) -> dict[str, float]:
        """For the records."""
        return {name: getattr(self, name) for name in sorted(self.__slots__)}


class Timings:
    """How long the calls of one worker or client take, by call, such as `queue.send`."""

    def __init__(self) -> None:
        self._by_call: dict[str, Timing] = {}

    def add(self, call: str, items: int, took_s: float) -> None:
        timing = self._by_call.get(call)
        if timing is None:
            timing = self._by_call[call] = Timing()
        timing.add(items, took_s)

    def by_call(self) -> dict[str, Timing]:
        """Timings so far; for any thread."""
        return self._by_call.copy()

    def sums(self) -> dict[str, Any]:
        """For the records."""
        return {call: timing.sums() for call, timing in self._by_call.items()}


class Patience:
    """Repeats a call that failed with BackendUnavailable, with growing, jittered pauses.

    outage_s: how long one call is repeated, in seconds, before its error is let through.
    denied_s: the same, for one that fails with BackendDenied.
    on_trouble: called with each failure, for the records.
    """

    def __init__(
        self,
        outage_s: float,
        rng: random.Random,
        on_trouble: Callable[[KonError, float], None],
        denied_s: float = 0.0,
    ) -> None:
        self._outage_s = outage_s
        self._denied_s = denied_s
        self._rng = rng
        self._on_trouble = on_trouble
        self.timings = Timings()
        """Timings of the calls that went well at once."""

    async def call(self, name: str, items: int, make: Callable[[], Awaitable[_Reply]]) -> _Reply:
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        try:
            try:
                reply = await make()
            except (BackendUnavailable, BackendDenied) as error:
                return await self._again(make, error)
        except asyncio.CancelledError as error:
            check_asked(error, f"{name} of the backend")
            raise
        # a receive that finds nothing has waited, and tells nothing of how long the call takes
        if reply != []:
            self.timings.add(name, items, now_s() - began_s)
        return reply

    async def while_denied(self, make: Callable[[], Awaitable[_Reply]]) -> _Reply:
        """A call that is repeated where it is denied, and nowhere else."""
        try:
            return await make()
        except BackendDenied as error:
            return await self._again(make, error, BackendDenied)

    async def _again(
        self,
        make: Callable[[], Awaitable[_Reply]],
        error: KonError,
        passing: type[KonError] | tuple[type[KonError], ...] = (BackendUnavailable, BackendDenied),
    ) -> _Reply:
        now_s = asyncio.get_running_loop().time
        began_s, pause_s = now_s(), FIRST_PAUSE_S
        denied_s: float | None = None  # when it was denied first
        while True:
            pause_s = min(pause_s, LONGEST_PAUSE_S)
            give_up_s = began_s + self._outage_s
            if isinstance(error, BackendDenied):
                denied_s = now_s() if denied_s is None else denied_s
                give_up_s, pause_s = denied_s + self._denied_s, min(pause_s, DENIED_PAUSE_S)
            wait_s = pause_s * self._rng.uniform(0.5, 1.0)
            if now_s() + wait_s > give_up_s:
                raise error
            self._on_trouble(error, wait_s)
            await asyncio.sleep(wait_s)
            try:
                return await make()
            except passing as newer:
                error, pause_s = newer, pause_s * 2


def check_asked(error: asyncio.CancelledError, what: str) -> None:
    """Raise a RuntimeError for a cancellation that nobody asked this task for.

    As of a cancel scope that leaks, or an await of a future that was cancelled. A task group would take the
    task for one that has done its work.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        raise RuntimeError(f"{what} was cancelled from within, which is a fault of its code") from error


def patient(channel: Channel, patience: Patience) -> Channel:
    """The channel with every call to queues and tables repeated while the backend does not answer, and every
    call at all while it is denied."""
    return Channel(
        tasks=PatientQueue(channel.tasks, patience),
        answers=PatientQueue(channel.answers, patience),
        dead=PatientQueue(channel.dead, patience),
        ledger=PatientLedger(channel.ledger, patience),
        control=PatientLedger(channel.control, patience),
        objects=PatientObjects(channel.objects, patience),
    )


class PatientQueue(Queue):
    """A queue whose calls are repeated. A send whose reply was lost may so be stored twice."""

    def __init__(self, queue: Queue, patience: Patience) -> None:
        self._queue = queue
        self._call = patience.call
        self.limits = queue.limits

    async def send(self, messages: Sequence[Message]) -> None:
        await self._call("queue.send", len(messages), lambda: self._queue.send(messages))

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        return await self._call(
            "queue.receive", max_messages, lambda: self._queue.receive(max_messages, wait_s)
        )

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        return await self._call(
            "queue.extend", len(deliveries), lambda: self._queue.extend(deliveries, visible_s)
        )

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        return await self._call("queue.ack", len(deliveries), lambda: self._queue.ack(deliveries))

    async def depth(self) -> Depth:
        return await self._call("queue.depth", 1, self._queue.depth)


class PatientLedger(Ledger):
    """A ledger whose calls are repeated, so that strategies never meet an outage."""

    def __init__(self, ledger: Ledger, patience: Patience) -> None:
        self._ledger = ledger
        self._call = patience.call
        self.max_batch = ledger.max_batch
        self.stale_reads = ledger.stale_reads
        self.max_outcome_bytes = ledger.max_outcome_bytes

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        return await self._call("ledger.read", len(keys), lambda: self._ledger.read(keys))

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        return await self._call("ledger.insert_new", len(records), lambda: self._ledger.insert_new(records))

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        return await self._call(
            "ledger.replace", len(records), lambda: self._ledger.replace(records, if_tokens)
        )

    async def put(self, records: Sequence[Record]) -> None:
        await self._call("ledger.put", len(records), lambda: self._ledger.put(records))

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        return await self._call("ledger.delete", len(keys), lambda: self._ledger.delete(keys, if_tokens))

    async def scan(self, first: int, limit: int) -> list[Record]:
        return await self._call("ledger.scan", 1, lambda: self._ledger.scan(first, limit))


class PatientObjects(ObjectStore):
    """An object store whose calls are repeated while they are denied. After an outage, the attempt is made
    again."""

    def __init__(self, objects: ObjectStore, patience: Patience) -> None:
        self._objects = objects
        self._call = patience.while_denied

    async def put(self, key: str, file: Path) -> None:
        await self._call(lambda: self._objects.put(key, file))

    async def get(self, key: str, file: Path) -> None:
        await self._call(lambda: self._objects.get(key, file))

    async def size_bytes(self, key: str) -> int:
        return await self._call(lambda: self._objects.size_bytes(key))

    async def url(self, key: str, expires_s: float) -> str:
        return await self._call(lambda: self._objects.url(key, expires_s))

    async def signed(self, key: str, expires_s: float) -> tuple[str, float | None]:
        return await self._call(lambda: self._objects.signed(key, expires_s))
