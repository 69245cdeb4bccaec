"""Workload files, written line by line: the same arguments write the same file."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from kon.core.errors import ConfigurationError, WorkloadError, describe
from kon.kinds.distributions import Distribution


def sleep_lines(count: int, ms: Distribution, seed: int = 0) -> Iterator[str]:
    """`sleep 10000`: one task a line, in milliseconds, as the older systems have it."""
    _check("count", count, 1)
    share = random.Random(seed).random
    return (f"sleep {_shortest(ms.at(share()))}" for _ in range(count))


def stats_lines(count: int, length: int, low: int = 0, high: int = 1000, seed: int = 0) -> Iterator[str]:
    """Integers with blanks between them, one list a line, drawn evenly from low to high, both included."""
    _check("count", count, 1)
    _check("length", length, 1)
    if not -(2**52) <= low <= high <= 2**52:
        raise ConfigurationError(f"expected low to high within 2**52, found {low} to {high}")
    share, span = random.Random(seed).random, high - low + 1
    return (" ".join(str(low + int(share() * span)) for _ in range(length)) for _ in range(count))


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write a new file; returns how many lines it has.

    Raises ConfigurationError where there is a file already, WorkloadError where it can't be written;
    then nothing is left of it. Killed on its way it leaves an empty file, which no experiment takes.
    """
    count = 0
    try:
        with path.open("x"):  # takes the name, so that nothing that comes in the meantime is written over
            pass
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path}: is there already and is left as it is; remove it or name another file"
        ) from error
    except OSError as error:
        raise WorkloadError(f"{path}: can't be written: {error.strerror}") from error
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with fresh.open("w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(line + "\n")
                count += 1
        fresh.replace(path)
    except BaseException as error:
        fresh.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise WorkloadError(
                f"{path}: can't be written: {error.strerror}; nothing is left of it"
            ) from error
        raise
    return count


def _check(what: str, value: int, least: int) -> None:
    if type(value) is not int or value < least:
        raise ConfigurationError(
            f"{what}: expected a whole number of {least} or more, found {describe(value)}"
        )


def _shortest(ms: float) -> str:
    """Milliseconds to the microsecond, without the zeros at the end."""
    return f"{ms:.3f}".rstrip("0").rstrip(".")
