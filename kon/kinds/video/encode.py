"""The two ways to make frames of pictures.

`SkipEncoder`: each image is coded once, and the rest of its time costs next to nothing. A second of 25
frames is one IDR picture and 24 P pictures in which every macroblock is skipped: "as in the frame before".
Those are the same bytes whatever the image is, some 10 each; they are made once, by the same
encoder with the same options, and copied. Each image has an encoder of its own, so that images are encoded
in any order, several at once, and come out the same whatever else is in the video.

`FrameEncoder`: every frame is made and encoded, one after another, as other programs do. What moves needs
that.
"""

from __future__ import annotations

import functools
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, Final

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from PIL import Image

from kon.core.errors import KindError
from kon.kinds.video.caption import Overlay
from kon.kinds.video.film import Film
from kon.kinds.video.moves import Picture, frames_between
from kon.kinds.video.planes import Planes, frame_of, planes_of
from kon.kinds.video.times import Times
from kon.kinds.video.videofile import VideoFile, configure


class Encoder(ABC):
    """Makes one video file. `prepare` may run in several threads at once, the others in one at a time."""

    ahead: ClassVar[int | None]
    """How many pictures may be prepared before the one that is next in order; None for any number."""

    def __init__(self, path: Path, film: Film, times: Times, options: dict[str, str]) -> None:
        self._film = film
        self._times = times
        self._file = VideoFile(path, film, options)
        self._frames_made = 0
        self._stopped = False

    @abstractmethod
    def prepare(self, frame: av.VideoFrame, caption: Overlay | None = None) -> Any:
        """What can be done for a picture, a yuv420p frame of the film's size, whatever its place is."""

    @abstractmethod
    def add(self, prepared: Any, number: int) -> None:
        """The next picture in order. number: its place among the job's images, from 0."""

    @abstractmethod
    def _packets(self) -> list[av.Packet[Any]]:
        """All the coded frames, in order, when the last picture has been added."""

    def finish(self, sound: bytes | None) -> float:
        """Write the file, with a sound file's content; returns its duration in seconds. Raises KindError
        for what is no sound."""
        packets = self._packets()
        duration_s = self._frames_made / self._film.fps
        if sound is not None:
            self._file.add_sound(sound, duration_s)
        self._file.write(packets)
        return duration_s

    @property
    def damaged_s(self) -> float:
        """Seconds of the sound that could not be decoded, and are silent."""
        return self._file.damaged_s

    def stop(self) -> None:
        """Have a call that is under way in another thread end soon. What it made is of no use then."""
        self._stopped = True

    def close(self) -> None:
        """Close the file. A call that is under way must have ended."""
        self._file.close()


def make_encoder(path: Path, film: Film, times: Times) -> Encoder:
    return (SkipEncoder if film.way == "skip" else FrameEncoder)(path, film, times)


class SkipEncoder(Encoder):
    ahead = None

    def __init__(self, path: Path, film: Film, times: Times) -> None:
        super().__init__(path, film, times, _skip_options(times.longest))
        self._file.encoder.open()
        self._skips = _skipped_frames(film, times.longest)
        self._coded: list[tuple[int, bytes]] = []

    def prepare(self, frame: av.VideoFrame, caption: Overlay | None = None) -> bytes:
        if caption is not None:
            frame = frame_of(caption.over(planes_of(frame)))
        return _coded(frame, self._film)

    def add(self, prepared: bytes, number: int) -> None:
        self._coded.append((number, prepared))

    def _packets(self) -> list[av.Packet[Any]]:
        return list(self._frames())

    def _frames(self) -> Iterator[av.Packet[Any]]:
        following = [number for number, _ in self._coded[1:]]
        for (number, coded), next_number in zip_longest(self._coded, following):
            frames = self._times.frames(number, next_number, first=self._frames_made == 0)
            for content in (coded, *self._skips[: frames - 1]):
                packet = av.Packet(content)
                packet.pts = packet.dts = self._frames_made
                packet.duration = 1
                packet.is_keyframe = content is coded
                self._frames_made += 1
                yield packet


def _coded(frame: av.VideoFrame, film: Film) -> bytes:
    """A picture alone, by an encoder that makes nothing else."""
    encoder = _encoder(film, 1)
    [packet] = [*encoder.encode(_intra(frame, 0)), *encoder.encode(None)]
    return bytes(packet)


@functools.lru_cache(maxsize=8)
def _skipped_frames(film: Film, interval: int) -> tuple[bytes, ...]:
    """The P pictures that follow an IDR picture: of a grey one, as they would be of any other."""
    grey = _grey(film)
    encoder = _encoder(film, interval)
    packets: list[av.Packet[Any]] = []
    for number in range(interval):
        grey.pts = number
        packets += encoder.encode(grey)
    packets += encoder.encode(None)
    skips = tuple(bytes(packet) for packet in packets[1:])
    most_bytes = _SLICE_BYTES + film.width * film.height // _PIXELS_A_BYTE
    if len(skips) != interval - 1 or any(len(skip) > most_bytes for skip in skips):
        raise _unusual(f"frames of {max(map(len, skips), default=0)} bytes where nothing moves")
    _check_alone(film, interval)
    return skips


