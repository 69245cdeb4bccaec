"""A ledger in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kon.core.backend import RequestCount
from kon.core.ledger import Ledger, Record, missing

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
