"""Job files, drawn from a folder of images or a list of links: the same arguments write the same files."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from kon.core.errors import ConfigurationError, WorkloadError
from kon.kinds.video.jobfile import job_lines
from kon.kinds.video.names import DEMO, demo_names

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
