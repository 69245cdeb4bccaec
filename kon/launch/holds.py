"""What a worker holds, noted in a file, so that whoever sees it die can hand that to others at once.

A worker that is killed can't give anything back: its messages come again after the visibility timeout, its
claims run out after their lease. Both are there for deaths that nobody sees. On one machine the parent of a
worker does see it die, and need not wait for them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.core.backend import Channel
from kon.core.ledger import Ledger, Record
from kon.core.queue import Delivery, Depth, Message, Queue
from kon.core.task import State

COMMANDS_END_S: Final = 2.0
"""How long after a death what the worker held is handed on. Its sentry ends its commands meanwhile, so that
no two of a task run at once."""


class WorkerHolds(msgspec.Struct, frozen=True):
    """life: of the worker. messages: handles of those received. keys: of rows claimed, perhaps long ago."""

    life: str
    messages: list[Any]
    keys: list[int]


class Notes:
    """The file of one life of a worker.

    A note that can't be written, on a full disk, is left out: what it would have named comes again after its
    timeout.
    """

    def __init__(self, file: Path, life: str) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._first = life
        self._open: set[Any] = set()
        self._write(life)

    def received(self, deliveries: Sequence[Delivery]) -> None:
        self._open.update(each.handle for each in deliveries)
        self._write(["m", [each.handle for each in deliveries]])

    def claimed(self, records: Sequence[Record]) -> None:
        self._write(["c", [each.key for each in records]])

    def acked(self, deliveries: Sequence[Delivery]) -> None:
        self._open.difference_update(each.handle for each in deliveries)
        if not self._open:  # nothing is held: the file begins again
            os.ftruncate(self._fd, 0)
            self._write(self._first)

    def close(self) -> None:
        """Note nothing more."""
        os.close(self._fd)

    def _write(self, line: Any) -> None:
        with suppress(OSError):
            os.write(self._fd, msgspec.json.encode(line) + b"\n")


def read(file: Path) -> WorkerHolds | None:
    """What a dead worker held; None where it had not begun."""
    try:
        first, *lines = file.read_bytes().splitlines()
        found = WorkerHolds(msgspec.json.decode(first, type=str), [], [])
    except (FileNotFoundError, ValueError, msgspec.DecodeError):
        return None
    for line in lines:
        with suppress(msgspec.DecodeError):  # written in part, on a full disk or by a process that was killed
            what, named = msgspec.json.decode(line, type=tuple[str, list[Any]])
            (found.messages if what == "m" else found.keys).extend(named)
    return found


_AT_ONCE: Final = 1_000

_LONG_AGO_S: Final = 1.0
"""When a claim ran out that is let run out, in seconds since the epoch. 0 would be never."""


async def hand_on(held: WorkerHolds, channel: Channel) -> None:
    """Let its claims run out, and then its messages come again.

    What others have taken over by now stays theirs: tokens and receipt handles have changed.
    """
    ledger, queue = channel.ledger, channel.tasks
    for at in range(0, len(held.keys), _AT_ONCE):
        rows = await ledger.read(list(dict.fromkeys(held.keys[at : at + _AT_ONCE])))
        claims = [row for row in rows if row and row.state is State.CLAIMED and row.owner == held.life]
        over = [msgspec.structs.replace(row, expires_s=_LONG_AGO_S) for row in claims if row.expires_s]
        if over:
            await ledger.replace(over, [row.token for row in over])
    messages = [Delivery(tuple(handle), b"", 1) for handle in held.messages]
    most = queue.limits.max_batch
    for at in range(0, len(messages), most):
        await queue.extend(messages[at : at + most], 0.0)


def noted(channel: Channel, notes: Notes) -> Channel:
    """The channel of a worker that notes what it holds."""
    return msgspec.structs.replace(
        channel, tasks=_NotedQueue(channel.tasks, notes), ledger=_NotedLedger(channel.ledger, notes)
    )


class _NotedQueue(Queue):
    def __init__(self, queue: Queue, notes: Notes) -> None:
        self._queue = queue
        self._notes = notes
        self.limits = queue.limits

    async def send(self, messages: Sequence[Message]) -> None:
        await self._queue.send(messages)

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        deliveries = await self._queue.receive(max_messages, wait_s)
        if deliveries:
            self._notes.received(deliveries)
        return deliveries

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        return await self._queue.extend(deliveries, visible_s)

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        acked = await self._queue.ack(deliveries)
        self._notes.acked(deliveries)
        return acked

    async def depth(self) -> Depth:
        return await self._queue.depth()


class _NotedLedger(Ledger):
    """Notes claims before they are written: one that is noted and was not made does no harm."""

    def __init__(self, ledger: Ledger, notes: Notes) -> None:
        self._ledger = ledger
        self._notes = notes
        self.max_batch = ledger.max_batch
        self.stale_reads = ledger.stale_reads
        self.max_outcome_bytes = ledger.max_outcome_bytes

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        return await self._ledger.read(keys)

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        self._notes.claimed(records)
        return await self._ledger.insert_new(records)

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        claims = [record for record in records if record.state is State.CLAIMED]
        if claims:
            self._notes.claimed(claims)
        return await self._ledger.replace(records, if_tokens)

    async def put(self, records: Sequence[Record]) -> None:
        await self._ledger.put(records)

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        return await self._ledger.delete(keys, if_tokens)

    async def scan(self, first: int, limit: int) -> list[Record]:
        return await self._ledger.scan(first, limit)
