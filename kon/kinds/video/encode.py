"""Encoders: what makes one video file of pictures that come in order.

`kon.kinds.video.job` chooses one of three. `SkipEncoder` (kon/kinds/video/skip.py) codes each
picture once. `FrameEncoder` makes and encodes every frame, one after another, as other programs do.
`GifEncoder` holds each picture for its time, with a palette of its own.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
from av.video.frame import PictureType

from kon.kinds.video.caption import Overlay
from kon.kinds.video.film import MIDDLE, Film, Place
from kon.kinds.video.moves import Picture, Shot, frame_at, spans
from kon.kinds.video.planes import frame_of, new_graph, planes_of, through
from kon.kinds.video.room import give_back_all
from kon.kinds.video.times import Times
from kon.kinds.video.videofile import VideoFile, new_encoder


class Prepared(NamedTuple):
    """What can be done for a picture before its turn. picture: None where only what is coded is needed."""

    picture: Picture | None
    coded: Any = None


class Encoder(ABC):
    """Makes one video file. `prepare` may run in several threads at once, the others in one at a time."""

    def __init__(self, path: Path, film: Film, times: Times, options: dict[str, str]) -> None:
        self.film = film
        self.times = times
        self.file = VideoFile(path, film, options)
        self.frames_made = 0
        self.stopped = False
        self.first: Picture | None = None
        """The first picture, where the film wants a poster."""
        self.ahead: int | None = 6  # of 3 MB each at 1080p
        """How many pictures may be prepared before the one that is next in order; None for any number."""
        self._waiting: tuple[int, Prepared] | None = None

    @abstractmethod
    def prepare(
        self, frame: av.VideoFrame, caption: Overlay | None = None, focus: Place | None = MIDDLE
    ) -> Prepared:
        """What can be done for a picture, a yuv420p frame of the film's size, whatever its place is.

        focus: the place in the frame that stays where it is as the picture grows; None where it does not.
        """

    @abstractmethod
    def _take(self, prepared: Prepared, shot: Shot | None, frames: int) -> None:
        """Make a picture's frames. shot: None where only what is coded was prepared."""

    @abstractmethod
    def _packets(self) -> list[av.Packet[Any]]:
        """All the coded frames, in order, when the last picture has been taken."""

    def add(self, prepared: Prepared, number: int) -> None:
        """The next picture in order, by its number among the job's (see `Times`)."""
        if self._waiting is None and self.film.poster is not None:
            self.first = prepared.picture
        self._take_waiting((number, prepared))  # a picture's end takes the one after it
        self._waiting = (number, prepared)

    def finish(self, sound: bytes | None) -> float:
        """Write the file, with a sound file's content; returns its duration in seconds. Raises KindError
        for what is no sound."""
        self._take_waiting(None)
        packets = self._packets()
        duration_s = float(self.frames_made / self.film.rate)
        if sound is not None:
            self.file.add_sound(sound, duration_s)
        self.file.write(packets)
        return duration_s

    def _take_waiting(self, following: tuple[int, Prepared] | None) -> None:
        if self._waiting is None or self.stopped:
            return
        number, prepared = self._waiting
        next_number, next_prepared = following or (None, None)
        first = self.frames_made == 0
        frames = self.times.frames(number, next_number, first)
        shot = None
        if prepared.picture is not None:
            after = None if next_prepared is None else next_prepared.picture
            shot = Shot(prepared.picture, after, frames, first)
        self._take(prepared, shot, frames)
        if not self.stopped:
            self.frames_made += frames

    @property
    def damaged_s(self) -> float:
        """Seconds of the sound that could not be decoded, and are silent."""
        return self.file.damaged_s

    def stop(self) -> None:
        """Have a call that is under way in another thread end soon. What it made is of no use then."""
        self.stopped = True

    def close(self) -> None:
        """Close the file. A call that is under way must have ended."""
        self.file.close()


_REORDERED: Final = 2
"""Frames that a picture may be decoded ahead of its time, with x264's B pictures. All encoders of a file must
count alike, and x264 counts less where few frames follow."""


class FrameEncoder(Encoder):
    """Each picture has an encoder of its own here too, so that between two of them its memory is free."""

    def __init__(self, path: Path, film: Film, times: Times) -> None:
        self._options = {"g": str(max(ceil(film.rate), times.longest)), "threads": str(os.cpu_count() or 1)}
        super().__init__(path, film, times, self._options)
        self._made: list[av.Packet[Any]] = []

    def prepare(
        self, frame: av.VideoFrame, caption: Overlay | None = None, focus: Place | None = MIDDLE
    ) -> Prepared:
        planes = planes_of(frame)
        if caption is not None and (self.film.zoom == 1 or focus is None):
            planes, caption = caption.over(planes), None
        return Prepared(Picture(planes, caption, focus))

    def _take(self, prepared: Prepared, shot: Shot | None, frames: int) -> None:
        assert shot is not None, "each picture is kept"
        last, grows = shot.following is None, shot.picture.focus is not None
        head, still, _ = spans(frames, self.film, shot.first, last, grows)
        encoder = new_encoder(self.film, self._options)
        frame: av.VideoFrame | None = None
        made: list[av.Packet[Any]] = []
        for number in range(frames):
            if self.stopped:
                return
            if frame is None or not head < number < head + still:
                frame = frame_of(frame_at(shot, number, self.film))
            frame.pict_type = PictureType.I if number == 0 else PictureType.NONE
            made += encoder.encode(at(frame, self.frames_made + number))
        made += encoder.encode(None)
        del encoder
        if self.film.format == "webm":  # whose encoder leaves 180 MB in blocks that glibc would keep
            give_back_all()
        if self.film.format != "webm":  # VP9 has no pictures that wait for later ones
            for place, packet in enumerate(made):
                packet.dts = self.frames_made + place - _REORDERED
        self._made += made

    def _packets(self) -> list[av.Packet[Any]]:
        return self._made


def at(frame: av.VideoFrame, number: int) -> av.VideoFrame:
    frame.pts = number
    return frame


def intra(frame: av.VideoFrame, number: int) -> av.VideoFrame:
    frame.pict_type = PictureType.I
    return at(frame, number)


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
    graph = new_graph()
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
    return through(graph, frame)
