"""Pictures with grain: at one quality an encoder keeps less of them than of others.

Grain is faint and everywhere. A quantiser that leaves edges as they are wipes it out, and the picture is less
like its source: SSIM .94 where others have .98. Such pictures are few, and a look at parts of them tells.
"""

from __future__ import annotations

import functools
from typing import Final

import av
from PIL import Image, ImageChops, ImageFilter

FINER: Final = 5
"""By how much the quantiser of a picture with grain is less. With 4, SSIM of the grainiest of 38 wallpapers
is .963, and .96 is the aim."""
_GRAINY: Final = 0.94
"""SSIM that `_expected` gives. Two of 98 photos and wallpapers have less, and one of them needs more."""
_PARTS: Final = 4
_PART: Final = 64
"""Parts of a picture that are looked at, each way, and their side in pixels."""

_WINDOW: Final = 8
"""Pixels each way, over which SSIM compares."""

_TIMES: Final = 8
_MAGNIFIED: Final = [min(255, _TIMES * level) for level in range(256)]
"""So that the mean of a window keeps fractions of a level."""


def is_grainy(frame: av.VideoFrame) -> bool:
    """Whether a yuv420p frame would lose more than others as it is coded. It takes half a millisecond."""
    plane = frame.planes[0]
    size = (plane.width, plane.height)
    luma = Image.frombuffer("L", size, memoryview(plane), "raw", "L", plane.line_size, 1)  # type: ignore[arg-type]
    if min(luma.size) < _PART:
        return False
    parts = Image.new("L", (_PARTS * _PART, _PARTS * _PART))
    for place in range(_PARTS**2):
        across, down = place % _PARTS, place // _PARTS
        left = (luma.width - _PART) * (2 * across + 1) // (2 * _PARTS)
        top = (luma.height - _PART) * (2 * down + 1) // (2 * _PARTS)
        parts.paste(luma.crop((left, top, left + _PART, top + _PART)), (across * _PART, down * _PART))
    detail = ImageChops.difference(parts, parts.filter(ImageFilter.BoxBlur(1)))
    counts = detail.point(_MAGNIFIED).reduce(_WINDOW).histogram()
    return sum(map(float.__mul__, map(float, counts), _expected())) / sum(counts) < _GRAINY


_NOISE: Final = 8.0
"""Variance that a quantiser takes from a window, at most, at crf 25: in levels, squared."""
_C2: Final = (0.03 * 255) ** 2
"""The constant of SSIM (Wang et al., 2004)."""


@functools.cache
def _expected() -> list[float]:
    """SSIM of a window, by the mean of its magnified detail."""
    expected = []
    for level in range(256):
        variance = (1.2533 * level / _TIMES) ** 2  # of a normal distribution with that mean deviation
        lost = min(variance, _NOISE)  # faint detail is lost whole, and strong detail keeps the rest
        expected.append((2 * (variance - lost) + _C2) / (2 * variance - lost + _C2))
    return expected
