"""Pictures that are coded once: the rest of their time costs next to nothing.

A second of 25 frames is one IDR picture and 24 P pictures in which every macroblock is skipped: "as in the
frame before". Those are the same bytes whatever the image is, some 10 each; they are made once, by the same
encoder with the same options, and copied. Each image has an encoder of its own, so that images are encoded
in any order, several at once, and come out the same whatever else is in the video.

What moves for a while, such as a transition, is a stretch of frames with an encoder of its own. It begins
with an IDR picture as well, so that nothing in it depends on what comes before.
"""

from __future__ import annotations

import functools
import os
import random
from pathlib import Path
from typing import Any, Final

import av
from av.video.codeccontext import VideoCodecContext
from PIL import Image

from kon.core.errors import KindError
from kon.kinds.video.caption import Overlay
from kon.kinds.video.encode import Encoder, Prepared, at, intra
from kon.kinds.video.film import MIDDLE, Film, Place
from kon.kinds.video.grain import FINER, is_grainy
from kon.kinds.video.moves import Picture, Shot, Spans, frame_at, spans
from kon.kinds.video.planes import Planes, frame_of, planes_of
from kon.kinds.video.times import Times
from kon.kinds.video.videofile import new_encoder


class SkipEncoder(Encoder):
    def __init__(self, path: Path, film: Film, times: Times) -> None:
        super().__init__(path, film, times, _skip_options(times.longest))
        self._skips = _skipped_frames(_coding(film), times.longest)
        self._interval = times.longest
        self._contents: list[tuple[bytes, bool]] = []
        """Each frame as it is coded, and whether it is a picture alone."""
        self._keeps = not film.still or film.poster is not None
        if not self._keeps:
            self.ahead = None

    def prepare(
        self, frame: av.VideoFrame, caption: Overlay | None = None, focus: Place | None = MIDDLE
    ) -> Prepared:
        if caption is not None:
            frame = frame_of(caption.over(planes_of(frame)))
        picture = Picture(planes_of(frame), focus=None) if self._keeps else None
        return Prepared(picture, _coded_alone(frame, self.film))

    def _take(self, prepared: Prepared, shot: Shot | None, frames: int) -> None:
        last = shot is None or shot.following is None
        made = Spans(0, frames, 0)
        if shot is not None:
            made = apart(spans(frames, self.film, shot.first, last, grows=False))
            self._add_moving(shot, range(made.head))
        if made.still:
            self._add([prepared.coded, *self._skips[: made.still - 1]])
        if shot is not None:
            self._add_moving(shot, range(frames - made.tail, frames))

    def _add_moving(self, shot: Shot, numbers: range) -> None:
        if not numbers:
            return
        encoder = _encoder(self.film, self._interval, threads=os.cpu_count() or 1)
        packets: list[av.Packet[Any]] = []
        for number in numbers:
            if self.stopped:
                return
            packets += encoder.encode(at(frame_of(frame_at(shot, number, self.film)), number))
        packets += encoder.encode(None)
        self._add([bytes(packet) for packet in packets])

    def _add(self, contents: list[bytes]) -> None:
        self._contents += [(content, place == 0) for place, content in enumerate(contents)]

    def _packets(self) -> list[av.Packet[Any]]:
        packets = []
        for number, (content, alone) in enumerate(self._contents):
            packet = av.Packet(content)
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.is_keyframe = alone
            packets.append(packet)
        return packets


def apart(made: Spans) -> Spans:
    """The spans as they are coded, none of them one frame long.

    Each begins with an IDR picture. Two of those in a row need different numbers in their headers, and
    encoders of their own give both the same.
    """
    head, still, tail = made
    if head == 1:
        head, still = 2, still - 1
    if tail == 1:
        tail, still = 2, still - 1
    return Spans(0, 0, sum(made)) if still <= 1 and head + tail else Spans(head, still, tail)


def _coding(film: Film) -> Film:
    """What of a look decides how pictures are coded: jobs that differ in all else share what is made once."""
    return Film(size=film.size, fps=film.fps, preset=film.preset, crf=film.crf)


def _coded_alone(frame: av.VideoFrame, film: Film) -> bytes:
    """A picture alone. One with grain is coded better, so that it is as much like its source as others."""
    qp = round(film.crf)
    return _coded(frame, film, max(1, qp - FINER) if is_grainy(frame) else qp)


def _coded(frame: av.VideoFrame, film: Film, qp: int) -> bytes:
    """A picture alone, by an encoder that makes nothing else.

    qp: x264's quantiser. Given, x264 does not look at the whole picture before it begins: a sixth of its
    time.
    """
    encoder = _encoder(film, 1, parameters=f"qp={qp}:mvrange=32")  # its tables of motion cost 0.3 ms
    [packet] = [*encoder.encode(intra(frame, 0)), *encoder.encode(None)]
    return bytes(packet)


@functools.lru_cache(maxsize=32)
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
    qp = round(film.crf)
    followed = _encoder(film, interval, parameters=f"qp={qp}")
    packets = [*followed.encode(intra(picture, 0)), *followed.encode(None)]
    if _slice(_coded(picture, film, qp)) != _slice(bytes(packets[0])):
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


def _encoder(film: Film, interval: int, threads: int = 1, parameters: str = "") -> VideoCodecContext:
    """A fresh encoder, with the options of the file's own but for how many frames follow a picture.

    Where none does, x264 does without the decoded picture, which the next one would refer to: a tenth of its
    time. The coded picture is the same, bit for bit. parameters: more of x264's own.
    """
    return new_encoder(film, {**_skip_options(interval, parameters), "threads": str(threads)})


def _skip_options(interval: int, parameters: str = "") -> dict[str, str]:
    # Cut at each image; every P picture has the one before it, and nothing else, as its reference. CAVLC in
    # place of CABAC: a quarter less CPU time for a file that is a twentieth larger, as measured on photos.
    # Without transforms of 8x8: an eighth less, for one that is a hundredth larger. `stitchable`: all
    # encoders have one header, whatever their quantisers are.
    more = f":{parameters}" if parameters else ""
    return {
        "forced-idr": "1",
        "x264-params": f"keyint={interval}:min-keyint={interval}:scenecut=0:bframes=0:weightp=0:ref=1"
        ":cabac=0:8x8dct=0:force-cfr=1:rc-lookahead=0:sync-lookahead=0:mbtree=0:sliced-threads=0"
        f":stitchable=1{more}",
        "threads": "1",
    }


_SLICE_BYTES: Final = 32
"""At most, of a slice's header."""
_PIXELS_A_BYTE: Final = 8_192
"""In CAVLC a run of skipped macroblocks is one number; in CABAC each, of 256 pixels, costs 0.07 bits. Here is
room for four times that."""
