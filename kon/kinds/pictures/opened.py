"""The one place where Pillow opens an image that came from somewhere, and how it is made upright."""

from __future__ import annotations

import functools
import io
from typing import Final

from PIL import Image

from kon.kinds.pictures.header import Header, Type
from kon.kinds.web.limits import BadImage

TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation. From 5 on a picture is on its side."""


# Pillow warns of images beyond 89 megapixels. kon reads headers by itself, and bounds the memory they take.
Image.MAX_IMAGE_PIXELS = None

_FORMATS: Final[dict[Type, str]] = {
    **{kind: kind.upper() for kind in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF")},
    "HEIC": "HEIF",
}
"""Pillow's name of each type."""


def opened(data: bytes, header: Header) -> Image.Image:
    """The image, not yet decoded, by the decoder of its type and no other.

    Raises BadImage where this Python has no decoder for it, and whatever broken data lead Pillow into.
    """
    if header.type == "HEIC":
        _take_heic()
    return Image.open(io.BytesIO(data), formats=[_FORMATS[header.type]])


@functools.cache
def _take_heic() -> None:
    try:
        import pi_heif
    except ImportError as error:
        raise BadImage(
            "it is a HEIC, and this Python lacks pi-heif, which decodes those; install it on each host with "
            "workers: pip install pi-heif"
        ) from error
    pi_heif.register_heif_opener(thumbnails=False)
