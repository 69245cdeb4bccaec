"""Bits of coded pictures: what is changed, and that the rest stays."""

from __future__ import annotations

import random

import pytest

from kon.kinds.video.alone import numbered_0, skipping, slice_of


def unit_of(kind: int, bits: str) -> bytes:
    """A unit as it stands in a file, by the letter of 7.3.1: a 3 after two zeros, before 0, 1, 2 or 3."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    made, zeros = bytearray([kind]), 0
    for byte in int(bits, 2).to_bytes(len(bits) // 8):
        if zeros == 2 and byte <= 3:
            made.append(3)
            zeros = 0
        made.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(made)


def test_only_the_number_of_a_picture_changes() -> None:
    head = "1" + "0001000" + "1" + "0000"
    for seed in range(300):
        rng = random.Random(seed)
        # zeros mostly, so that there are places that look like starts; of each length
        rest = "".join(rng.choice("0000000001") for _ in range(rng.randrange(0, 900)))
        changed = numbered_0(unit_of(0x65, head + "010" + rest))
        assert changed == unit_of(0x65, head + "1" + rest), f"seed {seed}"


@pytest.mark.parametrize(("macroblocks", "run"), [(1, "010"), (2, "011"), (8160, f"{0:012}{8161:b}")])
def test_as_many_macroblocks_are_skipped_as_are_asked_for(macroblocks: int, run: str) -> None:
    head = "10011010001000010101110011100"
    assert skipping(unit_of(0x41, head + "010"), macroblocks) == unit_of(0x41, head + run)


def test_a_picture_that_is_not_skipped_is_not_taken_for_one() -> None:
    with pytest.raises(ValueError, match="not skipped"):
        skipping(unit_of(0x41, "1001101000100001010111011"), 99)


def test_options_before_a_slice_are_no_part_of_it() -> None:
    assert slice_of(b"\0\0\0\1\x06options\x80\0\0\1\x65slice") == b"\x65slice"
