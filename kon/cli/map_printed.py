"""What `kon map` has printed of a run whose records are kept: the rest is printed by who takes it up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from kon.core.journal import FileJournal, scan
from kon.core.task import Outcome
from kon.engine.records.records import RunFolder

End = tuple[int, float]
"""A task and when it ended, which tells an end from that of a later try."""

_line: Final = msgspec.json.Decoder(list[End] | dict[str, int])


class Printed:
    """`printed.jsonl` in a run's folder. A line is written after its output is: a kill between the two has
    that output printed twice, and never lost."""

    def __init__(self, folder: RunFolder) -> None:
        """Raises StoreError where it can't be read or written."""
        self._folder = folder
        self._path = folder.path / "printed.jsonl"
        self._journal: FileJournal | None = None
        self._ends: set[End] = set()
        self.shown: dict[str, int] = {}
        """How far each file of output that is shown as it comes has been read, in bytes."""
        for line in scan(self._path, _line):
            if isinstance(line, dict):
                self.shown.update(line)
            else:
                self._ends.update(line)

    def of(self, recorded: Iterable[Outcome]) -> Iterator[Outcome]:
        """Those of the recorded outcomes that are printed: all, where no file says which."""
        is_known = self._path.exists()
        return (each for each in recorded if not is_known or _end(each) in self._ends)

    def begin(self, printed: Iterable[Outcome]) -> None:
        """Note these where nothing is noted yet: from now on the file says which. Raises StoreError."""
        is_known = self._path.exists()
        self._journal = FileJournal(self._path)
        if not is_known:
            self.add(printed)

    def add(self, outcomes: Iterable[Outcome], shown: Mapping[str, int] | None = None) -> None:
        """These are printed, and output that is shown as it comes is up to there. Raises StoreError."""
        ends = [_end(each) for each in outcomes]
        lines = [msgspec.json.encode(ends)] if ends else []
        if shown and shown != self.shown:
            self.shown = dict(shown)
            lines.append(msgspec.json.encode(self.shown))
        if self._journal is not None:
            self._journal.append(lines)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()


def _end(outcome: Outcome) -> End:
    return outcome.index, outcome.ended_s
