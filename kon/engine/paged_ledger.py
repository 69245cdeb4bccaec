"""Pages: the rows of neighbouring tasks in one row of a ledger, where each write of a row is paid for.

A page is a row of the ledger below: its key is that of its rows divided by `tasks_per_row`, its token is
drawn for each write, and its outcome holds the rows, packed. Whoever changes a row writes the page over the
very version that he knows. Where another was faster, he takes that one and judges again. So a page is as
linearizable as the row that it is, and a bundle's tasks are claimed by one write.

It pays where one worker has most of a page at a time, as with the tasks of a bundle. Workers that take
turns at a page only lose writes to each other, no row.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from kon.core.errors import BackendUnavailable, StoreError
from kon.core.ledger import Ledger, Record, missing

MAX_ROWS: Final = 100
"""Most rows of a page."""

INLINE_BYTES: Final = 512
"""A larger outcome has a row of its own: every later write of the page would pay for it again."""

KEPT_PAGES: Final = 128
"""That a worker remembers as it last saw them; one that is forgotten costs a read."""

_SPILLED: Final = 1 << 52
"""Keys from here on are rows of outcomes; those of pages stay below (see `kon.core.task.attempt_key`)."""

_LOCKS: Final = 64
_SCANNED_PAGES: Final = 25
_FAST: Final = 1  # of zlib's levels: the rows of a page differ in little

_Verdict = TypeVar("_Verdict")


class _Page(msgspec.Struct, frozen=True):
    """A version of a page. spilled: the key of the row that has an outcome, by the key of its task's row."""

    token: str
    rows: dict[int, Record]
    spilled: dict[int, int]


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    tasks_per_row: int
    rows: list[Record]
    spilled: list[tuple[int, int]]


_encoder = msgspec.msgpack.Encoder()
_packed = msgspec.msgpack.Decoder(_Packed)

_NO_PAGE: Final = _Page("", {}, {})


