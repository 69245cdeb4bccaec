"""Captions over the pictures, and cards before and after them.

A caption is lines of text, white with a dark edge. It lies above what moves.

A long text is wrapped, then made smaller, down to half the size, and cut off only after that.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import av
from PIL import Image, ImageColor, ImageDraw

from kon.core.errors import counted
from kon.kinds.video.film import IMAGE, Film
from kon.kinds.video.fonts import Fonts, TextRun
from kon.kinds.video.planes import Canvas, Planes, blurred, frame_of, planes_of
from kon.kinds.video.times import TITLE

_WHITE, _BLACK, _GREY = 235, 16, 128
"""Levels of BT.709 in limited range."""
_WIDE: Final = 0.92
"""Share of the picture's width that a line may take."""
_HIGH: Final = 0.25
"""Share of its height that all lines may take, before they are made smaller."""
_HIGH_ON_CARDS: Final = 0.8
_MARGIN: Final = 0.05
"""Share of its height that stays free above or below."""
_LINE: Final = 1.3
"""Height of a line, by that of its letters."""
_CONTROLS: Final = {
    code: None for code in range(0xA0) if unicodedata.category(chr(code)) == "Cc" and not chr(code).isspace()
}
_SIZES: Final = (1.0, 0.85, 0.7, 0.6, 0.5)
"""Sizes that are tried, by the one that is asked for. At half of it letters are still legible."""


