"""Bytes to stdout and stderr: all of them, also to a pipe that does not wait, and files without a copy."""

from __future__ import annotations

import os
import select
from typing import BinaryIO


def write(to: BinaryIO, data: bytes) -> None:
    """Write all of it. Raises OSError where it can't be."""
    left = memoryview(data)
    while left:
        try:
            left = left[to.write(left) :]
        except BlockingIOError as error:
            left = left[error.characters_written :]
            _wait(to)


def flush(to: BinaryIO) -> None:
    """Write what the stream holds. Raises OSError where it can't be."""
    while True:
        try:
            to.flush()
        except BlockingIOError:
            _wait(to)
        else:
            return


def send(file: int, start: int, end: int, to: BinaryIO) -> int:
    """Have the kernel write a part of an open file to a flushed stream; the place up to which it did.

    It can't write to a file that is appended to, for instance. Where it fails, nothing is raised: to read
    and write the rest shows why, and which of the two it was.
    """
    at = start
    while at < end:
        try:
            sent_bytes = os.sendfile(to.fileno(), file, at, end - at)
        except BlockingIOError:
            _wait(to)
        except OSError:
            break
        else:
            if not sent_bytes:
                break
            at += sent_bytes
    return at


def _wait(to: BinaryIO) -> None:
    """Until there is room again in a pipe that one of its other users made non-blocking."""
    select.select([], [to], [])
