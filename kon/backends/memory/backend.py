"""The backend object of `memory`, its ledger and its object store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

import msgspec

from kon.backends.memory.queue import LIMITS, MemoryQueue
from kon.core.backend import (
    Backend,
    Channel,
    ChannelOptions,
    RequestCount,
    check_channel,
    check_same,
)
from kon.core.errors import StoreError
from kon.core.ledger import Ledger, Record, missing
from kon.core.objects import ObjectStore, check_key, check_run
from kon.core.options import read_options


class MemoryObjects(ObjectStore):
    """Bytes by key. Files are read and written in one go on the loop's own thread, as its virtual time
    has no other."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    async def put(self, key: str, file: Path) -> None:
        self._objects[check_key(key)] = file.read_bytes()  # noqa: ASYNC240 # see the class

    async def get(self, key: str, file: Path) -> None:
        file.write_bytes(self._objects[check_key(key)])  # noqa: ASYNC240

    async def size_bytes(self, key: str) -> int:
        return len(self._objects[check_key(key)])

    async def url(self, key: str, expires_s: float) -> str:
        """A name for the object, `memory:` and its key; no program outside of this process can follow it."""
        if check_key(key) not in self._objects:
            raise KeyError(key)
        return f"memory:{quote(key)}"


MAX_BATCH: Final = 1_000


class MemoryLedger(Ledger):
    """A dict of rows. No call waits, so each is one step and linearizable."""

    max_batch = MAX_BATCH

    def __init__(self, requests: RequestCount) -> None:
        self._requests = requests
        self._rows: dict[int, Record] = {}

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        self._count(len(keys))
        return list(map(self._rows.get, keys))

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        self._count(len(records))
        rows = self._rows
        keys = [record.key for record in records]
        if rows.keys().isdisjoint(keys):  # the common case, at the speed of C
            rows.update(zip(keys, records))
            return [None] * len(keys)
        found = list(map(rows.get, keys))
        rows.update({new.key: new for new, old in zip(records, found) if old is None})
        return found

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        self._count(len(records))
        rows = self._rows
        verdicts: list[Record | None] = []
        for record, if_token in zip(records, if_tokens, strict=True):
            found = rows.get(record.key)
            if found is not None and found.token == if_token:
                rows[record.key] = record
                verdicts.append(None)
            else:
                verdicts.append(found or missing(record.key))
        return verdicts

    async def put(self, records: Sequence[Record]) -> None:
        self._count(len(records))
        self._rows.update((record.key, record) for record in records)

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        self._count(len(keys))
        rows = self._rows
        verdicts = []
        for key, if_token in zip(keys, if_tokens, strict=True):
            found = rows.get(key)
            ours = found is not None and found.token == if_token
            if ours:
                del rows[key]
            verdicts.append(ours)
        return verdicts

    async def scan(self, first: int, limit: int) -> list[Record]:
        """Sorts the keys: for small tables, as the contract says."""
        self._count(1)
        keys = sorted(key for key in self._rows if key >= first)
        return [self._rows[key] for key in keys[:limit]]

    def _count(self, items: int) -> None:
        self._requests.made += -(-items // MAX_BATCH)


class NoOptions(msgspec.Struct, frozen=True):
    """Options of `memory`: none."""


class InProcess(Backend):
    """A backend whose runs are objects of this one. Every channel of a run that is opened through it shares
    its queues and tables. Runs stay until they are deleted, or the object goes.

    place: what holds the runs, in errors.
    """

    place: ClassVar[str]
    processes: ClassVar[bool] = False

    def _clear(self) -> None:
        self._channels: dict[str, tuple[ChannelOptions, Channel]] = {}
        self._kept: dict[str, ObjectStore] = {}
        """The objects that runs left, which are deleted."""

    def _has(self, run: str, options: ChannelOptions) -> bool:
        """Whether there is such a run. Raises ConfigurationError where it has other options."""
        if run not in self._channels:
            return False
        check_same(run, self._channels[run][0], options)
        return True

    async def open(self, run: str) -> Channel:
        if run not in self._channels:
            raise StoreError(f'there is no run "{run}" in {self.place}; create it first')
        return self._channels[run][1]

    async def delete(self, run: str, keep_objects: bool = False) -> None:
        channel = self._channels.pop(run, None)
        if not keep_objects:
            self._kept.pop(run, None)
        elif channel is not None:
            self._kept[run] = channel[1].objects

    async def close(self) -> None:
        """Nothing is held open."""


class MemoryBackend(InProcess):
    """Keeps everything in the memory of this process."""

    name: ClassVar[str] = "memory"
    takes = NoOptions
    place: ClassVar[str] = "the memory of this process"

    def __init__(self, options: Mapping[str, Any]) -> None:
        read_options("backend memory", options, self.takes)
        self._clear()
        self._requests = RequestCount()

    async def create(self, run: str, options: ChannelOptions) -> None:
        check_channel(options, LIMITS)
        if self._has(check_run(run), options):
            return
        requests = self._requests
        dead = MemoryQueue(options.visibility_s, requests)
        channel = Channel(
            tasks=MemoryQueue(options.visibility_s, requests, options.max_receives, dead),
            answers=MemoryQueue(options.visibility_s, requests),
            dead=dead,
            ledger=MemoryLedger(requests),
            control=MemoryLedger(requests),
            objects=self._kept.pop(run, MemoryObjects()),
        )
        self._channels[run] = (options, channel)

    @property
    def requests(self) -> int:
        return self._requests.made
