"""Two changes to coded pictures of H.264, bit by bit (ITU-T H.264, 7.3.3 and 7.4.1).

A picture's bytes are a NAL unit: a byte of its type, then a slice. A 3 stands in it wherever two zeros and
what follows would look like the start of the next unit; it goes before a change, and comes back after it.
"""

from __future__ import annotations

import re
from typing import Final

START: Final = b"\0\0\0\1"
"""What stands before a unit."""
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