class PagedLedger(Ledger):
    """A ledger whose rows lie in pages of another. All that write to it need the same `tasks_per_row`.

    tasks_per_row: neighbouring keys in a page, 2 to `MAX_ROWS`.
    writer: no other's, in any life: pages' tokens are made from it.
    inline_bytes: an outcome that is larger goes into a row of its own, written before the page.
    """

    def __init__(
        self, ledger: Ledger, writer: str, tasks_per_row: int, inline_bytes: int = INLINE_BYTES
    ) -> None:
        if not 2 <= tasks_per_row <= MAX_ROWS:
            raise ValueError(f"a page has 2 to {MAX_ROWS} rows, not {tasks_per_row}")
        self._ledger = ledger
        self._writer = writer
        self._tasks_per_row = tasks_per_row
        self._inline_bytes = inline_bytes
        self._writes = 0
        self._seen: dict[int, _Page] = {}  # the one that was used last is the last
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]
        self.max_batch = ledger.max_batch * tasks_per_row
        self.stale_reads = ledger.stale_reads
        self.max_outcome_bytes = ledger.max_outcome_bytes

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        numbers = list(dict.fromkeys(map(self._page_of, keys)))
        pages = await self._read(numbers)
        found = [pages[self._page_of(key)].rows.get(key) for key in keys]
        return await self._whole(found, pages)

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        records, spilled = await self._spill(records)

        def insert(at: int, page: _Page) -> Record | None:
            record = records[at]
            found = page.rows.get(record.key)
            if found is None:
                _lay(page, record, spilled)
            return found

        return await self._change_rows(records, insert, may_be_new=True)

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        if len(records) != len(if_tokens):
            raise ValueError(f"{len(records)} records and {len(if_tokens)} tokens: each needs one")
        records, spilled = await self._spill(records)

        def replace(at: int, page: _Page) -> Record | None:
            record = records[at]
            found = page.rows.get(record.key)
            if found is None:
                return missing(record.key)
            if found.token != if_tokens[at]:
                return found
            _lay(page, record, spilled)
            return None

        return await self._change_rows(records, replace)

    async def put(self, records: Sequence[Record]) -> None:
        records, spilled = await self._spill(records)

        def put(at: int, page: _Page) -> None:
            _lay(page, records[at], spilled)

        await self._change([record.key for record in records], put, may_be_new=True)

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        if len(keys) != len(if_tokens):
            raise ValueError(f"{len(keys)} keys and {len(if_tokens)} tokens: each needs one")

        def delete(at: int, page: _Page) -> bool:
            found = page.rows.get(keys[at])
            if found is None or found.token != if_tokens[at]:
                return False
            del page.rows[keys[at]]
            page.spilled.pop(keys[at], None)
            return True

        deleted, _ = await self._change(keys, delete)
        return deleted

    async def scan(self, first: int, limit: int) -> list[Record]:
        found: list[Record] = []
        number = first // self._tasks_per_row
        while len(found) < limit:
            rows = await self._ledger.scan(number, _SCANNED_PAGES)
            pages = {row.key: self._unpack(row) for row in rows if row.key < _SPILLED}
            here = [page.rows[key] for _, page in sorted(pages.items()) for key in sorted(page.rows)]
            later: list[Record | None] = [row for row in here if row.key >= first]
            whole = await self._whole(later, pages)
            found += [row for row in whole if row is not None]
            if len(pages) < _SCANNED_PAGES:
                break
            number = max(pages) + 1
        return found[:limit]

    # --- a change of pages ---------------------------------------------------------------------------

    async def _change_rows(
        self,
        records: Sequence[Record],
        apply: Callable[[int, _Page], Record | None],
        may_be_new: bool = False,
    ) -> list[Record | None]:
        """A change whose verdicts are rows that were found, with their outcomes."""
        verdicts, pages = await self._change([record.key for record in records], apply, may_be_new)
        return await self._whole(verdicts, pages)

    async def _change(
        self, keys: Sequence[int], apply: Callable[[int, _Page], _Verdict], may_be_new: bool = False
    ) -> tuple[list[_Verdict], dict[int, _Page]]:
        """Do to each row what `apply` does to the item at an index of the call, and its page, which is a
        copy. The verdicts, and the pages that they were come to on.

        may_be_new: a page that was never seen is taken not to be there; else it is read first.
        """
        items: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            items.setdefault(self._page_of(key), []).append(at)
        verdicts: dict[int, _Verdict] = {}
        async with self._alone(items):
            known = {number: page for number in items if (page := self._seen.get(number)) is not None}
            if not may_be_new:
                known |= await self._read([number for number in items if number not in known])
            current: set[int] = set()  # pages that are known as they were at some time during this call
            todo = list(items)
            while todo:
                writes: dict[int, _Page] = {}
                for number in todo:
                    was = known.get(number, _NO_PAGE)
                    page = _Page(self._token(), dict(was.rows), dict(was.spilled))
                    for at in items[number]:
                        verdicts[at] = apply(at, page)
                    # A page that stays as it is, is written all the same where it may have changed since it
                    # was seen: no verdict rests on what may be old.
                    if number not in current or page.rows != was.rows:
                        writes[number] = page
                todo = []
                for number, found in (await self._write(writes, known)).items():
                    if found is None:
                        self._remember(number, writes[number])
                        known[number] = writes[number]
                    else:
                        known[number] = found
                        current.add(number)
                        todo.append(number)
        return [verdicts[at] for at in range(len(keys))], known

    async def _write(self, writes: dict[int, _Page], known: dict[int, _Page]) -> dict[int, _Page | None]:
        """Write pages over the versions that are known: None where that was done, else the page found."""
        new = [number for number in writes if not known.get(number, _NO_PAGE).token]
        old = [number for number in writes if known.get(number, _NO_PAGE).token]
        rows = {number: self._pack(number, page) for number, page in writes.items()}
        inserted, replaced = await asyncio.gather(
            self._ledger.insert_new([rows[number] for number in new]) if new else _nothing(),
            self._ledger.replace([rows[number] for number in old], [known[number].token for number in old])
            if old
            else _nothing(),
            return_exceptions=True,
        )
        found: dict[int, _Page | None] = {}
        for numbers, answer in ((new, inserted), (old, replaced)):
            if isinstance(answer, BaseException):
                raise answer
            for number, row in zip(numbers, answer, strict=True):
                # our own write, met by its second try
                ours = row is None or row.token == writes[number].token
                found[number] = None if row is None or ours else self._unpack(row)
        return found

    @contextlib.asynccontextmanager
    async def _alone(self, numbers: dict[int, list[int]]) -> AsyncIterator[None]:
        """While no other call of this worker changes these pages: they would only refuse each other."""
        taken: list[asyncio.Lock] = []
        try:
            for at in sorted({number % _LOCKS for number in numbers}):  # in order: no two wait for each other
                await self._locks[at].acquire()
                taken.append(self._locks[at])
            yield
        finally:
            for lock in taken:
                lock.release()

    async def _read(self, numbers: list[int]) -> dict[int, _Page]:
        if not numbers:
            return {}
        rows = await self._ledger.read(numbers)
        return {
            number: _NO_PAGE if row is None else self._unpack(row)
            for number, row in zip(numbers, rows, strict=True)
        }

    def _remember(self, number: int, page: _Page) -> None:
        self._seen.pop(number, None)
        self._seen[number] = page
        if len(self._seen) > KEPT_PAGES:
            del self._seen[next(iter(self._seen))]

    def _token(self) -> str:
        self._writes += 1
        return f"{self._writer}#{self._writes}"

    def _page_of(self, key: int) -> int:
        return key // self._tasks_per_row

    # --- large outcomes ------------------------------------------------------------------------------

    async def _spill(self, records: Sequence[Record]) -> tuple[Sequence[Record], dict[int, int]]:
        """Write each outcome that is too large for a page into a row of its own: the records without
        them, and the key of that row by the record's. One that no page comes to name is never read."""
        left = [row for row in records if row.outcome is not None and len(row.outcome) > self._inline_bytes]
        if not left:
            return records, {}
        spilled: dict[int, int] = {}
        salt = 0
        while left:
            rows: dict[int, Record] = {}
            for record in left:
                place = _place(record, salt)
                rows.setdefault(place, msgspec.structs.replace(record, key=place))
            places = [(record, _place(record, salt)) for record in left]
            found = dict(zip(rows, await self._ledger.insert_new(list(rows.values())), strict=True))
            left = []
            for record, place in places:
                there = found[place] or rows[place]
                if there == msgspec.structs.replace(record, key=place):
                    spilled[record.key] = place
                else:  # another's, by a chance of one in 2**48
                    left.append(record)
            salt += 1
        short = [msgspec.structs.replace(row, outcome=None) if row.key in spilled else row for row in records]
        return short, spilled

    async def _whole(self, found: list[Record | None], pages: dict[int, _Page]) -> list[Record | None]:
        """These rows of these pages, with the outcomes that lie elsewhere."""
        places: dict[int, int] = {}
        for at, row in enumerate(found):
            if row is not None and (place := pages[self._page_of(row.key)].spilled.get(row.key)):
                places[at] = place
        if not places:
            return found
        whole = list(found)
        there = await self._ledger.read(list(dict.fromkeys(places.values())))
        outcomes = {row.key: row for row in there if row is not None}
        for at, place in places.items():
            row, outcome = found[at], outcomes.get(place)
            if row is None or outcome is None or outcome.token != row.token:
                # it was written before its page, so that only a stale read misses it
                raise BackendUnavailable(
                    f"the outcome of the ledger's row {row and row.key} can't be read yet"
                )
            whole[at] = msgspec.structs.replace(row, outcome=outcome.outcome)
        return whole

    # --- how a page is kept --------------------------------------------------------------------------

    def _pack(self, number: int, page: _Page) -> Record:
        packed = _Packed(self._tasks_per_row, list(page.rows.values()), list(page.spilled.items()))
        body = zlib.compress(_encoder.encode(packed), _FAST)
        return Record(number, page.token, owner=self._writer, outcome=body)

    def _unpack(self, row: Record) -> _Page:
        """Raises StoreError for a row that is no page of this size."""
        if not row.token:
            return _NO_PAGE
        try:
            packed = _packed.decode(zlib.decompress(row.outcome or b""))
        except (zlib.error, msgspec.DecodeError) as error:
            raise StoreError(f"row {row.key} of the ledger is not a page of rows: {error}") from error
        if packed.tasks_per_row != self._tasks_per_row:
            raise StoreError(
                f"row {row.key} of the ledger is a page of {packed.tasks_per_row} tasks, and this worker has "
                f"tasks_per_row {self._tasks_per_row}: all workers of a run need the same"
            )
        return _Page(row.token, {each.key: each for each in packed.rows}, dict(packed.spilled))


def _lay(page: _Page, record: Record, spilled: dict[int, int]) -> None:
    page.rows[record.key] = record
    if record.key in spilled:
        page.spilled[record.key] = spilled[record.key]
    else:
        page.spilled.pop(record.key, None)


def _place(record: Record, salt: int) -> int:
    """The key of the row for a record's outcome: one for each claim, so that a claim that was lost does
    not stand in the way of the one that holds."""
    name = f"{record.key}/{record.token}/{salt}".encode()
    return _SPILLED | int.from_bytes(hashlib.blake2b(name, digest_size=6).digest(), "big")


async def _nothing() -> list[Record | None]:
    return []
