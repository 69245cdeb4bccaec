"""Where `kon map` gets its items: words of the command line, or a file of them."""

from __future__ import annotations

import os
import sys
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from kon.errors import WorkloadError

_CHUNK_BYTES: Final = 1 << 20

SEPARATOR: Final = ":::"
"""GNU parallel's word between a command and its items."""


def split_command(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command, and the items that stand behind it: what follows its one word, or `:::`."""
    if SEPARATOR in words:
        at = words.index(SEPARATOR)
        return " ".join(words[:at]), list(words[at + 1 :])
    return words[0], list(words[1:])


def read_items(arg_file: str | None, null: bool) -> Sequence[str]:
    """The items in a file, or on standard input; its lines, or what stands between its NULs.

    Raises UsageError where nothing is to be read, WorkloadError where it can't be.
    """
    if arg_file in (None, "-"):
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError(
                "no items: name them after COMMAND, or send them to standard input, one a line"
            )
        return ItemFile("standard input", sys.stdin.buffer, null)
    assert arg_file is not None
    try:
        with Path(arg_file).open("rb") as file:
            return ItemFile(arg_file, file, null)
    except OSError as error:
        raise WorkloadError(f"--arg-file {arg_file}: can't be read: {error.strerror}") from error


class ItemFile(Sequence[str]):
    """Items, kept in a temporary file: of each, 8 bytes are in memory.

    Bytes that are not UTF-8 stand in an item as Python has them in the names of files: as surrogates.
    """

    def __init__(self, name: str, source: BinaryIO, null: bool) -> None:
        """Takes all of `source` at once. Lines lose their line ends, and empty ones are left out; with
        `null`, an item is all that stands before a NUL."""
        self._name = name
        self._ends = array("Q", [0])
        try:
            self._file = tempfile.TemporaryFile(prefix="kon-")  # noqa: SIM115 - it lasts as long as this object
            for item in _split(source, b"\0" if null else b"\n"):
                if item or null:
                    self._file.write(item)
                    self._ends.append(self._ends[-1] + len(item))
            self._file.flush()
        except OSError as error:
            raise WorkloadError(f"{name}: can't be read, or not be kept: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, at: Any) -> Any:
        if not 0 <= at < len(self):
            raise IndexError(at)
        start = self._ends[at]
        return os.fsdecode(os.pread(self._file.fileno(), self._ends[at + 1] - start, start))

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _ITEMS_AT_ONCE):
            last = min(len(self), first + _ITEMS_AT_ONCE)
            start = self._ends[first]
            part = os.pread(self._file.fileno(), self._ends[last] - start, start)
            for at in range(first, last):
                yield os.fsdecode(part[self._ends[at] - start : self._ends[at + 1] - start])


_ITEMS_AT_ONCE: Final = 1_000


def _split(source: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while chunk := source.read(_CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(separator)
        yield from whole
    if rest:
        yield rest
