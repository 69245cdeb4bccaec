"""Captions: a line of text at the foot of the picture, white with a dark edge."""

from __future__ import annotations

from typing import Final

from PIL import Image, ImageDraw, ImageFont

from kon.kinds.video.planes import Planes

_WHITE, _BLACK, _GREY = 235, 16, 128
"""Levels of BT.709 in limited range."""
_HEIGHT: Final = 0.045
"""Of the letters, by the height of the picture."""
_SMALLEST: Final = 0.5
"""Of that height, so that letters stay legible; what does not fit then is cut off."""


def captioned(planes: Planes, text: str) -> Planes:
    """The picture with the text, made smaller, and then cut off, where it would be wider than the picture."""
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
    room = 0.92 * width
    if font.getlength(text) > room:
        font = ImageFont.load_default(max(size * _SMALLEST, size * room / font.getlength(text)))
    if font.getlength(text) > room:
        while text and font.getlength(text + "…") > room:
            text = text[:-1]
        text += "…"
    mask = Image.new("L", picture, 0)
    place = (width / 2, height * 0.93)
    ImageDraw.Draw(mask).text(place, text, fill=255, font=font, anchor="ms", stroke_width=edge)
    return mask
