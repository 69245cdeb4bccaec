"""Tasks that were delivered, started or answered more than once, counted in a few bytes for each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from kon.core.errors import StoreError
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.counts import CLIENT
from kon.report.read.scan import scan
from kon.report.read.traces import Line

MOST: Final = 255
"""No count goes further."""

_NEXT: Final = bytes([*range(1, MOST + 1), MOST])
_REPEATED: Final = bytes([0, 0, *([1] * (MOST - 1))])


class Repeated(msgspec.Struct, frozen=True):
    """How often a task was met, in all of its attempts; `attempts`: how many were delivered."""

    index: int
    deliveries: int
    starts: int
    results: int
    answers: int
    attempts: int


class Counter:
    """How often each task was met, apart for each attempt: a retry after a failed attempt is no repeat."""

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._by_attempt: dict[int, bytearray] = {}

    def add(self, attempt: int, indexes: Sequence[int] | None, run: tuple[int, int] | None) -> None:
        """Raises IndexError."""
        counts = self._by_attempt.get(attempt)
        if counts is None:
            counts = self._by_attempt[attempt] = bytearray(self._tasks)
        if run is not None:
            first, end = run[0], run[0] + run[1]
            if end > self._tasks:
                raise IndexError(first)
            counts[first:end] = counts[first:end].translate(_NEXT)
        for index in indexes or ():
            counts[index] = _NEXT[counts[index]]

    def repeated(self) -> Iterator[int]:
        """Tasks that were met more than once in one attempt; not in order, and perhaps more than once."""
        for counts in self._by_attempt.values():
            marks = counts.translate(_REPEATED)
            at = marks.find(1)
            while at >= 0:
                yield at
                at = marks.find(1, at + 1)

    def of(self, index: int) -> int:
        return sum(counts[index] for counts in self._by_attempt.values())

    def attempts(self, index: int) -> int:
        return sum(counts[index] > 0 for counts in self._by_attempt.values())


def duplicates(folder: RunFolder) -> Iterator[Repeated]:
    """Every task that was delivered, started, kept or answered more than once in one attempt, in order.

    Results and answers are counted for the task, whatever its attempt; those that were made because somebody
    asked for what had failed to be run again are counted apart. Raises StoreError.
    """
    tasks = folder.read_run().spec.tasks
    deliveries, starts, results, answers = (Counter(tasks) for _ in range(4))
    since = sorted(
        {
            line.first_attempt
            for line in scan(folder.events / f"{CLIENT}.jsonl", _opens)
            if line.e == Event.OPEN and line.first_attempt > 1
        }
    )
    for file in sorted(folder.events.glob("*.jsonl")):
        if file.stem == CLIENT:
            continue
        try:
            for line in scan(file, _lines):
                if line.e == Event.DELIVER:
                    deliveries.add(line.a, line.i, line.r)
                elif line.e == Event.START:
                    starts.add(line.a, line.i, line.r)
                elif line.e == Event.KEEP:
                    results.add(bisect_right(since, line.a), line.i, line.r)
                elif line.e == Event.ANSWER:
                    answers.add(bisect_right(since, line.a), line.i, line.r)
        except IndexError as error:
            raise StoreError(
                f"{file}: names a task beyond the {tasks} of its run; it is of another"
            ) from error
    counters = (deliveries, starts, results, answers)
    for index in sorted({index for counter in counters for index in counter.repeated()}):
        yield Repeated(
            index,
            deliveries=deliveries.of(index),
            starts=starts.of(index),
            results=results.of(index),
            answers=answers.of(index),
            attempts=deliveries.attempts(index),
        )


class _Open(msgspec.Struct, gc=False):
    e: str
    first_attempt: int = 1


_lines: Final = msgspec.json.Decoder(Line)
_opens: Final = msgspec.json.Decoder(_Open)
