"""Frames as Pillow sees them: one grey image for each of the planes Y, Cb and Cr.

Pillow's operations on single bytes serve for all that is done to a frame, without a way through RGB.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import av
from PIL import Image

COLOURS: Final = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}
"""BT.709, limited range: the codes of H.273, which libavutil uses too."""


class Planes(NamedTuple):
    """A picture in 4:2:0: `cb` and `cr` are half as wide and half as high as `y`."""

    y: Image.Image
    cb: Image.Image
    cr: Image.Image


def planes_of(frame: av.VideoFrame) -> Planes:
    """Copies of a yuv420p frame's planes."""
    return Planes(
        *(
            Image.frombytes("L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size, 1)
            for plane in frame.planes
        )
    )


def frame_of(planes: Planes) -> av.VideoFrame:
    """A new yuv420p frame, tagged with its colours."""
    frame = av.VideoFrame(*planes.y.size, "yuv420p")
    for plane, image in zip(frame.planes, planes):
        content = image.tobytes("raw", "L", plane.line_size, 1)
        plane.update(content.ljust(plane.buffer_size, b"\0"))
    for name, code in COLOURS.items():
        setattr(frame, name, code)
    return frame


def fitted(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """The largest even size within `size` for a picture of `width` to `height`, or nearly that."""
    scale = min(size[0] / width, size[1] / height)
    across, down = (
        max(2, min(most, 2 * round(side * scale / 2)))
        for side, most in zip((width, height), size, strict=True)
    )
    return across, down
