"""Output of commands that a file has whole, printed: which of the two fails is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from kon.api import streams
from kon.cli.output import forget_stdout
from kon.core.errors import StoreError

STDOUT: Final = "standard output"
STDERR: Final = "standard error"

_PART_BYTES: Final = 1 << 20


def print_kept(file: Path, to: BinaryIO, name: str) -> bool:
    """Write a file to stdout or stderr. Whether what it holds ends within a line.

    Raises StoreError where the file can't be read or the stream, of that name, can't be written.
    """
    with written(name):
        streams.flush(to)
    try:
        with file.open("rb") as opened:
            end = os.fstat(opened.fileno()).st_size
            is_mid_line = end > 0 and os.pread(opened.fileno(), 1, end - 1) != b"\n"
            start = streams.send(opened.fileno(), 0, end, to)
    except OSError as error:
        raise _unreadable(file, error) from error
    for part in parts_of(file, start) if start < end else ():
        with written(name):
            streams.write(to, part)
    return is_mid_line


def parts_of(file: Path, start: int = 0) -> Iterator[bytes]:
    """What the file holds from `start` on. Raises StoreError where it can't be read."""
    try:
        with file.open("rb") as opened:
            opened.seek(start)
            while part := opened.read(_PART_BYTES):
                yield part
    except OSError as error:
        raise _unreadable(file, error) from error


@contextmanager
def written(name: str) -> Iterator[None]:
    """Raises StoreError in place of an OSError; a pipe that nobody reads any more stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if name == STDOUT:
            forget_stdout()
        raise StoreError(f"{name}: can't be written: {error.strerror}") from error


def _unreadable(file: Path, error: OSError) -> StoreError:
    return StoreError(f"{file}: output that was kept there can't be read: {error.strerror}")
