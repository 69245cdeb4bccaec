"""Workload files and job files: the same arguments write the same files."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from kon.core.errors import ConfigurationError, WorkloadError, describe
from kon.kinds.sleep import Distribution
from kon.kinds.video.jobfile import DEMO, demo_names, job_lines


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


_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def names_in(place: str) -> list[str]:
    """Links: of a file with one a line, the images in a folder by name, or those of `demo`.

    Raises ConfigurationError where there are none.
    """
    if place == DEMO:
        return demo_names()
    path = Path(place)
    try:
        if path.is_dir():
            found = sorted(quote(each.name) for each in path.iterdir() if each.suffix.lower() in _SUFFIXES)
        else:
            lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
            found = [line for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"--from {place}: can't be read: {reason}") from error
    if not found:
        raise ConfigurationError(f"--from {place}: there is no image in it")
    return found


def draw_jobs(links: Sequence[str], jobs: int, images: int, seed: int = 0) -> Iterator[list[str]]:
    """The links of each job: none comes twice before all have come once."""
    rng = random.Random(seed)
    for _ in range(jobs):
        drawn: list[str] = []
        while len(drawn) < images:
            drawn += rng.sample(links, min(len(links), images - len(drawn)))
        yield drawn


def write_jobs(folder: Path, jobs: Iterable[list[str]]) -> int:
    """Write a new folder of job files; returns how many. Raises ConfigurationError where there is one
    already, WorkloadError where it can't be written; then nothing is left of it."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{folder}: is there already and is left as it is; remove it or name another folder"
        ) from error
    except OSError as error:
        raise WorkloadError(f"{folder}: can't be made: {error.strerror}") from error
    count = 0
    try:
        for count, links in enumerate(jobs, start=1):
            (folder / f"job-{count:03}.txt").write_text(job_lines(links), encoding="utf-8")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise WorkloadError(f"{folder}: can't be written: {error.strerror}") from error
        raise
    return count
