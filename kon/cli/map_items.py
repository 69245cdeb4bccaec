"""Where `kon map` gets its items: words of the command line, or a file of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import click

from kon.api.stored import Stored
from kon.core.errors import WorkloadError

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
        return _stored("standard input", sys.stdin.buffer, null)
    assert arg_file is not None
    try:
        with Path(arg_file).open("rb") as file:
            return _stored(arg_file, file, null)
    except OSError as error:
        raise WorkloadError(f"--arg-file {arg_file}: can't be read: {error.strerror}") from error


def _stored(name: str, source: BinaryIO, null: bool) -> Sequence[str]:
    """The items. Lines lose their line ends, and empty ones are left out; with `null`, an item is all that
    stands before a NUL. Bytes that are not UTF-8 stand in it as Python has them in names of files."""
    pieces = _split(source, b"\0" if null else b"\n")
    return Stored(name, pieces if null else filter(None, pieces), os.fsdecode)


def _split(source: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while chunk := source.read(_CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(separator)
        yield from whole
    if rest:
        yield rest
