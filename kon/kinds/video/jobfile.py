"""Jobs: links, and all that a job says for itself; as a mapping, or as a file with one link a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.core.errors import ConfigurationError, describe
from kon.core.options import OptionError, from_text, misfits, read_options, unknown
from kon.kinds.video.film import IMAGE, LOOKS, Film, Place, values_of

_LONGEST_LINK: Final = 8_192
MOST_IMAGES: Final = 3_600

PICTURES: Final = 60
DEMO: Final = "demo"
"""In place of a folder: the made-up pictures."""


class VideoJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one video is made of.

    captions: as many as links, or none; an empty one shows nothing. audio: a link to a sound file.
    seconds: how long each image is on screen; as many as links, or none. beats: instead of these, when each
        image gives way to the next, in seconds from the beginning; the last one is the end of the images.
    focus: the focus of each image; as many as links, or none.
    look: options of a look that this job has for itself.
    """

    links: tuple[str, ...]
    captions: tuple[str, ...] = ()
    audio: str | None = None
    seconds: tuple[float, ...] = ()
    beats: tuple[float, ...] = ()
    focus: tuple[Place, ...] = ()
    look: dict[str, Any] = {}


_OWN: Final = {
    field.encode_name: field.type for field in msgspec.structs.fields(VideoJob) if field.name != "look"
}
"""The keys of a job that are no options, with their types."""


def parse_job(body: Any) -> VideoJob:
    """From a task's body: a list of links, or a mapping with `links`. Raises ConfigurationError."""
    given: Any = {"links": body} if isinstance(body, list) else body
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f'expected a list of links, or a mapping with "links"; found {describe(body)}'
        )
    own: dict[str, Any] = {}
    look: dict[str, Any] = {}
    for key, value in given.items():
        (look if _is_option(key, value) else own)[key] = value
    _check_keys(own)
    _check_own(own)
    _check_look(look)
    try:
        job = msgspec.convert({**own, "look": look}, VideoJob)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f'expected a list of links, or a mapping with "links" and perhaps "captions" and "audio": {error}'
        ) from error
    if not 1 <= len(job.links) <= MOST_IMAGES:
        raise ConfigurationError(f"expected 1 to {MOST_IMAGES:,} links, got {len(job.links):,}")
    for name in ("captions", "seconds", "beats", "focus"):
        values = getattr(job, name)
        if values and len(values) != len(job.links):
            raise OptionError(
                f"expected as many {name} as links, got {len(values)} and {len(job.links)}", name
            )
    if job.seconds and job.beats:
        raise OptionError(
            "expected seconds or beats, got both: each says how long images are on screen", "seconds"
        )
    if any(later <= sooner for sooner, later in pairwise((0.0, *job.beats))):
        raise OptionError(
            "expected beats that grow from above 0: each is the time of an image's end", "beats"
        )
    for number, link in enumerate(job.links, start=1):
        if not link.strip() or len(link) > _LONGEST_LINK:
            what = f"one of {len(link):,} characters" if link.strip() else "an empty one"
            raise ConfigurationError(f"link {number}: expected a link, got {what}")
    return job


def film_for(job: VideoJob, film: Film) -> Film:
    """The look of one job: the workload's, but for the options that the job has for itself.

    Raises OptionError for what does not go together.
    """
    made = read_options("the job", {**values_of(film), **job.look}, Film) if job.look else film
    if made.format == "gif" and job.audio is not None:
        raise OptionError(
            "a GIF has no sound: leave audio out of the job, or say format: mp4, mkv or webm", "audio"
        )
    for name in ("title_background", "end_background"):
        image = IMAGE.fullmatch(getattr(made, name) or "")
        if image is not None and int(image[1]) > len(job.links):
            raise OptionError(
                f"{name}: the job has no image {image[1]}; it has {len(job.links)} of them", name
            )
    return made


def _is_option(key: str, value: Any) -> bool:
    """Whether a key of a job is one of a look's. `seconds` and `focus` are, unless each image has its own."""
    if key in _OWN and isinstance(value, list | tuple):
        return key == "focus" and bool(value) and not isinstance(value[0], list | tuple)
    return key in LOOKS


def _check_keys(own: Mapping[str, Any]) -> None:
    for key in own:
        if key not in _OWN:
            raise OptionError(
                unknown(str(key), list({**_OWN, **LOOKS}), "option of a job"), str(key), unknown=True
            )


