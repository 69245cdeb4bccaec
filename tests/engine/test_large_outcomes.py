"""Outcomes that are too large for a page have rows of their own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec
import pytest

from kon.core.task import Segment, State
from kon.engine.layout import FixedPages, SegmentPages
from kon.engine.paged_ledger import PagedLedger
from kon.errors import BackendUnavailable
from kon.ledger import Record, missing
from tests.engine.counted import Counted, claims, result


def test_a_large_outcome_has_a_row_of_its_own_and_comes_back_with_its_task() -> None:
    async def case() -> None:
        below = Counted()
        ledger = PagedLedger(below, "w", FixedPages(10))
        done = [result(0, "a!", 10), result(1, "a!", 5_000), result(2, "a!", 6_000)]
        await ledger.insert_new(done)
        assert await ledger.read([2, 1, 0]) == done[::-1]
        assert await ledger.scan(0, 10) == done
        assert await ledger.scan(1, 1) == [done[1]]
        assert await PagedLedger(below, "v", FixedPages(10)).insert_new(claims(range(3), "b")) == done
        assert [row.key for row in await below.scan(0, 10) if row.key < 1 << 52] == [0]

    asyncio.run(case())


def test_a_page_does_not_hold_what_lies_elsewhere() -> None:
    async def case() -> None:
        below = Counted()
        large = Record(0, "a!", State.DONE, outcome=random.Random(1).randbytes(5_000))
        await PagedLedger(below, "w", FixedPages(10)).insert_new([large])
        page, _ = await below.scan(0, 10)
        assert page.outcome is not None
        assert len(page.outcome) < 200

    asyncio.run(case())


def test_an_outcome_up_to_the_bound_lies_in_the_page() -> None:
    async def case() -> None:
        below = Counted()
        ledger = PagedLedger(below, "w", FixedPages(10), inline_bytes=100)
        await ledger.insert_new([result(0, "a!", 100)])
        assert below.written["insert_new"] == 1
        await ledger.insert_new([result(1, "a!", 101)])
        assert below.written["insert_new"] == 2

    asyncio.run(case())


def test_the_outcome_of_a_claim_that_was_lost_leaves_the_one_that_stands() -> None:
    async def case() -> None:
        below = Counted()
        mine, other = PagedLedger(below, "w", FixedPages(10)), PagedLedger(below, "v", FixedPages(10))
        await mine.insert_new(claims([4], "a"))
        await other.replace(claims([4], "b"), ["a"])
        stands = Record(4, "b!", State.DONE, outcome=b"b" * 2_000)
        assert await other.replace([stands], ["b"]) == [None]
        assert await mine.replace([Record(4, "a!", State.DONE, outcome=b"a" * 2_000)], ["a"]) == [stands]
        assert await mine.read([4]) == [stands]

    asyncio.run(case())


def test_an_outcome_that_takes_the_place_of_a_large_one_is_its_own() -> None:
    async def case() -> None:
        ledger = PagedLedger(Counted(), "w", FixedPages(10))
        await ledger.put([result(4, "a", 2_000)])
        await ledger.put([result(4, "b", 10)])
        assert await ledger.read([4]) == [result(4, "b", 10)]
        await ledger.put([result(4, "c", 3_000)])
        assert await ledger.delete([4], ["c"]) == [True]
        assert await ledger.replace(claims([4], "d"), ["c"]) == [missing(4)]
        await ledger.put([claims([4], "d")[0]])
        assert await ledger.read([4]) == claims([4], "d")

    asyncio.run(case())


def test_two_outcomes_that_would_have_one_place_get_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PagedLedger, "_place", lambda ledger, record, salt: (1 << 52) + salt)

    async def case() -> None:
        below = Counted()
        ledger = PagedLedger(below, "w", FixedPages(10))
        done = [result(key, "a!", 2_000) for key in range(4)]
        await ledger.insert_new(done[:3])
        await PagedLedger(below, "v", FixedPages(10)).insert_new(done[3:])
        assert await ledger.read(list(range(4))) == done
        assert [row.key for row in await below.scan(0, 10)] == [0, *range(1 << 52, (1 << 52) + 4)]

    asyncio.run(case())


def test_an_outcome_that_a_stale_read_misses_is_asked_for_again() -> None:
    """PatientLedger does so; a row without its outcome would be taken for a task without a result."""

    async def case() -> None:
        below = Counted()
        ledger = PagedLedger(below, "w", FixedPages(10))
        await ledger.insert_new([result(1, "a!", 2_000)])
        [place] = [row.key for row in await below.scan(0, 10) if row.key >= 1 << 52]
        [outcome] = await below.read([place])
        assert outcome is not None
        await below.delete([place], ["a!"])
        with pytest.raises(BackendUnavailable, match="can't be read yet"):
            await ledger.read([1])
        await below.put([msgspec.structs.replace(outcome, token="another's")])
        with pytest.raises(BackendUnavailable, match="can't be read yet"):
            await ledger.read([1])
        await below.put([outcome])
        assert await ledger.read([1]) == [result(1, "a!", 2_000)]

    asyncio.run(case())


class MovesMeanwhile(Counted):
    """A ledger in which, during the first of these calls, another coroutine of the worker moves a row out of
    its page."""

    def __init__(self, call: str) -> None:
        super().__init__()
        self._call = call
        self.pages: PagedLedger | None = None
        self.moved = False

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        found = await super().read(keys)
        await self._meanwhile("read")
        return found

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        found = await super().insert_new(records)
        await self._meanwhile("insert_new")
        return found

    async def _meanwhile(self, call: str) -> None:
        if call == self._call and self.pages is not None and not self.moved:
            self.moved = True
            assert await self.pages.move([4]) == [True]


@pytest.mark.parametrize("change", ["read", "insert_new", "put"])
def test_a_row_that_moves_while_a_call_is_under_way(change: str) -> None:
    async def case() -> None:
        below = MovesMeanwhile("read" if change == "read" else "insert_new")
        layout = SegmentPages()
        layout.add(Segment(0, 10, 10))
        below.pages = ledger = PagedLedger(below, "w", layout)
        large = result(4, "a", 5_000)
        if change == "read":
            assert await ledger.read([4, 5]) == [None, None]
        elif change == "insert_new":
            assert await ledger.insert_new([large]) == [None]
        else:
            await ledger.put([large])
        assert below.moved
        assert layout.page_of(4) is None
        assert await ledger.read([4]) == [None if change == "read" else large]
        assert (await below.read([4]) == [None]) == (change == "read"), "it has a row of its own"

    asyncio.run(case())
