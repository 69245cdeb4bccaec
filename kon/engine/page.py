"""A page, as it is known and as it is kept: rows of neighbouring tasks, packed into one row of a ledger."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from kon.core.errors import StoreError
from kon.core.ledger import Record

_FAST: Final = 1  # of zlib's levels: the rows of a page differ in little

_SMALL_BYTES: Final = 4_096
"""A page up to this long lies in a window of 2 to the power of `_SMALL_WINDOW` whole: a larger one, which has
to be cleared first, costs 15 times as much as it takes to compress the page, and finds no more."""

_SMALL_WINDOW: Final = 12
_SMALL_MEMORY: Final = 4


class Page(msgspec.Struct, frozen=True):
    """A version of a page.

    spilled: the key of the row that holds an outcome, by the key of its task's row.
    moved: keys of rows that are rows of their own, now and for ever.
    """

    token: str
    rows: dict[int, Record]
    spilled: dict[int, int]
    moved: set[int]

    def copy(self, token: str) -> Page:
        return Page(token, dict(self.rows), dict(self.spilled), set(self.moved))

    def lay(self, record: Record, spilled: dict[int, int]) -> None:
        """Put a row in. spilled: as in the page, of rows that are put in now."""
        self.rows[record.key] = record
        if record.key in spilled:
            self.spilled[record.key] = spilled[record.key]
        else:
            self.spilled.pop(record.key, None)

    def says_as_much_as(self, other: Page) -> bool:
        return self.rows == other.rows and self.moved == other.moved


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    tasks_per_row: int
    rows: list[Record]
    spilled: list[tuple[int, int]]
    moved: list[int] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)

NO_PAGE: Final = Page("", {}, {}, set())


def packed(page: Page, tasks_per_row: int) -> bytes:
    rows = list(page.rows.values())
    kept = _Packed(tasks_per_row, rows, list(page.spilled.items()), sorted(page.moved))
    return _compressed(_encoder.encode(kept))


def unpacked(row: Record, tasks_per_row: int) -> Page:
    """Raises StoreError for a row that is no page of this size."""
    if not row.token:
        return NO_PAGE
    try:
        kept = _decoder.decode(zlib.decompress(row.outcome or b""))
    except (zlib.error, msgspec.DecodeError) as error:
        raise StoreError(f"row {row.key} of the ledger is not a page of rows: {error}") from error
    if kept.tasks_per_row != tasks_per_row:
        raise StoreError(
            f"row {row.key} of the ledger is a page of {kept.tasks_per_row} tasks, and this worker has "
            f"tasks_per_row {tasks_per_row}: all workers of a run need the same"
        )
    held = {each.key: each for each in kept.rows}
    return Page(row.token, held, dict(kept.spilled), set(kept.moved))


def spilled_of(pages: dict[int, Page]) -> dict[int, int]:
    """Where outcomes lie that no page holds, by the key of their task's row."""
    return {key: place for page in pages.values() for key, place in page.spilled.items()}


def _compressed(body: bytes) -> bytes:
    if len(body) > _SMALL_BYTES:
        return zlib.compress(body, _FAST)
    deflate = zlib.compressobj(_FAST, zlib.DEFLATED, _SMALL_WINDOW, _SMALL_MEMORY)
    return deflate.compress(body) + deflate.flush()
