"""Pictures that are coded alone, each as an IDR picture, by encoders that are used again.

x264 computes tables as it is set up, which takes a seventh of the time that a picture does. An encoder
numbers its pictures 0 and 1 in turn, and nothing else in them depends on what it coded before: with the
number made 0, a picture comes out the same whatever else is in the video.

Coded pictures are changed bit by bit (ITU-T H.264, 7.3.3 and 7.4.1). A picture's bytes are a NAL unit: a byte
of its type, then a slice. A 3 stands in it wherever two zeros and what follows would look like the start of
the next unit; it goes before a change, and comes back after it.

Grain is faint and everywhere. A quantiser that leaves edges as they are wipes it out, and the picture is less
like its source: SSIM .94 where others have .98. Such pictures are few, and a look at parts of them tells.
"""

from __future__ import annotations

import functools
import random
import re
from collections import defaultdict
from typing import Final, NamedTuple

import av
import msgspec
from av.video.codeccontext import VideoCodecContext
from PIL import Image, ImageChops, ImageFilter

from kon.core.errors import KindError
from kon.kinds.video.encode import intra
from kon.kinds.video.film import Film
from kon.kinds.video.planes import Planes, frame_of
from kon.kinds.video.videofile import new_encoder

START: Final = b"\0\0\0\1"
"""What stands before a unit."""

FINER: Final = 5
"""By how much the quantiser of a picture with grain is less. With 4, SSIM of the grainiest of 38 wallpapers
is .963, and .96 is the aim."""


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


_ID_AT: Final = 8 + 13
"""Bits before the number of a picture that is coded alone: the unit's type, then where the slice begins
(1 bit), its type (7), its parameters (1) and the frame's number (4)."""
_LIKE_A_START: Final = re.compile(rb"\0\0(?=[\0-\3])")


def slice_of(coded: bytes) -> bytes:
    """A picture's slice, without x264's options, which stand as text before the first that it codes."""
    return coded.rpartition(START[1:])[2]


def numbered_0(unit: bytes) -> bytes:
    """A picture that has the number 1, as every other one of an encoder's has, with the number 0."""
    plain = _without_threes(unit)
    after = 8 * len(plain) - _ID_AT - 3  # 1 is written as 010, and 0 as 1
    bits = int.from_bytes(plain)
    made = ((bits >> (after + 3) << 1 | 1) << after | bits & ((1 << after) - 1)) << 2
    return _with_threes(made.to_bytes(len(plain)).rstrip(b"\0"))


def skipping(unit: bytes, macroblocks: int) -> bytes:
    """A picture whose one macroblock is skipped, made one of `macroblocks`. Raises ValueError for another."""
    bits = "".join(f"{each:08b}" for each in _without_threes(unit))
    head, end, _ = bits.rpartition("1")
    if not head.endswith(_number(1)):
        raise ValueError("its macroblock is not skipped")
    made = head.removesuffix(_number(1)) + _number(macroblocks) + end
    made += "0" * (-len(made) % 8)
    return _with_threes(int(made, 2).to_bytes(len(made) // 8))


def _number(value: int) -> str:
    """As `ue(v)` (9.1): as many zeros as there are bits after the first."""
    return f"{value + 1:b}".zfill(2 * (value + 1).bit_length() - 1)


def _without_threes(unit: bytes) -> bytes:
    return unit.replace(b"\0\0\3", b"\0\0")


def _with_threes(plain: bytes) -> bytes:
    return _LIKE_A_START.sub(b"\0\0\3", plain)


_GRAINY: Final = 0.94
"""SSIM that `_expected` gives. Two of 98 photos and wallpapers have less, and one of them needs more."""
_PARTS: Final = 4
_PART: Final = 64
"""Parts of a picture that are looked at, each way, and their side in pixels."""

_WINDOW: Final = 8
"""Pixels each way, over which SSIM compares."""

_TIMES: Final = 8
_MAGNIFIED: Final = [min(255, _TIMES * level) for level in range(256)]
"""So that the mean of a window keeps fractions of a level."""


def is_grainy(frame: av.VideoFrame) -> bool:
    """Whether a yuv420p frame would lose more than others as it is coded. It takes half a millisecond."""
    plane = frame.planes[0]
    size = (plane.width, plane.height)
    luma = Image.frombuffer("L", size, memoryview(plane), "raw", "L", plane.line_size, 1)  # type: ignore[arg-type]
    if min(luma.size) < _PART:
        return False
    parts = Image.new("L", (_PARTS * _PART, _PARTS * _PART))
    for place in range(_PARTS**2):
        across, down = place % _PARTS, place // _PARTS
        left = (luma.width - _PART) * (2 * across + 1) // (2 * _PARTS)
        top = (luma.height - _PART) * (2 * down + 1) // (2 * _PARTS)
        parts.paste(luma.crop((left, top, left + _PART, top + _PART)), (across * _PART, down * _PART))
    detail = ImageChops.difference(parts, parts.filter(ImageFilter.BoxBlur(1)))
    counts = detail.point(_MAGNIFIED).reduce(_WINDOW).histogram()
    return sum(map(float.__mul__, map(float, counts), _expected())) / sum(counts) < _GRAINY


_NOISE: Final = 8.0
"""Variance that a quantiser takes from a window, at most, at crf 25: in levels, squared."""
_C2: Final = (0.03 * 255) ** 2
"""The constant of SSIM (Wang et al., 2004)."""


@functools.cache
def _expected() -> list[float]:
    """SSIM of a window, by the mean of its magnified detail."""
    expected = []
    for level in range(256):
        variance = (1.2533 * level / _TIMES) ** 2  # of a normal distribution with that mean deviation
        lost = min(variance, _NOISE)  # faint detail is lost whole, and strong detail keeps the rest
        expected.append((2 * (variance - lost) + _C2) / (2 * variance - lost + _C2))
    return expected