def _check_alone(film: Film, interval: int) -> None:
    """Raises KindError where a picture coded alone is not the one that the file's options describe."""
    picture = _grey(film)
    for plane, side in zip(
        picture.planes, (16, 8, 8), strict=True
    ):  # where nothing is, options make no difference
        rng, rows = random.Random(side), memoryview(plane)
        for row in range(side):
            rows[row * plane.line_size : row * plane.line_size + side] = rng.randbytes(side)
    followed = _encoder(film, interval)
    packets = [*followed.encode(_intra(picture, 0)), *followed.encode(None)]
    if _slice(_coded(picture, film)) != _slice(bytes(packets[0])):
        raise _unusual("another picture where it is the only one than where others follow")


def _grey(film: Film) -> av.VideoFrame:
    sizes = ((film.width // share, film.height // share) for share in (1, 2, 2))
    return frame_of(Planes(*(Image.new("L", size, 128) for size in sizes)))


def _slice(coded: bytes) -> bytes:
    """A picture without what stands before it: the options that x264 writes there, as text."""
    return coded.rpartition(b"\0\0\1")[2]


def _unusual(made: str) -> KindError:
    return KindError(
        f"x264 made {made}, which can't be copied; say repeat: encode, and tell kon's authors of your "
        "version of PyAV"
    )


def _encoder(film: Film, interval: int) -> VideoCodecContext:
    """A fresh encoder, with the options of the file's own but for how many frames follow a picture.

    Where none does, x264 does without the decoded picture, which the next one would refer to: a tenth of its
    time. The coded picture is the same, bit for bit.
    """
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    configure(encoder, film, _skip_options(interval))
    encoder.flags |= Flags.global_header
    return encoder


def _skip_options(interval: int) -> dict[str, str]:
    # Cut at each image; every P picture has the one before it, and nothing else, as its reference. CAVLC in
    # place of CABAC: a quarter less CPU time for a file that is a twentieth larger, as measured on photos.
    # Without transforms of 8x8: an eighth less, for one that is a hundredth larger.
    return {
        "forced-idr": "1",
        "x264-params": f"keyint={interval}:min-keyint={interval}:scenecut=0:bframes=0:weightp=0:ref=1"
        ":cabac=0:8x8dct=0:force-cfr=1:rc-lookahead=0:sync-lookahead=0:mbtree=0:sliced-threads=0",
        "threads": "1",
    }


_SLICE_BYTES: Final = 32
"""At most, of a slice's header."""
_PIXELS_A_BYTE: Final = 8_192
"""In CAVLC a run of skipped macroblocks is one number; in CABAC each, of 256 pixels, costs 0.07 bits. Here is
room for four times that."""


class FrameEncoder(Encoder):
    ahead = 6  # of 3 MB each at 1080p

    def __init__(self, path: Path, film: Film, times: Times) -> None:
        options = {"g": str(max(film.fps, times.longest)), "threads": str(os.cpu_count() or 1)}
        super().__init__(path, film, times, options)
        self._made: list[av.Packet[Any]] = []
        self._waiting: tuple[int, Picture] | None = None

    def prepare(self, frame: av.VideoFrame, caption: Overlay | None = None) -> Picture:
        return Picture(planes_of(frame), caption)

    def add(self, prepared: Picture, number: int) -> None:
        self._encode_waiting((number, prepared))  # an image's end takes the one after it
        self._waiting = (number, prepared)

    def _packets(self) -> list[av.Packet[Any]]:
        self._encode_waiting(None)
        self._made += self._file.encoder.encode(None)
        return self._made

    def _encode_waiting(self, following: tuple[int, Picture] | None) -> None:
        if self._waiting is None:
            return
        number, picture = self._waiting
        next_number, next_picture = following or (None, None)
        frames = self._times.frames(number, next_number, first=self._frames_made == 0)
        encoder = self._file.encoder
        for place, moved in enumerate(frames_between(picture, next_picture, frames, self._film)):
            if self._stopped:
                return
            frame = frame_of(moved)
            made = self._frames_made
            frame = _intra(frame, made) if place == 0 else _at(frame, made)
            self._made += encoder.encode(frame)
            self._frames_made += 1


def _at(frame: av.VideoFrame, number: int) -> av.VideoFrame:
    frame.pts = number
    return frame


def _intra(frame: av.VideoFrame, number: int) -> av.VideoFrame:
    frame.pict_type = PictureType.I
    return _at(frame, number)
