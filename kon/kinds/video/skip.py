"""Pictures that are coded once: the rest of their time costs next to nothing.

A second of 25 frames is one IDR picture and 24 P pictures in which every macroblock is skipped: "as in the
frame before". Those are the same bytes whatever the image is, some 10 each; they are made once, by the same
encoder with the same options, and copied. Images are encoded in any order, several at once, and come out the
same whatever else is in the video (kon/kinds/video/alone.py).

What moves for a while, such as a transition, is a stretch of frames with an encoder of its own. It begins
with an IDR picture as well, so that nothing in it depends on what comes before.
"""

from __future__ import annotations

import functools
import os
from math import ceil
from pathlib import Path
from typing import Any, Final

import av
import msgspec
from PIL import Image

from kon.kinds.video.alone import (
    START,
    Alone,
    check_alone,
    encoder_of,
    skip_options,
    skipping,
    slice_of,
    unusual,
)
from kon.kinds.video.caption import Overlay
from kon.kinds.video.encode import Encoder, Prepared, at
from kon.kinds.video.film import MIDDLE, Film, Place
from kon.kinds.video.moves import FrameSpans, Picture, Shot, frame_at, spans
from kon.kinds.video.planes import Planes, frame_of, planes_of
from kon.kinds.video.times import Times


class SkipEncoder(Encoder):
    def __init__(self, path: Path, film: Film, times: Times) -> None:
        super().__init__(path, film, times, skip_options(times.longest))
        self._skips = _skipped_frames(_coding(film), times.longest)
        self._interval = times.longest
        self._alone = Alone(_coding(film))
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
        return Prepared(picture, self._alone.coded(frame))

    def _take(self, prepared: Prepared, shot: Shot | None, frames: int) -> None:
        last = shot is None or shot.following is None
        made = FrameSpans(0, frames, 0)
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
        encoder = encoder_of(self.film, self._interval, threads=os.cpu_count() or 1)
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


def apart(made: FrameSpans) -> FrameSpans:
    """The spans as they are coded, none of them one frame long.

    Each begins with an IDR picture. Two of those in a row need different numbers in their headers, and
    encoders of their own give both the same.
    """
    head, still, tail = made
    if head == 1:
        head, still = 2, still - 1
    if tail == 1:
        tail, still = 2, still - 1
    return FrameSpans(0, 0, sum(made)) if still <= 1 and head + tail else FrameSpans(head, still, tail)


def _coding(film: Film) -> Film:
    """What of a look decides how pictures are coded: jobs that differ in all else share what is made once."""
    return Film(size=film.size, fps=film.fps, preset=film.preset, crf=film.crf)


_MACROBLOCK: Final = 16
"""Pixels each way."""

_COMPARED: Final = 2
"""Skipped frames that x264 makes at the film's size as well: 8 ms each at 1080p."""


@functools.lru_cache(maxsize=32)
def _skipped_frames(film: Film, interval: int) -> tuple[bytes, ...]:
    """The P pictures that follow an IDR picture: of a grey one, as they would be of any other.

    x264 makes them of one macroblock, which is skipped; of more, only how many they are is another number.
    """
    small = msgspec.structs.replace(film, size=f"{_MACROBLOCK}x{_MACROBLOCK}")
    macroblocks = ceil(film.width / _MACROBLOCK) * ceil(film.height / _MACROBLOCK)
    try:
        skips = tuple(START + skipping(slice_of(each), macroblocks) for each in _followers(small, interval))
    except ValueError as error:
        raise unusual("a frame that is coded, where nothing moves") from error
    if list(skips[:_COMPARED]) != _followers(film, min(interval, 1 + _COMPARED)):
        raise unusual("other frames where nothing moves than are expected")
    check_alone(film, interval)
    return skips


def _followers(film: Film, interval: int) -> list[bytes]:
    """The P pictures that follow a grey picture."""
    sizes = ((film.width // share, film.height // share) for share in (1, 2, 2))
    grey = frame_of(Planes(*(Image.new("L", size, 128) for size in sizes)))
    # one quantiser: x264's own choice, which no skipped macroblock has any use for, depends on the size
    encoder = encoder_of(film, interval, parameters=f"qp={round(film.crf)}")
    packets: list[av.Packet[Any]] = []
    for number in range(interval):
        packets += encoder.encode(at(grey, number))
    packets += encoder.encode(None)
    return [bytes(packet) for packet in packets[1:]]
