"""Cisco's decoder of H.264, which shares no code with FFmpeg's: `apt-get install libopenh264-7`."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

LIBRARY: Final = ctypes.util.find_library("openh264")

Planes = list[npt.NDArray[np.uint8]]

_INITIALIZE, _UNINITIALIZE, _DECODE, _FLUSH = 0, 1, 3, 5
"""Places in the table of a decoder's functions (codec_api.h): DecodeFrameNoDelay, FlushFrame among them."""
_MOST_HELD: Final = 16
"""Frames that wait for their turn at the end, at most."""
_AVC: Final = 1
"""VIDEO_BITSTREAM_SVC in codec_def.h, which is for plain AVC as well."""


class _Param(ctypes.Structure):
    """SDecodingParam."""

    _fields_ = (
        ("restructed", ctypes.c_char_p),
        ("cpu_load", ctypes.c_uint),
        ("target_layer", ctypes.c_ubyte),
        ("concealment", ctypes.c_int),
        ("parse_only", ctypes.c_bool),
        ("property_size", ctypes.c_uint),
        ("bitstream_type", ctypes.c_int),
    )


class _Info(ctypes.Structure):
    """SBufferInfo."""

    _fields_ = (
        ("status", ctypes.c_int),
        ("in_time", ctypes.c_ulonglong),
        ("out_time", ctypes.c_ulonglong),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("format", ctypes.c_int),
        ("stride", ctypes.c_int * 2),
        ("planes", ctypes.c_void_p * 3),
    )


def decoded(path: Path) -> Iterator[Planes]:
    """Each frame of a file's H.264, without concealment: broken frames are errors."""
    assert LIBRARY is not None
    library = ctypes.CDLL(LIBRARY)
    decoder = ctypes.c_void_p()
    assert library.WelsCreateDecoder(ctypes.byref(decoder)) == 0
    table = ctypes.cast(decoder, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))).contents

    def call(place: int, *args: Any) -> int:
        return ctypes.CFUNCTYPE(ctypes.c_long)(table[place])(decoder, *args)  # type: ignore[no-any-return]

    param = _Param(target_layer=255, property_size=8, bitstream_type=_AVC)
    assert call(_INITIALIZE, ctypes.byref(param)) == 0
    try:
        for unit in _units(path):
            yield from _frame(call, _DECODE, unit, ctypes.c_int(len(unit)))
        for _ in range(_MOST_HELD):
            yield from _frame(call, _FLUSH)
    finally:
        call(_UNINITIALIZE)
        library.WelsDestroyDecoder(decoder)


def _frame(call: Any, place: int, *args: Any) -> Iterator[Planes]:
    planes, info = (ctypes.c_void_p * 3)(), _Info()
    state = call(place, *args, planes, ctypes.byref(info))
    assert state == 0, f"openh264 says {state:#x}"
    if info.status == 1:
        yield [
            _plane(planes[number], info.width // share, info.height // share, info.stride[min(number, 1)])
            for number, share in enumerate((1, 2, 2))
        ]


def _plane(address: int | None, width: int, height: int, stride: int) -> npt.NDArray[np.uint8]:
    assert address is not None
    rows = np.frombuffer(ctypes.string_at(address, stride * height), np.uint8)
    return rows.reshape(height, stride)[:, :width].copy()


def _units(path: Path) -> Iterator[bytes]:
    """The access units, with start codes."""
    with av.open(str(path), "r") as container:
        stream = container.streams.video[0]
        headers = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            for each in headers.filter(packet):
                if each.size:
                    yield bytes(each)
