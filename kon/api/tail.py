"""The records of a run, read on as they grow."""

from __future__ import annotations

import warnings

from kon.client import Tally
from kon.errors import CodecError, StoreError
from kon.records import RunFolder
from kon.task import Outcome, State, decode_answers

_CHUNK_BYTES = 1 << 20


class Tail:
    """What has been recorded of a run, and what is recorded since the last look.

    Of a run whose failed tasks are run again, what they came to before is left out.
    """

    def __init__(self, folder: RunFolder, tasks: int) -> None:
        self.tally = Tally(tasks)
        self._path = folder.results
        self._at_bytes = 0
        self._first_attempt = folder.read_run().attempts_before + 1 if folder.exists else 1

    def news(self) -> list[Outcome]:
        """Outcomes that were recorded since the last call, a part of them where there are many; none when
        there are none. One that stood before is there again when a better one took its place.

        Raises StoreError when the file can't be read.
        """
        while True:
            lines = self._lines()
            if not lines:
                return []
            news = [outcome for line in lines for outcome in self._news(line)]
            if news:
                return news

    def _news(self, line: bytes) -> list[Outcome]:
        first = self._first_attempt
        try:
            outcomes = decode_answers(line).outcomes
            if first > 1:
                outcomes = [each for each in outcomes if each.attempt >= first or each.state is State.DONE]
            return self.tally.count(outcomes)
        except CodecError:
            warnings.warn(
                f"{self._path}: half a line, left by a killed process; read without it", stacklevel=4
            )
            return []

    def _lines(self) -> list[bytes]:
        """The next whole lines."""
        size_bytes = _CHUNK_BYTES
        try:
            with self._path.open("rb") as file:
                while True:
                    file.seek(self._at_bytes)
                    chunk = file.read(size_bytes)
                    end = chunk.rfind(b"\n") + 1
                    if end or len(chunk) < size_bytes:
                        break
                    size_bytes *= 2  # one line may be longer than a chunk
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self._path}: can't be read: {error.strerror}") from error
        self._at_bytes += end
        return chunk[:end].splitlines()
