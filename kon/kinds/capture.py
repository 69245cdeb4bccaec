"""What a command writes: the beginning and the end of it are kept, within a bound."""

from __future__ import annotations

from typing import NamedTuple


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

    def _end_of(self, data: bytes) -> bytes:
        return data[len(data) - self._tail_limit :]


def _decode(data: bytes) -> tuple[str, bool]:
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        return data.decode(errors="backslashreplace"), False


def _without_cut_end(data: bytes) -> bytes:
    """Without the first bytes of a UTF-8 sequence of which the rest was left out."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:  # the sequence's first byte, which says how long it is
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2
            return data[:-back] if length > back else data
        if byte < 0x80:
            break
    return data


def _without_cut_start(data: bytes) -> bytes:
    """Without the last bytes of a UTF-8 sequence of which the beginning was left out."""
    start = 0
    while start < min(3, len(data)) and 0x80 <= data[start] < 0xC0:
        start += 1
    return data[start:]
