"""Layouts: which page of a ledger holds a row (see `kon.engine.paged_ledger`).

Keys are those of `kon.core.task.attempt_key`: below 2**53, with bit 47 clear.
"""

from __future__ import annotations

import bisect
import hashlib
from abc import ABC, abstractmethod
from typing import Final

from kon.core.task import Bundle, Segment

MAX_ROWS: Final = 100
"""Rows of a page, at most."""

KEPT_MOVED: Final = 10_000
"""Moved rows that a worker remembers. For one that is forgotten, its page tells again."""

_PAGE: Final = 1 << 47
_SPILLED: Final = 1 << 46
_SPILLED_OF_FIXED: Final = 1 << 52


class Layout(ABC):
    """Where the rows of a ledger are.

    rows: rows of a page, at most.
    """

    rows: int

    @abstractmethod
    def page_of(self, key: int) -> int | None:
        """The key of the page that holds this row; None for a row of its own."""

    @abstractmethod
    def home_of(self, key: int) -> int | None:
        """The key of the page that this row was in at first, also once it has moved. It never changes: a call
        that is under way goes by it, as rows may move meanwhile."""

    @abstractmethod
    def is_page(self, key: int) -> bool:
        """Whether a row of the ledger below is a page."""

    @abstractmethod
    def is_row(self, key: int) -> bool:
        """Whether a row of the ledger below is a task's own row."""

    @abstractmethod
    def spill_key(self, name: bytes) -> int:
        """The key of the row that holds a large outcome. It is like no page's, and no task's."""

    def scan_from(self, key: int) -> int:
        """The key in the ledger below from which on a scan from this row has to look."""
        return 0

    def rows_of(self, page: int) -> int:
        """How many rows this page has."""
        return self.rows

    @abstractmethod
    def moved(self, key: int) -> None:
        """Note that a page says of this row that it has moved to a row of its own."""


class FixedPages(Layout):
    """Pages of equal size: row i is in page i // rows. All workers of a run need the same size."""

    def __init__(self, rows: int) -> None:
        if not 2 <= rows <= MAX_ROWS:
            raise ValueError(f"a page has 2 to {MAX_ROWS} rows, not {rows}")
        self.rows = rows

    def page_of(self, key: int) -> int:
        return key // self.rows

    def home_of(self, key: int) -> int:
        return self.page_of(key)

    def is_page(self, key: int) -> bool:
        return key < _SPILLED_OF_FIXED

    def is_row(self, key: int) -> bool:
        return False

    def spill_key(self, name: bytes) -> int:
        return _SPILLED_OF_FIXED | _digest(name, 48)

    def scan_from(self, key: int) -> int:
        return self.page_of(key)

    def moved(self, key: int) -> None:
        """Raises ValueError: a run's size of pages is fixed, and no row of its moves."""
        raise ValueError(f"row {key} is said to have moved out of a page of fixed size")


class SegmentPages(Layout):
    """Pages that follow the messages: each message says in which segment its tasks are.

    A task of no known segment has a row of its own, and so has every attempt after the first that a
    strategy claims under a key of its own. A page's key is its first task's, with bit 47 set, so that it
    is like no task's: a task's own row may be needed after it has moved out of the page.
    """

    rows = MAX_ROWS

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._segments: list[Segment] = []
        self._moved: dict[int, None] = {}

    def learn(self, bundle: Bundle) -> None:
        """Note what a message says of its tasks.

        Call it before the tasks are claimed. A message that comes without a segment for a task of a known
        one was sent after the task had moved.
        """
        segment = bundle.segment
        if segment is None:
            for task in bundle.tasks:
                if self.page_of(task.index) is not None:
                    self.moved(task.index)
            return
        self.add(segment)

    def add(self, segment: Segment) -> None:
        """Note a segment. What is noted of one stays: it is never divided in another way."""
        at = bisect.bisect_left(self._firsts, segment.first)
        if at == len(self._firsts) or self._firsts[at] != segment.first:
            self._firsts.insert(at, segment.first)
            self._segments.insert(at, segment)

    def page_of(self, key: int) -> int | None:
        return None if key in self._moved else self.home_of(key)

    def home_of(self, key: int) -> int | None:
        at = bisect.bisect_right(self._firsts, key) - 1
        if at < 0:
            return None
        first, upto, rows = self._bounds(at)
        return _PAGE | (first + (key - first) // rows * rows) if key < upto else None

    def _bounds(self, at: int) -> tuple[int, int, int]:
        segment = self._segments[at]
        return segment.first, segment.upto, segment.rows

    def is_page(self, key: int) -> bool:
        return key & (_PAGE | _SPILLED) == _PAGE

    def is_row(self, key: int) -> bool:
        return not key & _PAGE

    def spill_key(self, name: bytes) -> int:
        return _PAGE | _SPILLED | _digest(name, 46)

    def rows_of(self, page: int) -> int:
        at = bisect.bisect_right(self._firsts, page & ~_PAGE) - 1
        return self._segments[at].rows

    def moved(self, key: int) -> None:
        self._moved[key] = None
        if len(self._moved) > KEPT_MOVED:
            del self._moved[next(iter(self._moved))]


def _digest(name: bytes, bits: int) -> int:
    return int.from_bytes(hashlib.blake2b(name, digest_size=6).digest(), "big") >> (48 - bits)