class Overlay(NamedTuple):
    """A caption, to be laid over pictures. letters, both: where the letters are, and these with their edge.

    place: of the masks' upper left corner; even, as chroma samples cover two pixels each way.
    """

    letters: Image.Image
    both: Image.Image
    place: tuple[int, int]

    def over(self, planes: Planes, opacity: float = 1.0) -> Planes:
        """The picture with the caption. opacity: from 0 to 1."""
        letters, both = (_faded(mask, opacity) for mask in (self.letters, self.both))
        luma = planes.y.copy()
        luma.paste(_BLACK, self.place, both)
        luma.paste(_WHITE, self.place, letters)
        half = both.resize((both.width // 2, both.height // 2), Image.Resampling.BOX)
        place = (self.place[0] // 2, self.place[1] // 2)
        chroma = [plane.copy() for plane in (planes.cb, planes.cr)]
        for plane in chroma:
            plane.paste(_GREY, place, half)
        return Planes(luma, *chroma)


class Lettering(NamedTuple):
    """How a text is set. size, high: height of its letters, and of all its lines at most, by the frame's."""

    size: float
    high: float
    position: Literal["bottom", "middle", "top"]


def of_captions(film: Film) -> Lettering:
    return Lettering(film.caption_size, _HIGH, film.caption_position)


def of_cards(film: Film) -> Lettering:
    return Lettering(min(0.2, 2 * film.caption_size), _HIGH_ON_CARDS, "middle")


class Captions:
    """Draws texts for one look: captions, or what `lettering` says."""

    def __init__(self, film: Film, lettering: Lettering | None = None) -> None:
        """Raises ConfigurationError for a font that is not there."""
        self._film = film
        self._lettering = lettering or of_captions(film)
        self._fonts = Fonts(film.caption_font)

    def drawn(self, text: str) -> tuple[Overlay, str]:
        """The caption, and what is wrong with it, empty for nothing."""
        text = text.translate(_CONTROLS)  # for which a font would show a box
        lines, size_px = self._set(text)
        most = self._most_lines(size_px)
        wrong = []
        if len(lines) > most:
            wrong.append(f"{counted(len(lines) - most, 'line')} of it cut off")
            lines = [*lines[: most - 1], self._shortened(lines[most - 1], size_px)]
        missing = self._fonts.runs(text)[1]
        if missing:
            named = ", ".join(f"{character} (U+{ord(character):04X})" for character in missing[:5])
            wrong.append(
                f"no font here has {named} in outlines; install one on each host with workers, or name it in "
                "caption_font; for emoji there is Debian's fonts-symbola"
            )
        return self._overlay(lines, size_px), "; ".join(wrong)

    def _set(self, text: str) -> tuple[list[str], float]:
        """The text in lines, and the size of its letters in pixels: the largest in which all lines fit."""
        lines, size_px = [text], 0.0
        for share in _SIZES:
            size_px = self._film.height * self._lettering.size * share
            lines = self._lines(text, size_px)
            if len(lines) <= self._most_lines(size_px):
                return lines, size_px
        return lines, size_px

    def _most_lines(self, size_px: float) -> int:
        return max(1, int(self._film.height * self._lettering.high / (size_px * _LINE)))

    def _overlay(self, lines: list[str], size_px: float) -> Overlay:
        film = self._film
        edge = max(1, round(size_px / 12))
        high = 2 * round((len(lines) * size_px * _LINE + 2 * edge) / 2)
        free = {
            "top": _MARGIN,
            "bottom": 1 - _MARGIN - high / film.height,
            "middle": (1 - high / film.height) / 2,
        }
        top = max(0, 2 * round(film.height * free[self._lettering.position] / 2))
        masks = []
        for stroke in (0, edge):
            mask = Image.new("L", (film.width, min(high, film.height - top)), 0)
            draw = ImageDraw.Draw(mask)
            for number, line in enumerate(lines):
                runs = self._fonts.runs(line)[0]
                left = (film.width - _width(runs, size_px)) / 2
                foot = edge + (number + 1) * size_px * _LINE - 0.3 * size_px
                for run in runs:
                    font = run.face.at(size_px)
                    draw.text((left, foot), run.text, fill=255, font=font, anchor="ls", stroke_width=stroke)
                    left += font.getlength(run.text)
            masks.append(mask)
        return Overlay(masks[0], masks[1], (0, top))

    def _lines(self, text: str, size_px: float) -> list[str]:
        """The text in lines that fit: between words, and within those that are too long for a line."""
        lines = []
        for paragraph in text.splitlines() or [""]:
            line = ""
            for word in self._words(paragraph, size_px):
                longer = f"{line} {word}" if line else word
                if line and not self._fits(longer, size_px):
                    lines.append(line)
                    longer = word
                line = longer
            lines.append(line)
        return lines

    def _words(self, paragraph: str, size_px: float) -> Iterator[str]:
        for word in paragraph.split():
            part = ""
            for character in word if not self._fits(word, size_px) else ():
                if part and not self._fits(part + character, size_px):
                    yield part
                    part = ""
                part += character
            yield part or word

    def _shortened(self, line: str, size_px: float) -> str:
        while line and not self._fits(line + "…", size_px):
            line = line[:-1]
        return line.rstrip() + "…"

    def _fits(self, text: str, size_px: float) -> bool:
        return _width(self._fonts.runs(text)[0], size_px) <= _WIDE * self._film.width


def _width(runs: list[TextRun], size_px: float) -> float:
    return sum(run.face.at(size_px).getlength(run.text) for run in runs)


def _faded(mask: Image.Image, opacity: float) -> Image.Image:
    return mask if opacity >= 1 else mask.point(lambda level: level * opacity)


class Card(NamedTuple):
    """name: of the option that asks for it. background: a colour.

    image: the place of the image of the album that is its background instead, from 0; None for none.
    """

    name: str
    text: str
    background: str
    image: int | None


def card_of(film: Film, number: int) -> Card:
    """The card with that number among a job's pictures (see `Times`)."""
    name = "title" if number == TITLE else "end"
    background = getattr(film, f"{name}_background") or film.background
    image = IMAGE.fullmatch(background)
    place = None if image is None else int(image[1]) - 1
    return Card(name, getattr(film, name), film.background if image else background, place)


def plain(film: Film, colour: str) -> av.VideoFrame:
    """A frame of one colour."""
    rgb = ImageColor.getrgb(colour)[:3]
    image = Image.new("RGB", (film.width, film.height), rgb)
    frame: av.VideoFrame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
    return Canvas(film.width, film.height, rgb).of_rgb(frame).frame


def behind(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame of the film's size as a background for text."""
    return frame_of(blurred(planes_of(frame), (frame.width, frame.height)))
