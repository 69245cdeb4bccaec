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
