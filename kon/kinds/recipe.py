"""What `image` does to a picture. For whoever only checks options, without Pillow."""

from __future__ import annotations

from typing import Literal

import msgspec

Format = Literal["jpeg", "png", "webp"]


class Recipe(msgspec.Struct, frozen=True):
    """What is done, in this order.

    resize: width and height; None for one that follows from the other. thumbnail: the largest width and
    height; a picture that is smaller stays as it is. equalize, channels, tiles, clip: see kon.kinds.image.
    """

    resize: tuple[int | None, int | None] | None = None
    thumbnail: tuple[int, int] | None = None
    equalize: Literal["global", "clahe"] | None = None
    channels: Literal["luminance", "each"] = "luminance"
    tiles: tuple[int, int] = (8, 8)
    clip: float = 2.0
    format: Format | None = None
    quality: int = 90
    max_megapixels: float = 50.0
