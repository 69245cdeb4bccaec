"""How far colours with a profile are off, at worst, over a thousand of them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from kon.kinds.pictures.header import read_header
from kon.kinds.video.decode import Decoder
from kon.kinds.video.film import Film
from tests.kinds.video.given import encoded, luma_of
from tests.kinds.video.test_decode import gamma_profile

COLOURS: Final = list(itertools.product([0, 8, 16, 32, 64, 96, 128, 192, 224, 255], repeat=3))
ACROSS: Final = 40
SIDE: Final = 16

PROFILES: Final = {
    "linear light": (1.0, 9.0),  # its curve is 13 times as steep as sRGB's in the dark, and so is the error
    "gamma 1.4": (1.4, 3.0),
    "gamma 1.8": (1.8, 2.0),
    "gamma 2.2": (2.2, 2.0),
    "gamma 2.6": (2.6, 2.0),
}
"""By its name, a profile's gamma, and the worst that a JPEG may be off: its own levels are rounded, and the
profile's curve enlarges that. What has no YCbCr in it is within one level, whatever the profile."""


def patches() -> Image.Image:
    image = Image.new("RGB", (ACROSS * SIDE, len(COLOURS) // ACROSS * SIDE))
    for number, colour in enumerate(COLOURS):
        left, top = number % ACROSS * SIDE, number // ACROSS * SIDE
        image.paste(colour, (left, top, left + SIDE, top + SIDE))
    return image


def in_srgb(colours: Sequence[tuple[int, ...]], profile: bytes) -> Image.Image:
    image = Image.new("RGB", (len(colours), 1))
    image.putdata(colours)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    assert converted is not None
    return converted


def luma(image: Image.Image) -> npt.NDArray[np.float64]:
    levels: npt.NDArray[np.float64] = (
        np.asarray(image, np.float64) @ [0.2126, 0.7152, 0.0722] * 219 / 255 + 16
    )
    return levels


def worst(form: str, profile: bytes, **options: Any) -> float:
    """Levels of luma between what a video shows of a colour, and the colour in sRGB."""
    data = encoded(patches(), form, icc_profile=profile, **options)
    size = f"{ACROSS * SIDE}x{len(COLOURS) // ACROSS * SIDE}"
    shown = luma_of(Decoder(Film(size=size)).decode(data, read_header(data)))
    middles = shown[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE].astype(np.float64).ravel()
    return float(np.abs(middles - luma(in_srgb(COLOURS, profile))[0]).max())


@pytest.mark.parametrize("name", PROFILES)
def test_a_png_is_within_a_level(name: str) -> None:
    assert worst("PNG", gamma_profile(PROFILES[name][0], named=False)) < 0.6


@pytest.mark.parametrize("name", PROFILES)
def test_a_jpeg_is_off_by_no_more_than_its_own_rounding_makes_of_it(name: str) -> None:
    gamma, most = PROFILES[name]
    assert worst("JPEG", gamma_profile(gamma, named=False), quality=100, subsampling=0) <= most


def test_the_error_of_a_jpeg_in_linear_light_is_the_formats_own() -> None:
    """Pillow, which decodes by itself, is off as much."""
    profile = gamma_profile(1.0, named=False)
    data = encoded(patches(), "JPEG", icc_profile=profile, quality=100, subsampling=0)
    decoded = np.asarray(Image.open(io.BytesIO(data)))[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE].reshape(-1, 3)
    there = [(int(red), int(green), int(blue)) for red, green, blue in decoded]
    pillows = np.abs(luma(in_srgb(there, profile)) - luma(in_srgb(COLOURS, profile))).max()
    assert worst("JPEG", profile, quality=100, subsampling=0) <= pillows + 1
