"""Fonts for captions: the one that comes with kon, and those of the system for what it lacks.

Which font has a character is told by drawing it: a character that a font lacks looks like every other one.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from PIL import ImageFont

from kon.core.errors import ConfigurationError

OWN: Final = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
"""DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew, and symbols."""

_NOWHERE: Final = "\uffff"
"""No character, so that no font has it."""
_TRIED_PX: Final = 24
_UNDRAWN: Final = frozenset({"Cc", "Cf", "Mn", "Me", "Zl", "Zp", "Zs"})
"""Categories of characters that may look like nothing, or join the one before them."""
_FONTCONFIG_S: Final = 10.0


class Face(NamedTuple):
    """A font file. number: of the font within a collection, from 0. digest: of the file, SHA-256."""

    file: str
    number: int = 0
    digest: str = ""

    def at(self, size_px: float) -> ImageFont.FreeTypeFont:
        return _loaded(self, size_px)

    def has(self, character: str) -> bool:
        return unicodedata.category(character) in _UNDRAWN or _has(self, character)


class TextRun(NamedTuple):
    """Part of a text that one font has."""

    text: str
    face: Face


class Fonts:
    """first: the name of a family, or of a file; empty for kon's own."""

    def __init__(self, first: str = "") -> None:
        """Raises ConfigurationError where there is no such font."""
        self._faces = [*([_named(first)] if first else []), Face(str(OWN))]

    def digests(self, texts: Iterable[str]) -> list[str]:
        """What tells the fonts of these texts from others, for a video's key. kon's own is left out."""
        faces = {run.face for text in texts for run in self.runs(text)[0]}
        return sorted(f"{face.digest} {face.number}" for face in faces if face.file != str(OWN))

    def runs(self, text: str) -> tuple[list[TextRun], str]:
        """The text in parts, each with its font; and the characters that no font has, each once.

        A text that one font has whole stays whole, so that what is written from the right is set in order.
        """
        for face in self._faces:
            if all(face.has(character) for character in text):
                return [TextRun(text, face)], ""
        runs: list[TextRun] = []
        missing = ""
        for character in text:
            before = runs[-1].face if runs else self._faces[0]
            found = self._face_of(character, before)
            if found is None and character not in missing:
                missing += character
            face = found or before
            if runs and runs[-1].face == face:
                runs[-1] = TextRun(runs[-1].text + character, face)
            else:
                runs.append(TextRun(character, face))
        return runs, missing

    def _face_of(self, character: str, before: Face) -> Face | None:
        if unicodedata.category(character) in _UNDRAWN:
            return before
        for face in self._faces:
            if face.has(character):
                return face
        found = _of_system(character)
        return found if found is not None and found.has(character) else None


@functools.lru_cache(maxsize=64)
def _loaded(face: Face, size_px: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(face.file, size_px, face.number)


@functools.lru_cache(maxsize=4_096)
def _has(face: Face, character: str) -> bool:
    try:
        font = face.at(_TRIED_PX)
        shown, nothing = font.getmask(character), font.getmask(_NOWHERE)
    except OSError:  # a font of bitmaps, such as of emoji, has no such size
        return False
    return (shown.size, bytes(shown)) != (nothing.size, bytes(nothing))


def _named(name: str) -> Face:
    if os.sep in name or Path(name).suffix.lower() in (".ttf", ".otf", ".ttc"):
        try:
            ImageFont.truetype(name, _TRIED_PX)
        except OSError as error:
            raise ConfigurationError(f"caption_font: {name:.300} can't be used as a font: {error}") from error
        return _face(name)
    said = _asked("%{family}|%{file}|%{index}", name)
    if said is None:
        raise ConfigurationError(
            f'caption_font: the font "{name:.80}" can\'t be looked for, as there is no fc-match on PATH; '
            "install fontconfig on each host with workers, or name a font's file"
        )
    families, file, index = said
    if name.casefold() not in families.casefold().split(","):
        raise ConfigurationError(
            f'caption_font: there is no font "{name:.80}" here (the nearest is "{families}"); '
            "`fc-list` lists them"
        )
    return _face(file, int(index or 0))


def _of_system(character: str) -> Face | None:
    found = _file_of_system(character)
    return None if found is None else _face(*found)


@functools.lru_cache(maxsize=4_096)
def _file_of_system(character: str) -> tuple[str, int] | None:
    said = _asked("%{family}|%{file}|%{index}", f":charset={ord(character):x}:scalable=true:color=false")
    return None if said is None else (said[1], int(said[2] or 0))


def _face(file: str, number: int = 0) -> Face:
    """The font as its file is now: one that has changed is loaded again, and makes other videos."""
    try:
        found = os.stat(file)  # noqa: PTH116 - as fontconfig writes it
    except OSError as error:
        raise ConfigurationError(f"caption_font: {file:.300} can't be read: {error.strerror}") from error
    return Face(file, number, _digest(file, (found.st_ino, found.st_mtime_ns, found.st_size)))


@functools.lru_cache(maxsize=64)
def _digest(file: str, version: tuple[int, int, int]) -> str:
    """version: tells one content of the file from another, so that a file is read once."""
    with open(file, "rb") as content:  # noqa: PTH123
        return hashlib.file_digest(content, "sha256").hexdigest()


def _asked(form: str, pattern: str) -> tuple[str, str, str] | None:
    """What fontconfig says of the font that fits best; None where it is not installed."""
    program = shutil.which("fc-match")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-f", form, "--", pattern],
            capture_output=True,
            text=True,
            timeout=_FONTCONFIG_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    families, _, rest = done.stdout.partition("|")
    file, _, index = rest.partition("|")
    return (families, file, index) if file else None
