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
from kon.kinds.video.videofile import VideoFile, configure


class Encoder(ABC):
    """Makes one video file. `prepare` may run in several threads at once, the others in one at a time."""

    ahead: ClassVar[int | None]
    """How many pictures may be prepared before the one that is next in order; None for any number."""

    def __init__(self, path: Path, film: Film, options: dict[str, str]) -> None:
        self._film = film
        self._file = VideoFile(path, film, options)
        self._pictures = 0
        self._stopped = False

    @abstractmethod
    def prepare(self, frame: av.VideoFrame, caption: Overlay | None = None) -> Any:
        """What can be done for a picture, a yuv420p frame of the film's size, whatever its place is."""

    @abstractmethod
    def add(self, prepared: Any) -> None:
        """The next picture in order."""

    @abstractmethod
    def _packets(self) -> list[av.Packet[Any]]:
        """All the coded frames, in order, when the last picture has been added."""

    def finish(self, sound: bytes | None) -> float:
        """Write the file, with a sound file's content; returns its duration in seconds. Raises KindError
        for what is no sound."""
        duration_s = self._pictures * self._film.image_s
        packets = self._packets()
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


def make_encoder(path: Path, film: Film) -> Encoder:
    return SkipEncoder(path, film) if film.way == "skip" else FrameEncoder(path, film)


class SkipEncoder(Encoder):
    ahead = None

    def __init__(self, path: Path, film: Film) -> None:
        super().__init__(path, film, _skip_options(film.image_frames))
        self._file.encoder.open()
        self._skips = _skipped_frames(film, film.image_frames)
        self._coded: list[bytes] = []

    def prepare(self, frame: av.VideoFrame, caption: Overlay | None = None) -> bytes:
        if caption is not None:
            frame = frame_of(caption.over(planes_of(frame)))
        return _coded(frame, self._film)

    def add(self, prepared: bytes) -> None:
        self._coded.append(prepared)
        self._pictures += 1

    def _packets(self) -> list[av.Packet[Any]]:
        return list(self._frames())

    def _frames(self) -> Iterator[av.Packet[Any]]:
        number = 0
        for coded in self._coded:
            for content in (coded, *self._skips):
                packet = av.Packet(content)
                packet.pts = packet.dts = number
                packet.duration = 1
                packet.is_keyframe = content is coded
                number += 1
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

    def __init__(self, path: Path, film: Film) -> None:
        options = {"g": str(max(film.fps, film.image_frames)), "threads": str(os.cpu_count() or 1)}
        super().__init__(path, film, options)
        self._made: list[av.Packet[Any]] = []
        self._waiting: Picture | None = None
        self._number = 0

    def prepare(self, frame: av.VideoFrame, caption: Overlay | None = None) -> Picture:
        return Picture(planes_of(frame), caption)

    def add(self, prepared: Picture) -> None:
        before, self._waiting = self._waiting, prepared  # an image's end takes the one after it
        self._pictures += 1
        if before is not None:
            self._encode(before, prepared)

    def _packets(self) -> list[av.Packet[Any]]:
        if self._waiting is not None:
            self._encode(self._waiting, None)
        self._made += self._file.encoder.encode(None)
        return self._made

    def _encode(self, picture: Picture, following: Picture | None) -> None:
        encoder = self._file.encoder
        for place, moved in enumerate(frames_between(picture, following, self._film)):
            if self._stopped:
                return
            frame = frame_of(moved)
            frame = _intra(frame, self._number) if place == 0 else _at(frame, self._number)
            self._made += encoder.encode(frame)
            self._number += 1


def _at(frame: av.VideoFrame, number: int) -> av.VideoFrame:
    frame.pts = number
    return frame


def _intra(frame: av.VideoFrame, number: int) -> av.VideoFrame:
    frame.pict_type = PictureType.I
    return _at(frame, number)
