"""Reading records fast: a file of lines, decoded a block at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from kon.core.errors import StoreError

_Line = TypeVar("_Line")

BLOCK_BYTES: Final = 1 << 18
"""What is decoded at once: enough to make the overhead of a block vanish."""


def scan(path: Path, decoder: msgspec.json.Decoder[_Line]) -> Iterator[_Line]:
    """The lines of a journal; none where it is not there. Memory: a block and its longest line.

    A line that can't be read is left out with a warning. Raises StoreError when the file can't be.
    """
    try:
        with path.open("rb") as file:
            number, rest = 1, b""
            while block := file.read(BLOCK_BYTES):
                whole, newline, rest = (rest + block).rpartition(b"\n")
                if newline:
                    yield from _decode(path, whole, number, decoder)
                    number += whole.count(b"\n") + 1
            if rest:
                yield from _decode(path, rest, number, decoder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from error


def _decode(path: Path, lines: bytes, number: int, decoder: msgspec.json.Decoder[_Line]) -> list[_Line]:
    try:
        return decoder.decode_lines(lines)
    except msgspec.DecodeError:
        return list(_one_by_one(path, lines, number, decoder))


def _one_by_one(
    path: Path, lines: bytes, number: int, decoder: msgspec.json.Decoder[_Line]
) -> Iterator[_Line]:
    for at, line in enumerate(lines.split(b"\n"), start=number):
        if not line:
            continue  # put there by a journal that found half a line
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError:
            warnings.warn(
                f"{path}:{at}: half a line, left by a killed process; read without it", stacklevel=2
            )
