"""A decoded picture brought onto the video's canvas: to its size, upright, in BT.709, letterboxed.

libavfilter does it all, in C and outside Python's lock. swscale alone, asked to go from BT.601 to BT.709,
takes a way through RGB, at twice the time, and comes out darker by more than one level; so that it only
scales, and `colorspace` converts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import av
from av.filter import Graph

from kon.kinds.video.film import MIDDLE, Fit, Place
from kon.kinds.video.planes import COLOURS, even_place, frame_of, on_blurred, planes_of

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
    graph = Graph()
    if hasattr(graph, "threads"):  # older PyAVs leave it to libavfilter, which starts a few for each picture
        graph.threads = 1
    size = f"video_size={frame.width}x{frame.height}"
    begin = f"buffer={size}:pix_fmt={frame.format.name}:time_base=1/1:pixel_aspect=1/1:{source}"
    nodes = []
    for said in (begin, *filters, "buffersink="):
        name, _, options = said.partition("=")
        nodes.append(graph.add(name, options or None))
    graph.link_nodes(*nodes).configure()
    graph.push(frame)
    graph.push(None)
    made = graph.pull()
    assert isinstance(made, av.VideoFrame)
    for name, code in COLOURS.items():
        setattr(made, name, code)
    return made
