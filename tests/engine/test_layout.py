"""Layouts: which page holds a row, by what messages and pages said."""

from __future__ import annotations

import pytest

from kon.core.task import Bundle, Segment, Task
from kon.engine import layout
from kon.engine.layout import FixedPages, SegmentPages
from kon.engine.paged_ledger import PagedLedger, in_pages
from tests.engine.auto import spec
from tests.engine.counted import Counted


def pages(*segments: Segment) -> SegmentPages:
    found = SegmentPages()
    for segment in segments:
        found.add(segment)
    return found


def test_a_segment_ends_before_its_last_key() -> None:
    known = pages(Segment(10, 20, 10))
    assert [known.page_of(key) is not None for key in (9, 10, 19, 20)] == [False, True, True, False]


def test_segments_are_learned_in_any_order_and_one_that_is_noted_stays() -> None:
    known = pages(Segment(10, 20, 10), Segment(0, 10, 5), Segment(10, 20, 2))
    places = [known.page_of(key) for key in (0, 5, 10, 19)]
    assert places == [1 << 47, 1 << 47 | 5, 1 << 47 | 10, 1 << 47 | 10]
    assert len(known._segments) == 2  # each message says it again
    assert [known.rows_of(place) for place in places if place is not None] == [5, 5, 10, 10]


def test_a_message_without_a_segment_says_that_its_tasks_have_moved() -> None:
    known = pages(Segment(0, 10, 10))
    known.learn(Bundle("r", [Task(3, None), Task(12, None)]))
    known.add(Segment(10, 20, 10))
    assert [known.page_of(key) is None for key in (3, 4, 12)] == [True, False, False]
    assert known.home_of(3) == known.home_of(4)


def test_the_row_that_moved_first_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "KEPT_MOVED", 2)
    known = pages(Segment(0, 10, 10))
    for key in (1, 2, 3):
        known.moved(key)
    assert [known.page_of(key) is None for key in (1, 2, 3)] == [False, True, True]


@pytest.mark.parametrize(("rows", "size"), [(1, None), (2, 2), (10, 10)])
def test_a_run_has_pages_of_the_size_that_it_says(rows: int, size: int | None) -> None:
    ledger = in_pages(Counted(), spec(tasks_per_row=rows), "w", None)
    assert (ledger and ledger._layout.rows) == size


def test_pages_that_follow_the_messages_are_those_of_the_worker() -> None:
    known = SegmentPages()
    ledger = in_pages(Counted(), spec(tasks_per_row=None), "w", known)
    assert isinstance(ledger, PagedLedger)
    assert ledger._layout is known


def test_no_row_of_an_attempt_lies_where_a_large_outcome_may() -> None:
    """Where it did, a scan would not see the page."""
    fixed = FixedPages(2)
    last = (1 << 53) - 1  # of the last attempt of the last task
    assert fixed.is_page(fixed.page_of(last))
    assert not fixed.is_page(1 << 52)


def test_no_row_moves_out_of_a_page_of_fixed_size() -> None:
    with pytest.raises(ValueError, match="row 3 is said to have moved out of a page of fixed size"):
        FixedPages(2).moved(3)
