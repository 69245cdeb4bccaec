"""Journals: lines that outlive the process that wrote them, and how they are read back."""

from __future__ import annotations

import asyncio
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from kon.core.errors import StoreError

_Line = TypeVar("_Line")

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)
"""A machine that loses power may leave any bytes, not only half of what was written."""

BLOCK_BYTES: Final = 1 << 18
"""What `scan` decodes at once: enough to make the overhead of a block vanish."""


class Journal(ABC):
    """Lines, appended. Once `append` returns, a SIGKILL of this process loses none of them.

    Once `on_disk` returns, a power cut loses none of those that were appended before it was called. Where the
    journal is not durable it returns at once, unless it is to wait `always`.
    """

    durable: bool = False
    _appends = 0
    _synced = 0
    _syncing: asyncio.Task[None] | None = None

    async def on_disk(self, always: bool = False) -> None:
        """Wait for the disk; those who wait at the same time share one wait. Raises StoreError.

        always: for what stands nowhere else.
        """
        upto = self._appends
        while (always or self.durable) and self._synced < upto:
            if self._syncing is None:
                self._syncing = asyncio.create_task(self._sync_all())
            await asyncio.shield(self._syncing)

    async def _sync_all(self) -> None:
        reach = self._appends
        try:
            await asyncio.to_thread(self.sync)
            self._synced = reach
        finally:
            self._syncing = None

    def sync(self) -> None:
        """Wait until all lines are on disk. Blocks; for any thread."""
        return

    @abstractmethod
    def append(self, lines: Sequence[bytes]) -> None:
        """Add lines, without their line ends. Raises StoreError when they can't be kept."""

    def close(self) -> None:
        return


class FileJournal(Journal):
    """A file of lines. One process writes it; a line cut short by a crash stays a line of its own."""

    def __init__(self, path: Path, durable: bool = False) -> None:
        """durable: see `Journal`. Raises StoreError when it can't be written."""
        self._path = path
        self.durable = durable
        self._is_named = False  # on disk, by the folders
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                self._begin_a_line()
                if durable:
                    self._sync_names()
            except OSError:
                os.close(self._fd)
                raise
        except OSError as error:
            raise StoreError(f"{path}: can't be written: {error.strerror}") from error

    def _begin_a_line(self) -> None:
        size_bytes = os.fstat(self._fd).st_size
        if size_bytes and os.pread(self._fd, 1, size_bytes - 1) != b"\n":
            os.write(self._fd, b"\n")

    def append(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        self._appends += 1
        left = memoryview(b"\n".join([*lines, b""]))
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            raise StoreError(
                f"{self._path}: can't be written: {error.strerror}. Nothing that was recorded is lost; "
                "make room, then start again"
            ) from error

    def sync(self) -> None:
        try:
            getattr(os, "fdatasync", os.fsync)(self._fd)  # macOS has the latter alone
            self._sync_names()
        except OSError as error:
            raise StoreError(
                f"{self._path}: the disk does not take it: {error.strerror}. What was answered is not acked, "
                "and comes again; mend the disk, then start again"
            ) from error

    def close(self) -> None:
        os.close(self._fd)

    def _sync_names(self) -> None:
        """A file is as durable as the folders that name it."""
        if not self._is_named:
            sync_folder(self._path.parent)
            sync_folder(self._path.parent.parent)
            self._is_named = True


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LateJournal(Journal):
    """A file of lines that is made with the first of them, as most runs have none."""

    def __init__(self, path: Path, durable: bool = False) -> None:
        """See FileJournal."""
        self.durable = durable
        self._path = path
        self._file: FileJournal | None = None

    def append(self, lines: Sequence[bytes]) -> None:
        if lines:
            self._appends += 1
            self._file = self._file or FileJournal(self._path, self.durable)
            self._file.append(lines)

    def sync(self) -> None:
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class MemoryJournal(Journal):
    """Lines in a list, for runs that live and end with their process."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.lines_on_disk = 0
        """How many of them somebody waited for, whatever the durability."""

    def append(self, lines: Sequence[bytes]) -> None:
        self.lines.extend(lines)

    async def on_disk(self, always: bool = False) -> None:
        if always:
            self.lines_on_disk = len(self.lines)


def scan(path: Path, decoder: msgspec.json.Decoder[_Line]) -> Iterator[_Line]:
    """The lines of a journal; none where the file is missing. Memory: a block and its longest line.

    Half a line, as a killed process leaves it, is left out with a warning. Raises StoreError when the file
    can't be read.
    """
    try:
        with path.open("rb") as file:
            number, rest = 1, b""
            while block := file.read(BLOCK_BYTES):
                whole, newline, rest = (rest + block).rpartition(b"\n")
                if newline:
                    yield from decode_lines(whole, decoder, warn_of_half(path, number))
                    number += whole.count(b"\n") + 1
            yield from decode_lines(rest, decoder, warn_of_half(path, number))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from error


def decode_lines(
    lines: bytes, decoder: msgspec.json.Decoder[_Line], on_half: Callable[[int], None]
) -> list[_Line]:
    """Each of these lines but those that can't be decoded: `on_half` is told their numbers, from 0."""
    try:
        return decoder.decode_lines(lines)
    except _UNREADABLE:
        pass
    found = []
    for number, line in enumerate(lines.split(b"\n")):
        try:
            if line:  # an empty one: put there by a journal that found half a line
                found.append(decoder.decode(line))
        except _UNREADABLE:
            on_half(number)
    return found


def leave_out(number: int) -> None:
    """For `decode_lines`, where half a line of a killed process is nothing to tell a user."""


def warn_of_half(path: Path, first: int) -> Callable[[int], None]:
    """For `decode_lines`: warns of each line that is left out. first: number of the first, from 1."""

    def warn(number: int) -> None:
        at = f"{path}:{first + number}"
        warnings.warn(f"{at}: half a line, left by a killed process; read without it", stacklevel=2)

    return warn
