"""Job files: one link a line, perhaps with a tab and a caption after it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.core.errors import ConfigurationError

_LONGEST_LINK: Final = 8_192
MOST_IMAGES: Final = 3_600


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one video is made of.

    captions: as many as links, or none; an empty one shows nothing. audio: a link to a sound file.
    seconds: how long each image is on screen; as many as links, or none. beats: instead of these, when each
        image gives way to the next, in seconds from the beginning; the last one is the end.
    """

    links: tuple[str, ...]
    captions: tuple[str, ...] = ()
    audio: str | None = None
    seconds: tuple[float, ...] = ()
    beats: tuple[float, ...] = ()


def parse_job(body: Any) -> Job:
    """From a task's body: a list of links, or a mapping with `links`. Raises ConfigurationError."""
    try:
        job = msgspec.convert({"links": body} if isinstance(body, list) else body, Job)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f'expected a list of links, or a mapping with "links" and perhaps "captions" and "audio": {error}'
        ) from error
    if not 1 <= len(job.links) <= MOST_IMAGES:
        raise ConfigurationError(f"expected 1 to {MOST_IMAGES:,} links, got {len(job.links):,}")
    if job.captions and len(job.captions) != len(job.links):
        raise ConfigurationError(
            f"expected as many captions as links, got {len(job.captions)} and {len(job.links)}"
        )
    for name, values in (("seconds", job.seconds), ("beats", job.beats)):
        if values and len(values) != len(job.links):
            raise ConfigurationError(
                f"expected as many {name} as links, got {len(values)} and {len(job.links)}"
            )
    if job.seconds and job.beats:
        raise ConfigurationError(
            "expected seconds or beats, got both: each says how long images are on screen"
        )
    if any(later <= sooner for sooner, later in pairwise((0.0, *job.beats))):
        raise ConfigurationError("expected beats that grow from above 0: each is the time of an image's end")
    for number, link in enumerate(job.links, start=1):
        if not link.strip() or len(link) > _LONGEST_LINK:
            what = f"one of {len(link):,} characters" if link.strip() else "an empty one"
            raise ConfigurationError(f"link {number}: expected a link, got {what}")
    return job


def read_job(path: Path) -> dict[str, Any]:
    """The task's body that a job file stands for. Raises ConfigurationError.

    Blank lines and lines that start with `#` are left out. A line `audio: LINK` names the sound, a line
    `beats: 1.5 3 4.5 ...` the times at which images give way.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"the job file can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the job file is not UTF-8 text: {error.reason}") from error
    links, captions, audio = [], [], None
    beats: tuple[float, ...] = ()
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("audio:"):
            audio = line.removeprefix("audio:").strip()
            continue
        if line.startswith("beats:"):
            beats = _numbers(line.removeprefix("beats:"))
            continue
        link, _, caption = line.partition("\t")
        links.append(link.strip())
        captions.append(caption.strip())
    job = Job(tuple(links), tuple(captions) if any(captions) else (), audio, beats=beats)
    body: dict[str, Any] = msgspec.to_builtins(job)
    parse_job({**body, "links": list(body["links"])})
    return {name: list(value) if isinstance(value, tuple) else value for name, value in body.items()}


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise ConfigurationError(f"beats: expected times in seconds, such as 1.5 3 4.5: {error}") from error


def job_lines(links: Iterable[str]) -> str:
    """The text of a job file."""
    return "".join(f"{link}\n" for link in links)
