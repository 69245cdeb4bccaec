"""What a command writes: its beginning and its end are kept, within a bound; or all of it, in a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

STREAMS: Final = ("stdout", "stderr")
"""What a command writes to: the keys of its output in its result."""


class Text(NamedTuple):
    """Captured output as text.

    whole: nothing was left out. utf8: it was UTF-8; if not, what was not stands as `\\xff`.
    """

    text: str
    whole: bool
    utf8: bool


class Capture:
    """Keeps the first and the last half of `limit_bytes`; its memory is bounded by about twice that."""

    __slots__ = ("_head", "_head_limit", "_tail", "_tail_limit", "size_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._head_limit = limit_bytes // 2
        self._tail_limit = limit_bytes - self._head_limit
        self._head = b""
        self._tail = b""
        self.size_bytes = 0
        """All that was ever added."""

    def add(self, chunk: bytes) -> None:
        """Take what was written next."""
        self.size_bytes += len(chunk)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if chunk:
            joined = self._tail + chunk
            # cut now and then, not at each addition: a program may write byte by byte
            self._tail = joined if len(joined) <= 2 * self._tail_limit else self._end_of(joined)

    def text(self) -> Text:
        kept = self._head_limit + self._tail_limit
        if self.size_bytes <= kept:
            text, utf8 = _decode(self._head + self._tail)
            return Text(text, whole=True, utf8=utf8)
        head = _without_cut_end(self._head)
        tail = _without_cut_start(self._end_of(self._tail))
        left_out = self.size_bytes - len(head) - len(tail)
        first, first_utf8 = _decode(head)
        last, last_utf8 = _decode(tail)
        text = f"{first}\n[kon left out {left_out} bytes here]\n{last}"
        return Text(text, whole=False, utf8=first_utf8 and last_utf8)

    def end(self) -> str | None:
        """Called once, after the last `add`: the file that has all of it, None where there is none.

        Raises OSError where it could not be written.
        """
        return None

    def drop(self) -> None:
        """Leave nothing behind of a command that was stopped."""

    def _end_of(self, data: bytes) -> bytes:
        return data[len(data) - self._tail_limit :]


class WholeCapture(Capture):
    """Keeps all of it as well, byte for byte, in a file, where the text of it would not be the same: where it
    is longer than `limit_bytes`, or not UTF-8."""

    __slots__ = ("_fd", "_path", "_problem")

    def __init__(self, limit_bytes: int, path: str) -> None:
        """`path`: of the file, which nobody else writes to. Most commands need none, and no Path of it."""
        super().__init__(limit_bytes)
        self._path = path
        self._fd: int | None = None
        self._problem: OSError | None = None

    def add(self, chunk: bytes) -> None:
        if self._fd is None and self._problem is None:
            kept = self._head_limit + self._tail_limit
            if self.size_bytes + len(chunk) > kept:
                # until now nothing was left out
                self._store(self._head + self._tail)
        if self._fd is not None:
            self._store(chunk)
        super().add(chunk)

    def end(self) -> str | None:
        if self._fd is None and self._problem is None and not _decode(self._head + self._tail)[1]:
            self._store(self._head + self._tail)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            return self._path
        if self._problem is not None:
            raise self._problem
        return None

    def drop(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            Path(self._path).unlink(missing_ok=True)

    def _store(self, data: bytes) -> None:
        try:
            if self._fd is None:
                Path(self._path).parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            left = memoryview(data)
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:  # the command may go on; that it can't be kept is told at its end
            self._problem = error
            with contextlib.suppress(OSError):
                self.drop()


def kept_file(result: Mapping[str, Any], stream: str, run: Path) -> Path | None:
    """The file with all that a command wrote to a stream; None where its result has all of it.

    run: the folder of the run's records, which may have been moved since.
    """
    name = result.get(f"{stream}_file")
    if not isinstance(name, str):
        return None
    file = Path(name)
    moved = run / file.parent.name / file.name
    return moved if moved.exists() else file


def _decode(data: bytes) -> tuple[str, bool]:
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        return data.decode(errors="backslashreplace"), False


def _without_cut_end(data: bytes) -> bytes:
    """Without the first bytes of a UTF-8 sequence whose rest was left out."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:  # the sequence's first byte, which says how long it is
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2
            return data[:-back] if length > back else data
        if byte < 0x80:
            break
    return data


def _without_cut_start(data: bytes) -> bytes:
    """Without the last bytes of a UTF-8 sequence whose beginning was left out."""
    start = 0
    while start < min(3, len(data)) and 0x80 <= data[start] < 0xC0:
        start += 1
    return data[start:]
