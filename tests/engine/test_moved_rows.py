"""Rows that move out of their page: whoever looks into the page finds them."""

from __future__ import annotations

import asyncio

from kon.core.ledger import Record
from kon.core.task import Segment
from tests.engine.auto import paged
from tests.engine.counted import Counted, claims, result


def test_moved_rows_are_found_by_whoever_looks_into_the_page() -> None:
    async def main() -> None:
        below, segment = Counted(), Segment(0, 20, 10)
        mine, other = paged(below, "w", segment), paged(below, "v", segment)
        await mine.insert_new(claims([3], "a"))
        assert await mine.move([3, 4, 15]) == [False, True, True]
        alone = paged(below, "u")  # as one that was told so by the message
        assert await alone.insert_new(claims([4], "b")) == [None]
        assert await other.insert_new(claims([3, 4, 5, 15], "c")) == [
            *claims([3], "a"),
            *claims([4], "b"),
            None,
            None,
        ]
        assert await alone.read([15]) == claims([15], "c")
        done = [result(key, f"{token}!", 10) for key, token in ((3, "a"), (4, "b"), (5, "c"))]
        assert await mine.replace(done, ["a", "b", "c"]) == [None] * 3
        assert await other.read([3, 4, 5]) == done
        assert await other.delete([15, 5], ["c", "c!"]) == [True, True]
        assert [row.key for row in await other.scan(0, 10)] == [3, 4]

    asyncio.run(main())


def test_what_leaves_a_page_moves_by_the_write_that_deletes() -> None:
    """Also what is not there; but not what another has claimed, nor what is of another page."""

    async def main() -> None:
        below, segment = Counted(), Segment(0, 20, 10)
        mine, other = paged(below, "w", segment), paged(below, "v", segment)
        await mine.insert_new(claims([3, 4], "a"))
        await other.insert_new(claims([6], "b"))
        below.written.clear()
        with mine.leaving([4, 5, 6, 15]):
            assert await mine.delete([4], ["a"]) == [True]
        assert await mine.move([4, 5]) == [True, True]
        assert below.written["insert_new"] == 0
        assert below.written["replace"] == 2  # the first was over a version that is no more
        assert await mine.move([6, 15]) == [False, True]
        assert await other.insert_new(claims([4, 5, 15], "c")) == [None] * 3
        assert await paged(below, "u").read([4, 5, 15]) == claims([4, 5, 15], "c")
        assert await paged(below, "u").read([3, 6]) == [None, None]

    asyncio.run(main())


def test_a_row_that_is_deleted_otherwise_stays_in_its_page() -> None:
    async def main() -> None:
        below, segment = Counted(), Segment(0, 20, 10)
        mine = paged(below, "w", segment)
        await mine.insert_new(claims([3, 4], "a"))
        with mine.leaving([4]):
            assert await mine.delete([4], ["another's"]) == [False]
        with mine.leaving([3]):
            pass
        assert await mine.delete([3], ["a"]) == [True]
        await mine.insert_new(claims([3], "b"))
        assert await paged(below, "v", segment).read([3, 4]) == [*claims([3], "b"), *claims([4], "a")]
        assert await paged(below, "u").read([3, 4]) == [None, None]

    asyncio.run(main())


def test_that_a_row_has_moved_is_asked_once() -> None:
    """Each later call would read its page, or write it, only to hear it again."""

    async def main() -> None:
        below, segment = Counted(), Segment(0, 20, 10)
        mine, other = paged(below, "w", segment), paged(below, "v", segment)
        await mine.insert_new(claims([3, 4], "a"))
        with mine.leaving([4]):
            assert await mine.delete([4], ["a"]) == [True]
        below.written.clear()
        assert await mine.move([4]) == [True]
        assert await mine.insert_new(claims([4], "b")) == [None]
        assert below.written == {"insert_new": 1}
        for reads in (2, 3):  # the page and the row, then the row
            assert await other.read([4]) == claims([4], "b")
            assert below.calls["read"] == reads

    asyncio.run(main())


def test_a_row_of_its_own_is_never_taken_for_a_page() -> None:
    """Task 10 is the first of its page: had the page its key, its own row would lie in the page's place."""

    async def main() -> None:
        below, segment = Counted(), Segment(0, 20, 10)
        mine = paged(below, "w", segment)
        await mine.insert_new(claims([11], "a"))
        await mine.move([10])
        assert await mine.insert_new([Record(10, "b")]) == [None]
        assert await paged(below, "v", segment).read([10, 11]) == [Record(10, "b"), *claims([11], "a")]

    asyncio.run(main())
