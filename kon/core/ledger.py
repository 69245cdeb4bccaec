"""The ledger: a key-value table with conditional writes, the ground that strategies stand on.

Reads may be stale. Conditional writes are linearizable. A reply may be lost after its write took
place, so a repeated write can meet its own record: whoever writes compares tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from kon.core.task import State


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row.

    token: drawn for each claim; whoever knows it may replace the row (a fencing token).
    owner: the worker that wrote it, for people.
    expires_s: when a claim's lease ends, in seconds since the epoch; 0 for never.
    outcome: an encoded `Outcome`, once there is one.
    """

    key: int
    token: str
    state: State = State.CLAIMED
    attempt: int = 1
    owner: str = ""
    expires_s: float = 0.0
    outcome: bytes | None = None


class Ledger(ABC):
    """One table. A call takes any number of items, no key twice, and answers item by item.

    The backend splits a call into requests of `max_batch`. All calls raise BackendUnavailable when
    the service can't be reached after the backend's own retries; then any part of the batch may
    have been written, and the caller may repeat the whole.
    """

    max_batch: int
    stale_reads: bool = False
    max_outcome_bytes: int | None = None
    """The largest outcome that a row takes; None for any."""

    @abstractmethod
    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        """The row of each key, or None. May be stale where `stale_reads` says so."""

    @abstractmethod
    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        """Write each record whose key has no row. None where it was written, else the row found.

        The row found may be the very record of this call, when a reply was lost and the backend
        tried again: compare tokens.
        """

    @abstractmethod
    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        """Write each record over a row whose token is the one given.

        None where it was written, else the row found; for a row that is not there at all, a
        record with the key and an empty token. As with `insert_new`, compare tokens.
        """

    @abstractmethod
    async def put(self, records: Sequence[Record]) -> None:
        """Write each record, whatever was there: the plain write of the older systems."""

    @abstractmethod
    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        """Delete each row whose token is the one given. False where it was not."""

    @abstractmethod
    async def scan(self, first: int, limit: int) -> list[Record]:
        """Up to `limit` rows with keys from `first` on, in order of keys. For small tables and repairs."""


def missing(key: int) -> Record:
    """What `replace` answers for a row that is not there."""
    return Record(key=key, token="")
