"""A file of lines that another process writes to, read on from where the last look ended."""

from __future__ import annotations

import os
from pathlib import Path

from kon.core.errors import StoreError


class Rewritten(Exception):
    """The file is not the one that was read before: it is shorter, or another one of its name."""


class Gone(Rewritten):
    """The file was there, and has been deleted."""


class Growing:
    """Its whole lines. One that is half written waits until the rest of it is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_bytes = 0
        """Handed out so far."""
        self.size_bytes = 0
        """Of the file, as the last look found it."""
        self._inode: int | None = None
        self._looked_bytes = -1
        """Its size when all whole lines that there were had been read."""

    @property
    def behind(self) -> bool:
        """Whether the last look left something to read, other than half a line."""
        return self.read_bytes < self.size_bytes != self._looked_bytes

    def read(self, most_bytes: int) -> bytes:
        """The next whole lines, about so many bytes of them, at least one line; empty where there are none.

        Raises Rewritten, Gone, StoreError.
        """
        try:
            about = self.path.stat()
            if self._inode not in (None, about.st_ino) or about.st_size < self.read_bytes:
                raise Rewritten(self.path)
            self._inode, self.size_bytes = about.st_ino, about.st_size
            if about.st_size == self._looked_bytes:
                return b""  # not even opened: most of a large run's files stand still
            lines = self._read(most_bytes)
        except FileNotFoundError:
            if self._inode is not None:
                raise Gone(self.path) from None
            return b""
        except OSError as error:
            raise StoreError(f"{self.path}: can't be read: {error.strerror}") from error
        self.read_bytes += len(lines)
        return lines

    def _read(self, most_bytes: int) -> bytes:
        with self.path.open("rb") as file:
            self.size_bytes = os.fstat(file.fileno()).st_size
            file.seek(self.read_bytes)
            found, end = bytearray(), 0
            while not end:  # one line may be longer than that
                chunk = file.read(most_bytes)
                end = chunk.rfind(b"\n") + 1
                found += chunk[:end] if end else chunk
                if len(chunk) < most_bytes:
                    self._looked_bytes = self.size_bytes
                    break
            return bytes(found) if end else b""
