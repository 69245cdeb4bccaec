"""The control table of a run: its status and its workers, for whoever shares its channel."""

from __future__ import annotations

import enum
import random
from typing import Any

import msgspec

from kon.ledger import Ledger, Record
from kon.task import State

_STATUS_KEY = 0
_WORKER_KEYS = 1 << 40
"""Workers register under random keys from here on."""


class Status(enum.StrEnum):
    """Of a run as a whole."""

    OPEN = "open"  # tasks are or may yet be queued
    CLOSED = "closed"  # every task is accounted for
    CANCELLED = "cancelled"  # a person gave it up


class RunState(msgspec.Struct, frozen=True):
    """submitted: tasks from the first on that are safely queued."""

    status: Status = Status.OPEN
    submitted: int = 0


class WorkerState(msgspec.Struct, frozen=True):
    """What a worker says of itself when it is ready."""

    name: str
    details: dict[str, Any] = {}


class Control:
    """Reads and writes the control table. Only the client writes the status; a cancel wins over it."""

    def __init__(self, table: Ledger) -> None:
        self._table = table

    async def read(self) -> RunState:
        (row,) = await self._table.read([_STATUS_KEY])
        return RunState() if row is None or row.outcome is None else _states.decode(row.outcome)

    async def write(self, state: RunState) -> None:
        await self._table.put([_row(_STATUS_KEY, msgspec.json.encode(state))])

    async def is_over(self) -> bool:
        return (await self.read()).status is not Status.OPEN

    async def register(self, worker: WorkerState, rng: random.Random) -> None:
        key = _WORKER_KEYS + rng.getrandbits(40)
        await self._table.put([_row(key, msgspec.json.encode(worker))])

    async def workers(self, limit: int = 10_000) -> list[WorkerState]:
        """Every worker that ever became ready, in no order."""
        rows = await self._table.scan(_WORKER_KEYS, limit)
        return [_workers.decode(row.outcome) for row in rows if row.outcome is not None]


_states = msgspec.json.Decoder(RunState)
_workers = msgspec.json.Decoder(WorkerState)


def _row(key: int, value: bytes) -> Record:
    return Record(key=key, token="control", state=State.DONE, outcome=value)
