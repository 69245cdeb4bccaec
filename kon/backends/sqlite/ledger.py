"""A ledger in a run's database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from kon.backends.sqlite.connection import Connection
from kon.backends.sqlite.rows import Rows
from kon.core.backend import RequestCount
from kon.core.ledger import Ledger, Record

MAX_BATCH: Final = 1_000


class SqliteLedger(Ledger):
    """One table, as one channel sees it. Each request is a transaction of its own."""

    max_batch = MAX_BATCH

    def __init__(self, connection: Connection, rows: Rows, requests: RequestCount) -> None:
        self._connection = connection
        self._rows = rows
        self._requests = requests

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        read = self._connection.read
        found: list[Record | None] = []
        for part in self._parts(len(keys)):
            found += await read(partial(self._rows.read, keys=keys[part]))
        return found

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        write = self._connection.write
        found: list[Record | None] = []
        for part in self._parts(len(records)):
            found += await write(partial(self._rows.insert_new, records=records[part]))
        return found

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        write = self._connection.write
        found: list[Record | None] = []
        for part in self._parts(len(records)):
            found += await write(
                partial(self._rows.replace, records=records[part], if_tokens=if_tokens[part])
            )
        return found

    async def put(self, records: Sequence[Record]) -> None:
        write = self._connection.write
        for part in self._parts(len(records)):
            await write(partial(self._rows.put, records=records[part]))

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        write = self._connection.write
        deleted: list[bool] = []
        for part in self._parts(len(keys)):
            deleted += await write(partial(self._rows.delete, keys=keys[part], if_tokens=if_tokens[part]))
        return deleted

    async def scan(self, first: int, limit: int) -> list[Record]:
        self._requests.made += 1
        return await self._connection.read(lambda db: self._rows.scan(db, first, limit))

    def _parts(self, items: int) -> Iterator[slice]:
        """One for each request, counted as it is made."""
        for begin in range(0, items, MAX_BATCH):
            self._requests.made += 1
            yield slice(begin, begin + MAX_BATCH)
