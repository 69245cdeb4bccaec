"""Journals: lines that outlive the process that wrote them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from kon.core.errors import StoreError


class Journal(ABC):
    """Lines, appended. Once `append` returns, a SIGKILL of this process loses none of them."""

    @abstractmethod
    def append(self, lines: Sequence[bytes]) -> None:
        """Add lines, without their line ends. Raises StoreError when they can't be kept."""

    def close(self) -> None:
        return


class FileJournal(Journal):
    """A file of lines. One process writes it; a line cut short by a crash stays a line of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            size_bytes = os.fstat(self._fd).st_size
            if size_bytes and os.pread(self._fd, 1, size_bytes - 1) != b"\n":
                os.write(self._fd, b"\n")
        except OSError as error:
            raise StoreError(f"{path}: can't be written: {error.strerror}") from error

    def append(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        left = memoryview(b"\n".join([*lines, b""]))
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            raise StoreError(
                f"{self._path}: can't be written: {error.strerror}. Nothing that was recorded is lost; "
                "make room, then start again"
            ) from error

    def close(self) -> None:
        os.close(self._fd)


class MemoryJournal(Journal):
    """Lines in a list, for runs that live and end with their process."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def append(self, lines: Sequence[bytes]) -> None:
        self.lines.extend(lines)


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a journal that is there; none where it is not."""
    try:
        with path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
    except FileNotFoundError:
        return
