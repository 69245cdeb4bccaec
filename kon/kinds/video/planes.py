"""Frames as Pillow sees them: one grey image for each of the planes Y, Cb and Cr.

Pillow's operations on single bytes serve for all that is done to a frame, without a way through RGB.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import av
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageFilter

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


def fitted(width: int, height: int, size: tuple[int, int], cover: bool = False) -> tuple[int, int]:
    """The largest even size within `size` for a picture of `width` to `height`, or nearly that.

    cover: the smallest even size that covers `size` instead.
    """
    shares = (size[0] / width, size[1] / height)
    scale = max(shares) if cover else min(shares)
    wanted = [2 * round(side * scale / 2) for side in (width, height)]
    if cover:
        return max(size[0], wanted[0]), max(size[1], wanted[1])
    return max(2, min(size[0], wanted[0])), max(2, min(size[1], wanted[1]))


def on_blurred(planes: Planes, size: tuple[int, int]) -> Planes:
    """A picture in the middle of a larger frame, on itself: enlarged to cover it, blurred and darker."""
    left, top = even_place(planes.y.size, size)
    made = blurred(planes, size)
    for share, behind, plane in zip((1, 2, 2), made, planes, strict=True):
        behind.paste(plane, (left // share, top // share))
    return made


_BLUR_PX: Final = 24
"""Pixels of a frame, each way, that become one before it is blurred."""

_DIMMED: Final = 0.6
"""Share of its light that a blurred picture keeps."""

_BLACK: Final = 16
"""Level of black in limited range."""


def blurred(planes: Planes, size: tuple[int, int]) -> Planes:
    """A picture enlarged to cover a frame, blurred and darker, so that what lies on it stands out."""
    made = []
    for share, plane in zip((1, 2, 2), planes, strict=True):
        frame = (size[0] // share, size[1] // share)
        scale = max(frame[0] / plane.width, frame[1] / plane.height)
        across, down = (plane.width - frame[0] / scale) / 2, (plane.height - frame[1] / scale) / 2
        box = (across, down, plane.width - across, plane.height - down)
        few = (max(2, frame[0] // _BLUR_PX), max(2, frame[1] // _BLUR_PX))
        behind = plane.resize(few, Image.Resampling.BOX, box=box).filter(ImageFilter.GaussianBlur(1.5))
        behind = behind.resize(frame, Image.Resampling.BICUBIC)
        if share == 1:
            behind = behind.point(lambda level: _BLACK + (level - _BLACK) * _DIMMED)
        made.append(behind)
    return Planes(*made)


def rgb_of(planes: Planes) -> Image.Image:
    """The picture in sRGB."""
    frame = frame_of(planes).reformat(
        format="rgb24",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    )
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    return image


def even_place(inner: tuple[int, int], outer: tuple[int, int]) -> tuple[int, int]:
    """Where a picture stands in the middle of another. Chroma samples cover two pixels each way."""
    left, top = (abs(out - within) // 4 * 2 for within, out in zip(inner, outer, strict=True))
    return left, top
