"""Encoders: what makes one video file of pictures that come in order.

Three ways: `SkipEncoder` (kon/kinds/video/skip.py) codes each picture once, `FrameEncoder` makes and encodes
every frame, one after another, as other programs do, and `GifEncoder` (kon/kinds/video/gif.py) holds each
picture for its time. `kon.kinds.video.job` chooses.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from math import ceil
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
from av.video.frame import PictureType

from kon.kinds.video.caption import Overlay
from kon.kinds.video.film import MIDDLE, Film, Place
from kon.kinds.video.moves import Picture, Shot, frame_at, spans
from kon.kinds.video.planes import frame_of, planes_of
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
