"""Pages: the rows of neighbouring tasks in one row of a ledger, where each write of a row is paid for.

A page is a row of the ledger below: a `Layout` says which page holds a row, the page's token is new in each
write, and its outcome holds the rows, packed. A worker that changes a row replaces exactly the version of the
page that it knows. Where another worker was faster, it takes that worker's version and judges again. So a
page is as linearizable as the row that it is, and one write claims the tasks of a bundle.

It pays where one worker has most of a page at a time, as with the tasks of a bundle. Workers that take
turns at a page only lose writes to each other, no row. A worker that hands a part of its bundle to others
therefore moves the rows of that part out of the page first: the page says so for good, and whoever looks
for such a row in it goes on to a row of its own.

The file is one life cycle, that of a page: read, judged, changed, written, and remembered or read again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from kon.core.errors import BackendUnavailable
from kon.core.ledger import Ledger, Record, missing
from kon.core.spec import RunSpec
from kon.engine.layout import FixedPages, Layout, SegmentPages
from kon.engine.page import NO_PAGE, Page, packed, spilled_of, unpacked

INLINE_BYTES: Final = 512
"""A larger outcome has a row of its own: every later write of the page would pay for it again."""

KEPT_PAGES: Final = 128
"""Pages that a worker remembers as it last saw them; one that is forgotten costs a read."""

_LOCKS: Final = 64
_SCANNED_ROWS: Final = 25
_Verdict = TypeVar("_Verdict")
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class _Moved:
    """The verdict on a row that the page says has moved."""


_MOVED: Final = _Moved()


class PagedLedger(Ledger):
    """A ledger whose rows lie in pages of another. All that write to it need the same layout.

    writer: no other's, in any life: pages' tokens are made from it.
    inline_bytes: an outcome that is larger goes into a row of its own, written before the page.
    """

    def __init__(self, ledger: Ledger, writer: str, layout: Layout, inline_bytes: int = INLINE_BYTES) -> None:
        self._ledger = ledger
        self._writer = writer
        self._layout = layout
        self._inline_bytes = inline_bytes
        self._writes = 0
        self._leaving: set[int] = set()
        self._seen: dict[int, Page] = {}  # the one that was used last is the last
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]
        self.max_batch = ledger.max_batch * layout.rows
        self.stale_reads = ledger.stale_reads
        self.max_outcome_bytes = ledger.max_outcome_bytes

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        return await self._both(keys, keys, self._read_rows, self._ledger.read)

    async def _read_rows(self, keys: Sequence[int]) -> list[Record | _Moved | None]:
        pages = await self._read(list(dict.fromkeys(map(self._page_of, keys))))
        found: list[Record | _Moved | None] = []
        for key in keys:
            page = pages[self._page_of(key)]
            found.append(_MOVED if key in page.moved else page.rows.get(key))
        return await self._whole(found, spilled_of(pages))

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        return await self._both(_keys(records), records, self._insert_rows, self._ledger.insert_new)

    async def _insert_rows(self, records: Sequence[Record]) -> list[Record | _Moved | None]:
        records, spilled = await self._spill(records)

        def insert(at: int, page: Page) -> Record | None:
            record = records[at]
            found = page.rows.get(record.key)
            if found is None:
                page.lay(record, spilled)
            return found

        return await self._change_rows(records, insert, may_be_new=True)

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        if len(records) != len(if_tokens):
            raise ValueError(f"{len(records)} records and {len(if_tokens)} tokens: each needs one")
        token_of = dict(zip(_keys(records), if_tokens, strict=True))

        async def plain(some: Sequence[Record]) -> list[Record | None]:
            return await self._ledger.replace(some, [token_of[record.key] for record in some])

        async def paged(some: Sequence[Record]) -> list[Record | _Moved | None]:
            some, spilled = await self._spill(some)

            def replace(at: int, page: Page) -> Record | None:
                record = some[at]
                found = page.rows.get(record.key)
                if found is None:
                    return missing(record.key)
                if found.token != token_of[record.key]:
                    return found
                page.lay(record, spilled)
                return None

            return await self._change_rows(some, replace)

        return await self._both(_keys(records), records, paged, plain)

    async def put(self, records: Sequence[Record]) -> None:
        await self._both(_keys(records), records, self._put_rows, self._put_plain)

    async def _put_rows(self, records: Sequence[Record]) -> list[_Moved | None]:
        records, spilled = await self._spill(records)

        def put(at: int, page: Page) -> None:
            page.lay(records[at], spilled)

        written, _ = await self._change(_keys(records), put, may_be_new=True)
        return written

    async def _put_plain(self, records: Sequence[Record]) -> list[None]:
        await self._ledger.put(records)
        return [None] * len(records)

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        if len(keys) != len(if_tokens):
            raise ValueError(f"{len(keys)} keys and {len(if_tokens)} tokens: each needs one")
        token_of = dict(zip(keys, if_tokens, strict=True))

        async def plain(some: Sequence[int]) -> list[bool]:
            return await self._ledger.delete(some, [token_of[key] for key in some])

        async def paged(some: Sequence[int]) -> list[bool | _Moved]:
            leaving: dict[int | None, set[int]] = {}
            for key in self._leaving:
                leaving.setdefault(self._layout.home_of(key), set()).add(key)

            def delete(at: int, page: Page) -> bool:
                key = some[at]
                found = page.rows.get(key)
                if found is None or found.token != token_of[key]:
                    return False
                del page.rows[key]
                page.spilled.pop(key, None)
                if key in self._leaving:
                    page.moved.update(leaving[self._page_of(key)] - page.rows.keys())
                return True

            deleted, _ = await self._change(some, delete)
            return deleted

        return await self._both(keys, keys, paged, plain)

    @contextlib.contextmanager
    def leaving(self, keys: Sequence[int]) -> Iterator[None]:
        """Let one of these rows that is deleted meanwhile move out of its page by the same write. With it go
        the others of its page that are not there yet, so that `move` has nothing left to write."""
        self._leaving = set(keys)
        try:
            yield
        finally:
            self._leaving = set()

    async def move(self, keys: Sequence[int]) -> list[bool]:
        """Move rows that are not there yet out of their pages: they will be rows of their own.

        False for a row that is there already, which stays. Once this has returned, and not before, others
        may be told to look for the moved rows at their own place.
        """
        inside = [key for key in keys if self._layout.page_of(key) is not None]

        def move(at: int, page: Page) -> bool:
            is_there = inside[at] in page.rows
            if not is_there:
                page.moved.add(inside[at])
            return is_there

        found, _ = await self._change(inside, move, may_be_new=True)
        stays = {key for key, is_there in zip(inside, found, strict=True) if is_there is True}
        for key in inside:
            if key not in stays:
                self._layout.moved(key)
        return [key not in stays for key in keys]

    async def scan(self, first: int, limit: int) -> list[Record]:
        found: list[Record | _Moved | None] = []
        at = self._layout.scan_from(first)
        while rows := await self._ledger.scan(at, _SCANNED_ROWS):
            at = rows[-1].key + 1
            pages = {row.key: self._unpacked(row) for row in rows if self._layout.is_page(row.key)}
            inside = [row for page in pages.values() for row in page.rows.values()]
            found += await self._whole(inside, spilled_of(pages))
            found += [row for row in rows if self._layout.is_row(row.key)]
        later = [row for row in found if isinstance(row, Record) and row.key >= first]
        return sorted(later, key=lambda row: row.key)[:limit]

    async def _both(
        self,
        keys: Sequence[int],
        items: Sequence[_Item],
        paged: Callable[[Sequence[_Item]], Awaitable[Sequence[_Answer | _Moved]]],
        plain: Callable[[Sequence[_Item]], Awaitable[Sequence[_Answer]]],
    ) -> list[_Answer]:
        """Answers item by item: of `paged` for rows in pages, of `plain` for rows of their own."""
        inside = [at for at, key in enumerate(keys) if self._layout.page_of(key) is not None]
        answers: dict[int, _Answer] = {}
        if inside:
            for at, answer in zip(inside, await paged([items[at] for at in inside]), strict=True):
                if isinstance(answer, _Moved):
                    self._layout.moved(keys[at])
                else:
                    answers[at] = answer
        own = [at for at in range(len(keys)) if at not in answers]
        if own:
            answers.update(zip(own, await plain([items[at] for at in own]), strict=True))
        return [answers[at] for at in range(len(keys))]

    # --- a change of pages ---------------------------------------------------------------------------

    async def _change_rows(
        self,
        records: Sequence[Record],
        apply: Callable[[int, Page], Record | None],
        may_be_new: bool = False,
    ) -> list[Record | _Moved | None]:
        """A change whose verdicts are rows that were found, with their outcomes."""
        verdicts, pages = await self._change(_keys(records), apply, may_be_new)
        return await self._whole(verdicts, spilled_of(pages))

    async def _change(
        self, keys: Sequence[int], apply: Callable[[int, Page], _Verdict], may_be_new: bool = False
    ) -> tuple[list[_Verdict | _Moved], dict[int, Page]]:
        """Do to each row what `apply` does to the item at an index of the call, and its page, which is a
        copy. Returns the verdicts, and the pages that they rest on.

        A row that has moved is left alone.
        may_be_new: a page that was never seen is taken not to be there; else it is read first.
        """
        items: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            items.setdefault(self._page_of(key), []).append(at)
        verdicts: dict[int, _Verdict | _Moved] = {}
        async with self._alone(items):
            known = {number: page for number in items if (page := self._seen.get(number)) is not None}
            if not may_be_new:
                known |= await self._read([number for number in items if number not in known])
            current: set[int] = set()  # pages that are known as they were at some time during this call
            todo = list(items)
            while todo:
                writes: dict[int, Page] = {}
                for number in todo:
                    was = known.get(number, NO_PAGE)
                    page = was.copy(self._token())
                    left = [at for at in items[number] if keys[at] not in was.moved]
                    verdicts.update(dict.fromkeys(items[number], _MOVED))
                    for at in left:
                        verdicts[at] = apply(at, page)
                    # A page that stays as it is, is written all the same where it may have changed since it
                    # was seen: no verdict rests on what may be old, but that a row has moved, which it never
                    # takes back.
                    if left and (number not in current or not page.says_as_much_as(was)):
                        writes[number] = page
                todo = []
                for number, found in (await self._write(writes, known)).items():
                    if found is None:
                        self._remember(number, writes[number])
                    else:
                        known[number] = found
                        current.add(number)
                        todo.append(number)
        return [verdicts[at] for at in range(len(keys))], known

    async def _write(self, writes: dict[int, Page], known: dict[int, Page]) -> dict[int, Page | None]:
        """Write pages over the versions that are known: None where that was done, else the page found."""
        new = [number for number in writes if not known.get(number, NO_PAGE).token]
        old = [number for number in writes if known.get(number, NO_PAGE).token]
        rows = {number: self._row_of(number, page) for number, page in writes.items()}
        inserted, replaced = await asyncio.gather(
            self._ledger.insert_new([rows[number] for number in new]) if new else _nothing(),
            self._ledger.replace([rows[number] for number in old], [known[number].token for number in old])
            if old
            else _nothing(),
            return_exceptions=True,
        )
        found: dict[int, Page | None] = {}
        for numbers, answer in ((new, inserted), (old, replaced)):
            if isinstance(answer, BaseException):
                raise answer
            for number, row in zip(numbers, answer, strict=True):
                if row is None or row.token == writes[number].token:  # our own write, met by its second try
                    found[number] = None
                else:
                    found[number] = self._unpacked(row)
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

    async def _read(self, numbers: list[int]) -> dict[int, Page]:
        if not numbers:
            return {}
        rows = await self._ledger.read(numbers)
        return {
            number: NO_PAGE if row is None else self._unpacked(row)
            for number, row in zip(numbers, rows, strict=True)
        }

    def _remember(self, number: int, page: Page) -> None:
        self._seen.pop(number, None)
        self._seen[number] = page
        if len(self._seen) > KEPT_PAGES:
            del self._seen[next(iter(self._seen))]

    def _token(self) -> str:
        self._writes += 1
        return f"{self._writer}#{self._writes}"

    def _page_of(self, key: int) -> int:
        """The page of a row that was in one when its call began."""
        page = self._layout.home_of(key)
        assert page is not None, "a row of its own is no page's"
        return page

    # --- large outcomes ------------------------------------------------------------------------------

    async def _spill(self, records: Sequence[Record]) -> tuple[Sequence[Record], dict[int, int]]:
        """Write each outcome that is too large for a page into a row of its own: the records without
        them, and the key of that row by the record's. One that no page comes to name is never read."""
        left = [row for row in records if row.outcome is not None and len(row.outcome) > self._inline_bytes]
        spilled: dict[int, int] = {}
        salt = 0
        while left:
            rows: dict[int, Record] = {}
            for record in left:
                place = self._place(record, salt)
                rows.setdefault(place, msgspec.structs.replace(record, key=place))
            places = [(record, self._place(record, salt)) for record in left]
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

    async def _whole(
        self, found: Sequence[Record | _Moved | None], spilled: dict[int, int]
    ) -> list[Record | _Moved | None]:
        """These rows, with the outcomes that lie elsewhere. spilled: where, by the row's key."""
        whole = list(found)
        places = {
            at: spilled[row.key]
            for at, row in enumerate(found)
            if isinstance(row, Record) and row.key in spilled
        }
        if not places:
            return whole
        there = await self._ledger.read(list(dict.fromkeys(places.values())))
        outcomes = {row.key: row for row in there if row is not None}
        for at, place in places.items():
            row, outcome = found[at], outcomes.get(place)
            if not isinstance(row, Record) or outcome is None or outcome.token != row.token:
                # it was written before its page, so that only a stale read misses it
                raise BackendUnavailable(f"the outcome in the ledger's row {place} can't be read yet")
            whole[at] = msgspec.structs.replace(row, outcome=outcome.outcome)
        return whole

    def _place(self, record: Record, salt: int) -> int:
        """The key of the row for a record's outcome: one for each claim, so that a claim that was lost
        does not stand in the way of the one that holds."""
        return self._layout.spill_key(f"{record.key}/{record.token}/{salt}".encode())

    # --- how a page is kept --------------------------------------------------------------------------

    def _row_of(self, number: int, page: Page) -> Record:
        body = packed(page, self._layout.rows_of(number))
        return Record(number, page.token, owner=self._writer, outcome=body)

    def _unpacked(self, row: Record) -> Page:
        return unpacked(row, self._layout.rows_of(row.key))


def in_pages(ledger: Ledger, spec: RunSpec, writer: str, segments: SegmentPages | None) -> PagedLedger | None:
    """The ledger with its rows in pages, where the run has pages. segments: of a run whose pages follow the
    messages."""
    if segments is not None:
        return PagedLedger(ledger, writer, segments)
    if spec.tasks_per_row is not None and spec.tasks_per_row > 1:
        return PagedLedger(ledger, writer, FixedPages(spec.tasks_per_row))
    return None


def _keys(records: Sequence[Record]) -> list[int]:
    return [record.key for record in records]


async def _nothing() -> list[Record | None]:
    return []
