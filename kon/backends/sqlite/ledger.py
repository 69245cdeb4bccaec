"""A ledger in a run's database: its statements, and the ledger that makes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from kon.backends.sqlite.connection import Connection
from kon.backends.sqlite.spans import Inserts
from kon.core.backend import RequestCount
from kon.core.ledger import Ledger, Record, missing
from kon.core.task import State

_AT_ONCE: Final = 100  # keys in one SELECT

# Enums are dear to make and to unpack, by the million.
_STATES: Final = {state.value: state for state in State}
_TEXTS: Final = {state: state.value for state in State}


class Rows:
    """One ledger's table."""

    def __init__(self, name: str) -> None:
        marks = ", ".join("?" * _AT_ONCE)
        self._insert: Final = Inserts(f"INSERT INTO {name} VALUES", 7)
        self._upsert: Final = Inserts(
            f"INSERT INTO {name} VALUES",
            7,
            "ON CONFLICT (key) DO UPDATE SET token = excluded.token, state = excluded.state, "
            "attempt = excluded.attempt, owner = excluded.owner, expires_s = excluded.expires_s, "
            "outcome = excluded.outcome",
        )
        self._whole = f"SELECT * FROM {name} WHERE key IN ({marks})"
        self._tokens = f"SELECT key, token FROM {name} WHERE key IN ({marks})"
        self._delete = f"DELETE FROM {name} WHERE key = ?"
        self._scan = f"SELECT * FROM {name} WHERE key >= ? ORDER BY key LIMIT ?"

    def read(self, db: sqlite3.Connection, keys: Sequence[int]) -> list[Record | None]:
        found = self._found(db, keys)
        return [found.get(key) for key in keys]

    def insert_new(self, db: sqlite3.Connection, records: Sequence[Record]) -> list[Record | None]:
        found = self._found(db, [record.key for record in records])
        if not found:
            self._insert.run(db, [_row(record) for record in records])
            return [None] * len(records)
        self._insert.run(db, [_row(record) for record in records if record.key not in found])
        return [found.get(record.key) for record in records]

    def replace(
        self, db: sqlite3.Connection, records: Sequence[Record], if_tokens: Sequence[str]
    ) -> list[Record | None]:
        keys = [record.key for record in records]
        tokens = self._tokens_of(db, keys)
        ours = [tokens.get(key) == if_token for key, if_token in zip(keys, if_tokens, strict=True)]
        self._upsert.run(db, [_row(record) for record, is_ours in zip(records, ours) if is_ours])
        if all(ours):
            return [None] * len(records)
        found = self._found(db, [key for key, is_ours in zip(keys, ours) if not is_ours])
        return [None if is_ours else found.get(key) or missing(key) for key, is_ours in zip(keys, ours)]

    def put(self, db: sqlite3.Connection, records: Sequence[Record]) -> None:
        self._upsert.run(db, [_row(record) for record in records])

    def delete(self, db: sqlite3.Connection, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        tokens = self._tokens_of(db, keys)
        ours = [tokens.get(key) == if_token for key, if_token in zip(keys, if_tokens, strict=True)]
        db.executemany(self._delete, [(key,) for key, is_ours in zip(keys, ours) if is_ours])
        return ours

    def scan(self, db: sqlite3.Connection, first: int, limit: int) -> list[Record]:
        return [_record(row) for row in db.execute(self._scan, (first, limit))]

    def _found(self, db: sqlite3.Connection, keys: Sequence[int]) -> dict[int, Record]:
        found: dict[int, Record] = {}
        for some in _padded(keys):
            for row in db.execute(self._whole, some).fetchall():
                found[row[0]] = _record(row)
        return found

    def _tokens_of(self, db: sqlite3.Connection, keys: Sequence[int]) -> dict[int, str]:
        tokens: dict[int, str] = {}
        for some in _padded(keys):
            tokens.update(db.execute(self._tokens, some).fetchall())
        return tokens


def _padded(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    """The keys in portions of one size, so that there is one statement to prepare; the last key may
    stand in them more than once."""
    for begin in range(0, len(keys), _AT_ONCE):
        some = keys[begin : begin + _AT_ONCE]
        yield [*some, *([some[-1]] * (_AT_ONCE - len(some)))]


def _row(record: Record) -> tuple[Any, ...]:
    return (
        record.key,
        record.token,
        _TEXTS[record.state],
        record.attempt,
        record.owner,
        record.expires_s,
        record.outcome,
    )


def _record(row: tuple[Any, ...]) -> Record:
    key, token, state, attempt, owner, expires_s, outcome = row
    return Record(key, token, _STATES[state], attempt, owner, expires_s, outcome)


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