def _check_own(own: Mapping[str, Any]) -> None:
    for name, value in own.items():
        for misfit in misfits(list(value) if isinstance(value, tuple) else value, _OWN[name], (name,)):
            whose = f" of image {int(misfit.path[1]) + 1}" if len(misfit.path) > 1 else " of the job"
            raise OptionError(f"{name}{whose}: {misfit.text}", name)


def _check_look(look: Mapping[str, Any]) -> None:
    for name, value in look.items():
        for misfit in misfits(value, LOOKS[name], (name,)):
            raise OptionError(f'option "{name}" of the job: {misfit.text}', name)
    font = look.get("caption_font", "")
    if "/" in font or Path(font).suffix.lower() in (".ttf", ".otf", ".ttc"):
        raise OptionError(
            f"caption_font: a job may name a family of fonts, not a file of the worker's ({describe(font)}); "
            "name the file in the workload",
            "caption_font",
        )


# --- files -----------------------------------------------------------------------------------------------

_OPTION: Final = re.compile(r"(?!(?:https?|file):)([A-Za-z][\w-]*):(?!//)\s*(.*)", re.DOTALL)
"""A line that is no link: by RFC 3986 what stands before a colon would be its scheme."""


def read_job(path: Path, film: Film | None = None) -> dict[str, Any]:
    """The task's body that a job file stands for. film: the workload's look, which the job's is checked with.

    Blank lines and lines that start with `#` are left out. A line `NAME: VALUE` is an option or another key
    of the job, such as `audio: LINK`. Raises ConfigurationError, with the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"the job file can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the job file is not UTF-8 text: {error.reason}") from error
    links, captions = [], []
    said: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        option = _OPTION.fullmatch(line)
        if option is None:
            link, _, caption = line.partition("\t")
            links.append(link.strip())
            captions.append(caption.strip())
            continue
        name = option[1]
        try:
            said[name] = _value(name, option[2].strip(), lines.get(name))
            _check_keys({name: said[name]} if not _is_option(name, said[name]) else {})
            _check_look({name: said[name]} if _is_option(name, said[name]) else {})
        except ConfigurationError as error:
            raise ConfigurationError(f"line {number}: {error}") from error
        lines[name] = number
    body = {"links": links, **({"captions": captions} if any(captions) else {}), **said}
    try:
        film_for(parse_job(body), film or Film())
    except OptionError as error:
        at = lines.get(str(error.path[0])) if error.path else None
        raise ConfigurationError(f"line {at}: {error}" if at is not None else str(error)) from error
    return body


def _value(name: str, text: str, before: int | None) -> Any:
    if name not in _OWN and name not in LOOKS:
        written = f"./{name}:{text}"
        raise OptionError(
            f"{unknown(name, [*_OWN, *LOOKS], 'option of a job')}; a link that begins like that is written "
            f"{written:.80}",
            name,
        )
    if before is not None:
        raise OptionError(f"{name} again; line {before} has it already, and a job has one", name)
    if not text:
        raise OptionError(f'{name}: expected a value, found nothing; the empty text is written ""', name)
    if name in ("links", "captions"):
        raise OptionError(
            f"{name}: expected no such line: each link has a line of its own, with a tab and its caption "
            "after it",
            name,
        )
    if name == "audio":
        return text
    if name == "focus":
        return _places(text)
    if name == "beats" or (name == "seconds" and len(text.replace(",", " ").split()) > 1):
        return _numbers(name, text)
    return from_text(text, LOOKS[name])


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise OptionError(
            f"{name}: expected times in seconds, such as 1.5 3 4.5, found {describe(text)}", name
        ) from error


def _places(text: str) -> list[Any]:
    """One place for all images, or one for each."""
    found = from_text(text, list[float])
    if len(found) % 2 or not found:
        raise OptionError(
            f"focus: expected two shares such as 0.5 0.3, or two for each image, found {describe(text)}",
            "focus",
        )
    return found if len(found) == 2 else [found[place : place + 2] for place in range(0, len(found), 2)]


def job_lines(links: Iterable[str]) -> str:
    """The text of a job file."""
    return "".join(f"{link}\n" for link in links)


def demo_names() -> list[str]:
    return [f"picture-{number:03}.jpg" for number in range(1, PICTURES + 1)]
