"""Frames as Pillow sees them: one grey image for each of the planes Y, Cb and Cr.

Pillow's operations on single bytes serve for all that is done to a frame, without a way through RGB.

A decoded picture is brought onto the video's canvas: to its size, upright, in BT.709, letterboxed.
libavfilter does it all, in C and outside Python's lock. swscale alone, asked to go from BT.601 to BT.709,
takes a way through RGB, at twice the time, and comes out darker by more than one level. So it only scales,
and `colorspace` converts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import av
from av.filter import Graph
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageFilter

from kon.kinds.video.film import MIDDLE, Fit, Place

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


_UPRIGHT: Final = {
    2: ("hflip",),
    3: ("hflip", "vflip"),
    4: ("vflip",),
    5: ("transpose=cclock_flip",),
    6: ("transpose=clock",),
    7: ("transpose=clock_flip",),
    8: ("transpose=cclock",),
}
"""By EXIF orientation."""


class Framed(NamedTuple):
    """A picture in its frame. focus: where the focus of the picture is in the frame."""

    frame: av.VideoFrame
    focus: Place


class Canvas:
    """What pictures are brought onto. May be used by several threads at once."""

    def __init__(
        self, width: int, height: int, background: tuple[int, int, int], fit: Fit = "letterbox"
    ) -> None:
        """`background`: what a picture does not cover, as RGB."""
        self._fit = fit
        self._size = (width, height)
        self._colour = "0x{:02x}{:02x}{:02x}".format(*background)

    def of_yuv(
        self,
        frame: av.VideoFrame,
        size: tuple[int, int],
        orientation: int,
        full_range: bool,
        focus: Place = MIDDLE,
    ) -> Framed:
        """A picture in BT.601, as JPEG and WebP have it. `size`: that it is brought to, as it lies."""
        span = "pc" if full_range else "tv"
        scaled = [
            f"scale={size[0]}:{size[1]}:flags=bicubic:in_range={span}:out_range={span}",
            "format=yuv420p",
        ]
        turned = _UPRIGHT.get(orientation, ())
        # the same primaries and curve on both sides: only the matrix and the range differ
        converted = (
            f"colorspace=ispace=bt470bg:iprimaries=bt709:itrc=bt709:irange={span}"
            ":all=bt709:range=tv:format=yuv420p:fast=1"
        )
        upright = size if orientation < 5 else size[::-1]
        source = f"colorspace=bt470bg:range={span}"
        frame.colorspace, frame.color_range = 5, 2 if full_range else 1  # or libavfilter wonders at it
        boxed, place = self._boxed(upright, focus)
        made = _filtered(frame, source, [*scaled, *turned, converted, *boxed])
        return Framed(self._on_blurred(made), place)

    def of_rgb(self, frame: av.VideoFrame, focus: Place = MIDDLE) -> Framed:
        """A picture in sRGB that is upright, and as large as it will be."""
        converted = ["scale=flags=area:out_color_matrix=bt709:out_range=tv", "format=yuv420p"]
        boxed, place = self._boxed((frame.width, frame.height), focus)
        made = _filtered(frame, "colorspace=gbr:range=pc", [*converted, *boxed])
        return Framed(self._on_blurred(made), place)

    def _on_blurred(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._fit != "blur" or (frame.width, frame.height) == self._size:
            return frame
        return frame_of(on_blurred(planes_of(frame), self._size))

    def _boxed(self, size: tuple[int, int], focus: Place) -> tuple[list[str], Place]:
        """The filters that bring a picture of that size into the frame; and where its focus comes to be."""
        width, height = self._size
        if self._fit == "crop":
            left, top = (
                _cut(side, whole, share) for side, whole, share in zip(self._size, size, focus, strict=True)
            )
            filters = [f"crop={width}:{height}:{left}:{top}"]
            left, top = -left, -top
        else:
            left, top = even_place(size, self._size)
            filters = [f"pad={width}:{height}:{left}:{top}:{self._colour}"]
        place = ((left + size[0] * focus[0]) / width, (top + size[1] * focus[1]) / height)
        return ([] if size == self._size or self._fit == "blur" else filters), place


def _cut(side: int, whole: int, share: float) -> int:
    """What is cut off before the part of a length that has the focus in its middle, as far as that goes."""
    most = whole - side
    if share == 0.5:
        return most // 4 * 2
    return min(max(0, round(whole * share - side / 2)), most) // 2 * 2


def _filtered(frame: av.VideoFrame, source: str, filters: list[str]) -> av.VideoFrame:
    """The frame that comes out, tagged with its colours. `source`: what there is to say of the one given."""
    graph = new_graph()
    size = f"video_size={frame.width}x{frame.height}"
    begin = f"buffer={size}:pix_fmt={frame.format.name}:time_base=1/1:pixel_aspect=1/1:{source}"
    nodes = []
    for said in (begin, *filters, "buffersink="):
        name, _, options = said.partition("=")
        nodes.append(graph.add(name, options or None))
    graph.link_nodes(*nodes)
    made = through(graph, frame)
    for name, code in COLOURS.items():
        setattr(made, name, code)
    return made


def new_graph() -> Graph:
    """One that works on this thread alone."""
    graph = Graph()
    if hasattr(graph, "threads"):  # older PyAVs leave it to libavfilter, which starts a few for each picture
        graph.threads = 1
    return graph


def through(graph: Graph, frame: av.VideoFrame) -> av.VideoFrame:
    """The frame that comes out of a graph whose filters are linked, once this one has gone in."""
    graph.configure()
    graph.push(frame)
    graph.push(None)
    made = graph.pull()
    assert isinstance(made, av.VideoFrame)
    return made
