"""What tests of pages stand on: a ledger below them that counts, and rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kon.backends.memory.backend import MemoryLedger
from kon.core.backend import RequestCount
from kon.errors import BackendUnavailable
from kon.ledger import Record
from kon.task import State


class Counted(MemoryLedger):
    """Counts calls and rows by operation, and can be told to lose replies."""

    def __init__(self) -> None:
        super().__init__(RequestCount())
        self.calls: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.fails_after_next_write = False

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        self.calls["read"] += 1
        return await super().read(keys)

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        found = await super().insert_new(records)
        self._note("insert_new", len(records))
        return found

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        found = await super().replace(records, if_tokens)
        self._note("replace", len(records))
        return found

    def _note(self, operation: str, rows: int) -> None:
        self.calls[operation] += 1
        self.written[operation] += rows
        if self.fails_after_next_write:
            self.fails_after_next_write = False
            raise BackendUnavailable("the reply is lost")


def claims(keys: Sequence[int], token: str) -> list[Record]:
    return [Record(key, token, owner="w", expires_s=1e9) for key in keys]


def result(key: int, token: str, size_bytes: int) -> Record:
    return Record(key, token, State.DONE, outcome=bytes(key % 251 for _ in range(size_bytes)))
