"""What a command writes: its beginning and its end are kept, within a bound; or all of it, in a file.

A pipe is read by what takes its bytes: the kernel copies long output into its file, and they never come
into this process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

STREAMS: Final = ("stdout", "stderr")
"""What a command writes to: the keys of its output in its result."""

CHUNK_BYTES: Final = 65_536
"""Read at once: what a pipe holds by default."""

SHOWN_BYTES: Final = 2_048
"""How much a result has of output that a file has whole, for people who read records."""

_SPLICE_BYTES: Final = 1 << 20
"""The largest pipe that Linux gives to everybody."""


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

    def read(self, pipe: int) -> int:
        """Take some of what a pipe holds; how many bytes, 0 at its end.

        Raises BlockingIOError where it holds nothing for now.
        """
        chunk = os.read(pipe, CHUNK_BYTES)
        if chunk:
            self.add(chunk)
        return len(chunk)

    def add(self, chunk: bytes) -> None:
        """Take what was written next."""
        self.size_bytes += len(chunk)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if len(chunk) >= self._tail_limit:
            self._tail = self._end_of(chunk)
        elif chunk:
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
        """Called once, after the last `read` or `add`: the file that has all of it, None where there is none.

        Raises OSError where it could not be written. The text is there afterwards in any case.
        """
        return None

    def drop(self) -> None:
        """Leave nothing behind of a command that was stopped."""

    def _end_of(self, data: bytes) -> bytes:
        return data[len(data) - self._tail_limit :]


_CAN_SPLICE: Final = hasattr(os, "splice")
"""Linux alone has it."""


class WholeCapture(Capture):
    """Keeps all of it, byte for byte, in a file, where the text of it would not be the same: where it is
    longer than `limit_bytes`, or not UTF-8. Then its text is a beginning and an end of `SHOWN_BYTES`."""

    __slots__ = ("_fd", "_path", "_problem")

    def __init__(self, limit_bytes: int, path: str) -> None:
        """`path`: of the file, which nobody else writes to. Most commands need none, and no Path of it."""
        super().__init__(limit_bytes)
        self._path = path
        self._fd: int | None = None
        self._problem: OSError | None = None

    def read(self, pipe: int) -> int:
        if self._fd is None or len(self._head) < self._head_limit or not _CAN_SPLICE:
            return super().read(pipe)
        try:
            size_bytes = os.splice(pipe, self._fd, _SPLICE_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            raise
        except OSError as error:
            self._give_up(error)
            return super().read(pipe)
        self.size_bytes += size_bytes
        return size_bytes

    def add(self, chunk: bytes) -> None:
        if self._fd is None and self._problem is None and self._is_more_than_fits(chunk):
            self._begin()
        if self._fd is None:
            super().add(chunk)
            return
        try:
            _write_all(self._fd, chunk)
        except OSError as error:
            self._give_up(error)
            super().add(chunk)
        else:
            self._head += chunk[: self._head_limit - len(self._head)]
            self.size_bytes += len(chunk)

    def text(self) -> Text:
        if self._fd is not None:
            self._tail = self._end_of_file()
        return super().text()

    def end(self) -> str | None:
        if self._fd is None and self._problem is None and not _decode(self._head + self._tail)[1]:
            self._begin()
        if self._problem is not None:
            raise self._problem
        if self._fd is None:
            return None
        self._tail = self._end_of_file()
        os.close(self._fd)
        self._fd = None
        return self._path

    def drop(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            Path(self._path).unlink(missing_ok=True)

    def _is_more_than_fits(self, chunk: bytes) -> bool:
        return self.size_bytes + len(chunk) > self._head_limit + self._tail_limit

    def _begin(self) -> None:
        """Have all that there is in the file, and no more of it in memory than is shown."""
        taken = self._head + self._tail  # until now nothing was left out
        try:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            _write_all(self._fd, taken)
        except OSError as error:
            self._problem = error
            self._drop_quietly()
            return
        self._head_limit = min(self._head_limit, SHOWN_BYTES // 2)
        self._tail_limit = min(self._tail_limit, SHOWN_BYTES // 2)
        self._head = taken[: self._head_limit]

    def _give_up(self, error: OSError) -> None:
        """The command may go on; that its output can't be kept is told at its end."""
        self._problem = error
        self._tail = self._end_of_file()
        self._drop_quietly()

    def _drop_quietly(self) -> None:
        with contextlib.suppress(OSError):
            self.drop()

    def _end_of_file(self) -> bytes:
        """The last bytes that were taken, without those that are in the head; none where it can't be read."""
        assert self._fd is not None
        length = min(self._tail_limit, self.size_bytes - len(self._head))
        try:
            return os.pread(self._fd, length, self.size_bytes - length)
        except OSError:
            return b""


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


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
