"""Items that can be read only once, kept in a temporary file."""

from __future__ import annotations

import bisect
import itertools
import os
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from kon.core.errors import WorkloadError

_PART_BYTES: Final = 1 << 20
"""Bytes of one read or write, about."""


class Stored(Sequence[Any]):
    """Pieces of bytes, each handed out as `decode` makes it; of each, 8 bytes are in memory.

    The file has no name, and goes with this object, however this program ends.
    """

    def __init__(self, name: str, pieces: Iterable[bytes], decode: Callable[[bytes], Any]) -> None:
        """Takes all pieces at once. Raises WorkloadError where they can't be read, or not be kept.

        name: what the error calls them.
        """
        self._decode = decode
        self._ends = array("Q", [0])
        try:
            self._fd, path = tempfile.mkstemp(prefix=".kon-")
            os.unlink(path)  # noqa: PTH108 - without a name, no crash leaves it behind
            weakref.finalize(self, os.close, self._fd)
            for part in self._parts(pieces):
                _write(self._fd, part)
        except OSError as error:
            raise WorkloadError(
                f"{name}: can't be read, or not be kept in a temporary file: {error.strerror}"
            ) from error

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, at: Any) -> Any:
        if not 0 <= at < len(self):
            raise IndexError(at)
        start = self._ends[at]
        return self._decode(os.pread(self._fd, self._ends[at + 1] - start, start))

    def __iter__(self) -> Iterator[Any]:
        decode, at = self._decode, 0
        while at < len(self):
            # as many as fit into one read, and one at least
            last = max(at + 1, bisect.bisect(self._ends, self._ends[at] + _PART_BYTES) - 1)
            ends = self._ends[at : last + 1]
            part = os.pread(self._fd, ends[-1] - ends[0], ends[0])
            for start, end in itertools.pairwise(ends):
                yield decode(part[start - ends[0] : end - ends[0]])
            at = last

    def _parts(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces in large parts, noted as they pass."""
        part: list[bytes] = []
        size_bytes = at_bytes = 0
        for piece in pieces:
            part.append(piece)
            at_bytes += len(piece)
            size_bytes += len(piece)
            self._ends.append(at_bytes)
            if size_bytes >= _PART_BYTES:
                yield b"".join(part)
                part, size_bytes = [], 0
        yield b"".join(part)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
