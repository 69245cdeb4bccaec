"""Pictures to try things out with: landscapes that nobody has seen, the same ones on every machine.

They have the detail of photos, so that they take as long to decode and to encode.
"""

from __future__ import annotations

import colorsys
import functools
import io
import random
from itertools import pairwise
from typing import Final

from PIL import Image, ImageDraw, ImageFont, ImageOps

from kon.kinds.video.jobfile import PICTURES

SIZES: Final = ((1440, 1080), (1920, 1080), (1080, 1440), (1600, 1200), (1300, 1300))

_RIDGES: Final = 3


@functools.lru_cache(maxsize=PICTURES)
def picture(number: int) -> bytes:
    """A JPEG of some 300 KB: hills under a sky, and its number."""
    rng = random.Random(number)
    width, height = SIZES[number % len(SIZES)]
    hue = rng.random()
    ground, clouds = _texture(rng, width, height), _texture(rng, width, height)
    sky = Image.blend(Image.linear_gradient("L").resize((width, height)), clouds, 0.3)
    image = ImageOps.colorize(sky, _colour(hue, 0.7, 0.35), _colour(hue + 0.1, 0.25, 1))
    for ridge in range(_RIDGES):
        near = (ridge + 1) / _RIDGES
        mask = Image.new("L", (width, height), 0)
        ImageDraw.Draw(mask).polygon(_hills(rng, width, height, 0.3 + 0.5 * near), fill=255)
        dark, bright = _colour(hue + 0.45, 0.6, 0.05), _colour(hue + 0.4 + 0.1 * near, 0.5, 1 - 0.5 * near)
        image.paste(ImageOps.colorize(ground, dark, bright), mask=mask)
    _sign(image, str(number))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85, progressive=number % 7 == 0)
    return out.getvalue()


def _texture(rng: random.Random, width: int, height: int) -> Image.Image:
    """A part of the noise, turned one way or another."""
    noise = _noise()
    left, top = rng.randrange(noise.width - width), rng.randrange(noise.height - height)
    part = noise.crop((left, top, left + width, top + height))
    return part if rng.random() < 0.5 else ImageOps.mirror(part)


@functools.cache
def _noise() -> Image.Image:
    """Fractal noise: octaves of random grey, each finer and fainter than the one before."""
    rng, side = random.Random(0), 2_048
    noise, share = Image.new("L", (side, side), 128), 0.7
    for cells in (8, 24, 72, 216, 648, 1296):
        octave = Image.frombytes("L", (cells, cells), rng.randbytes(cells * cells))
        noise = Image.blend(noise, octave.resize(noise.size, Image.Resampling.BICUBIC), share)
        share = max(0.12, share * 0.5)
    return ImageOps.autocontrast(noise)


def _hills(rng: random.Random, width: int, height: int, level: float) -> list[tuple[float, float]]:
    """A ridge by midpoint displacement, closed along the foot of the picture."""
    heights, spread = [level + rng.uniform(-0.1, 0.1) for _ in range(2)], 0.16
    while len(heights) < 257:
        between = [(left + right) / 2 + rng.uniform(-spread, spread) for left, right in pairwise(heights)]
        heights = [each for pair in zip(heights, between) for each in pair] + heights[-1:]
        spread *= 0.52
    line = [(width * place / (len(heights) - 1), height * each) for place, each in enumerate(heights)]
    return [(0, height), *line, (width, height)]


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * share) for share in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return red, green, blue


def _sign(image: Image.Image, text: str) -> None:
    size = image.height * 0.12
    ImageDraw.Draw(image).text(
        (image.width * 0.95, image.height * 0.08),
        text,
        fill="white",
        font=ImageFont.load_default(size),
        anchor="ra",
        stroke_width=max(1, int(size / 20)),
        stroke_fill="black",
    )
