"""GIFs: each picture with a palette of its own, held for its time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.filter import Graph

from kon.kinds.video.caption import Overlay
from kon.kinds.video.encode import Encoder, Prepared, at
from kon.kinds.video.film import MIDDLE, Film, Place
from kon.kinds.video.moves import Picture, Shot, frame_at, spans
from kon.kinds.video.planes import frame_of, planes_of
from kon.kinds.video.times import Times

TICKS_S: Final = 100
"""Ticks in a second of GIF's clock."""


class GifEncoder(Encoder):
    def __init__(self, path: Path, film: Film, times: Times) -> None:
        super().__init__(path, film, times, {})
        self.file.encoder.open()

    def prepare(
        self, frame: av.VideoFrame, caption: Overlay | None = None, focus: Place | None = MIDDLE
    ) -> Prepared:
        planes = planes_of(frame)
        if caption is not None and (self.film.zoom == 1 or focus is None):
            planes, caption = caption.over(planes), None
            frame = frame_of(planes)
        grows = self.film.zoom > 1 and focus is not None
        return Prepared(Picture(planes, caption, focus), None if grows else paletted(frame))

    def _take(self, prepared: Prepared, shot: Shot | None, frames: int) -> None:
        assert shot is not None, "each picture is kept"
        last, grows = shot.following is None, shot.picture.focus is not None
        head, still, _ = spans(frames, self.film, shot.first, last, grows)
        for number in range(frames):
            if self.stopped:
                return
            if not head <= number < head + still:
                self._show(paletted(frame_of(frame_at(shot, number, self.film))), number, 1)
            elif number == head:
                self._show(prepared.coded, number, still)

    def _show(self, frame: av.VideoFrame, number: int, frames: int) -> None:
        # by the time since the beginning, so that what is cut off a time to make ticks of it never adds up
        begin, end = (
            round(Fraction(self.frames_made + made) / self.film.rate * TICKS_S)
            for made in (number, number + frames)
        )
        frame.time_base = Fraction(1, TICKS_S)
        for packet in self.file.encoder.encode(at(frame, begin)):
            packet.duration = end - begin
            self.file.write([packet])  # a frame may be a megabyte

    def _packets(self) -> list[av.Packet[Any]]:
        return []


def paletted(frame: av.VideoFrame) -> av.VideoFrame:
    """A picture in the 256 colours that suit it best. Dots in a fixed pattern stand for those between."""
    graph = Graph()
    if hasattr(graph, "threads"):
        graph.threads = 1
    begin = graph.add(
        "buffer",
        f"video_size={frame.width}x{frame.height}:pix_fmt=yuv420p:time_base=1/1:pixel_aspect=1/1"
        ":colorspace=bt709:range=tv",
    )
    colours = graph.add(
        "scale", "in_color_matrix=bt709:in_range=tv:out_range=pc:flags=accurate_rnd+full_chroma_int"
    )
    rgb = graph.add("format", "bgra")
    both = graph.add("split")
    palette = graph.add("palettegen", "stats_mode=single")
    used = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3")
    end = graph.add("buffersink")
    graph.link_nodes(begin, colours, rgb, both)
    both.link_to(palette, 0, 0)
    both.link_to(used, 1, 0)
    palette.link_to(used, 0, 1)
    used.link_to(end, 0, 0)
    graph.configure()
    graph.push(frame)
    graph.push(None)
    made = graph.pull()
    assert isinstance(made, av.VideoFrame)
    return made
