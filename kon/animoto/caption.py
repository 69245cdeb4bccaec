"""Captions: a line of text at the foot of the picture, white with a dark edge."""

from __future__ import annotations

from typing import Final

from PIL import Image, ImageDraw, ImageFont

from kon.animoto.planes import Planes

_WHITE, _BLACK, _GREY = 235, 16, 128
"""Levels of BT.709 in limited range."""
_HEIGHT: Final = 0.045
"""Of the letters, by the height of the picture."""


def captioned(planes: Planes, text: str) -> Planes:
    """The picture with the text, which is made smaller where it would be wider than the picture."""
    width, height = planes.y.size
    size = height * _HEIGHT
    edge = max(1, round(size / 12))
    letters = _mask(planes.y.size, text, size, 0)
    both = _mask(planes.y.size, text, size, edge)
    luma = planes.y.copy()
    luma.paste(_BLACK, mask=both)
    luma.paste(_WHITE, mask=letters)
    half = both.resize((width // 2, height // 2), Image.Resampling.BOX)
    chroma = [plane.copy() for plane in (planes.cb, planes.cr)]
    for plane in chroma:
        plane.paste(_GREY, mask=half)
    return Planes(luma, *chroma)


def _mask(picture: tuple[int, int], text: str, size: float, edge: int) -> Image.Image:
    """Where the letters are, and as much around them as `edge` pixels."""
    width, height = picture
    font = ImageFont.load_default(size)
    wide = font.getlength(text)
    if wide > 0.92 * width:
        font = ImageFont.load_default(size * 0.92 * width / wide)
    mask = Image.new("L", picture, 0)
    place = (width / 2, height * 0.93)
    ImageDraw.Draw(mask).text(place, text, fill=255, font=font, anchor="ms", stroke_width=edge)
    return mask
