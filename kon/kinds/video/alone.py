"""Pictures that are coded alone, each as an IDR picture, by encoders that are used again.

x264 computes tables as it is set up, which takes a seventh of the time that a picture does. An encoder
numbers its pictures 0 and 1 in turn, and nothing else in them depends on what it coded before: with the
number made 0, a picture comes out the same whatever else is in the video.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Final, NamedTuple

import av
import msgspec
from av.video.codeccontext import VideoCodecContext
from PIL import Image

from kon.core.errors import KindError
from kon.kinds.video.bits import START, numbered_0, slice_of
from kon.kinds.video.encode import intra
from kon.kinds.video.film import Film
from kon.kinds.video.grain import FINER, is_grainy
from kon.kinds.video.planes import Planes, frame_of
from kon.kinds.video.videofile import new_encoder


class _Used(NamedTuple):
    """pictures: that it has coded."""

    encoder: VideoCodecContext
    pictures: int


class Alone:
    """Codes pictures for one look. May be used by several threads at once, and has an encoder for each."""

    def __init__(self, film: Film) -> None:
        self._film = film
        self._free: defaultdict[int, list[_Used]] = defaultdict(list)
        """Encoders at rest, by their quantisers."""

    def coded(self, frame: av.VideoFrame) -> bytes:
        """A picture with grain is coded better, so that it is as much like its source as others."""
        qp = round(self._film.crf)
        return self.with_qp(frame, max(1, qp - FINER) if is_grainy(frame) else qp)

    def with_qp(self, frame: av.VideoFrame, qp: int) -> bytes:
        """qp: x264's quantiser. Given, x264 does not look at the whole picture before it begins: a sixth of
        its time."""
        try:
            encoder, pictures = self._free[qp].pop()
        except IndexError:
            # its tables of motion cost 0.3 ms
            encoder, pictures = encoder_of(self._film, 1, parameters=f"qp={qp}:mvrange=32"), 0
        packets = encoder.encode(intra(frame, pictures))
        if len(packets) != 1:
            raise unusual(f"{len(packets)} pictures of one")
        unit = slice_of(bytes(packets[0]))
        self._free[qp].append(_Used(encoder, pictures + 1))
        return START + (numbered_0(unit) if pictures % 2 else unit)


_SMALL: Final = (64, 32, 32)
"""Sides of the planes of a small picture."""


def check_alone(film: Film, interval: int) -> None:
    """Raises KindError where a picture coded alone is not the one that the file's options describe.

    It is told by a small picture. interval: frames of each picture in the file.
    """
    film = msgspec.structs.replace(film, size="{0}x{0}".format(*_SMALL))
    rng, qp = random.Random(1), round(film.crf)  # where nothing is, options make no difference
    picture = frame_of(
        Planes(*(Image.frombytes("L", (side, side), rng.randbytes(side * side)) for side in _SMALL))
    )
    followed = encoder_of(film, interval, parameters=f"qp={qp}")
    wanted = slice_of(bytes([*followed.encode(intra(picture, 0)), *followed.encode(None)][0]))
    alone = Alone(film)
    for number in ("first", "second", "third"):
        if alone.with_qp(picture, qp) != START + wanted:
            raise unusual(
                f"another picture where it is the only one than where others follow, as its {number}"
            )


def encoder_of(film: Film, interval: int, threads: int = 1, parameters: str = "") -> VideoCodecContext:
    """A fresh encoder, with the options of the file's own but for how many frames follow a picture.

    Where none does, x264 does without the decoded picture, which the next one would refer to: a tenth of its
    time. The coded picture is the same, bit for bit. parameters: more of x264's own.
    """
    return new_encoder(film, {**skip_options(interval, parameters), "threads": str(threads)})


def skip_options(interval: int, parameters: str = "") -> dict[str, str]:
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


def unusual(made: str) -> KindError:
    return KindError(
        f"x264 made {made}, which can't be copied; say repeat: encode, and tell kon's authors of your "
        "version of PyAV"
    )
