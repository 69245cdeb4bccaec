"""The records of a run, read on as they grow."""

from __future__ import annotations

import warnings

from kon.core.errors import CodecError
from kon.core.task import Outcome, State, decode_answers
from kon.engine.client import Tally
from kon.engine.records.records import RunFolder
from kon.report.read.follow import Growing, Rewritten

_CHUNK_BYTES = 1 << 20


class Tail:
    """What has been recorded of a run, and what is recorded since the last look.

    Of a run whose failed tasks are run again, what they came to before is left out.
    """

    def __init__(self, folder: RunFolder, tasks: int) -> None:
        self.tally = Tally(tasks)
        self._file = Growing(folder.results)
        self._first_attempt = folder.read_run().attempts_before + 1 if folder.exists else 1

    def news(self) -> list[Outcome]:
        """Outcomes that were recorded since the last call, a part of them where there are many; none when
        there are none. One that stood before is there again when a better one took its place.

        Raises StoreError when the file can't be read.
        """
        while lines := self._lines():
            news = [outcome for line in lines for outcome in self._news(line)]
            if news:
                return news
        return []

    def _news(self, line: bytes) -> list[Outcome]:
        first = self._first_attempt
        try:
            outcomes = decode_answers(line).outcomes
            if first > 1:
                outcomes = [each for each in outcomes if each.attempt >= first or each.state is State.DONE]
            return self.tally.count(outcomes)
        except CodecError:
            warnings.warn(
                f"{self._file.path}: half a line, left by a killed process; read without it", stacklevel=4
            )
            return []

    def _lines(self) -> list[bytes]:
        """The next whole lines."""
        try:
            return self._file.read(_CHUNK_BYTES).splitlines()
        except Rewritten:
            return []  # its run has gone, and whoever removed that has no more news
