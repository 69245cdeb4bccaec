"""HEICs of tiles, as phones write them."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kon.kinds.pictures.header import read_header
from kon.kinds.pictures.opened import opened
from kon.kinds.video.decode import Decoder
from kon.kinds.video.film import Film
from kon.kinds.video.filming import DECODING_BYTES
from kon.kinds.video.tiles import decoded_tiles
from kon.kinds.web.limits import BadImage
from tests.kinds.pictures.tiled import box, grid_of, tiled
from tests.kinds.video.given import encoded, photo
from tests.kinds.video.test_decode import gamma_profile

PROFILE = b"prof" + gamma_profile(1.0)


def nclx(matrix: int) -> bytes:
    """Full range, whatever the tiles say of theirs."""
    return box(b"colr", b"nclx", struct.pack(">HHHB", 1, 13, matrix, 0x80))


@pytest.mark.parametrize(
    "properties",
    [
        (),
        *((box(b"irot", bytes([turn])),) for turn in range(4)),
        *((box(b"imir", bytes([axis])),) for axis in range(2)),
        (box(b"irot", b"\1"), box(b"imir", b"\0")),
        (box(b"imir", b"\0"), box(b"irot", b"\1")),
        *((nclx(matrix),) for matrix in (1, 6)),
        (box(b"colr", PROFILE),),
    ],
    ids=[
        "plain",
        *(f"turned {turn}" for turn in range(4)),
        *(f"mirrored {axis}" for axis in range(2)),
        "turned, then mirrored",
        "mirrored, then turned",
        *(f"matrix {matrix}" for matrix in (1, 6)),
        "profile",
    ],
)
@pytest.mark.parametrize("full_range", [0, 1])
def test_tiles_make_the_picture_that_libheif_makes(properties: tuple[bytes, ...], full_range: int) -> None:
    data = tiled(photo(300, 200), properties=properties, full_range_flag=full_range)
    header = read_header(data)
    assert header.grid is not None
    with opened(data, header) as whole:
        wanted = np.asarray(whole.convert("RGB"), np.int16)
        profile = whole.info.get("icc_profile", b"")
    made = decoded_tiles(data, header.grid, 0)
    assert made.info["icc_profile"] == profile
    assert (made.width, made.height) == (wanted.shape[1], wanted.shape[0])
    # libheif doubles chroma samples, libswscale blends between them
    assert np.abs(np.asarray(made, np.int16) - wanted).mean() < 2


def test_of_ten_bits_they_become_eight() -> None:
    import pillow_heif

    image = photo(128, 128)
    deep = (np.asarray(image).astype(np.uint16) * 4).tobytes()
    tile = io.BytesIO()
    pillow_heif.encode("RGB;10", image.size, deep, tile, quality=90)
    data = grid_of([tile.getvalue()] * 4, 2, 128, (256, 256))
    header = read_header(data)
    assert header.grid is not None
    made = np.asarray(decoded_tiles(data, header.grid, 0), np.int16)[:128, :128]
    assert np.abs(made - np.asarray(image, np.int16)).mean() < 4


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_they_are_made_smaller_row_by_row(halvings: int) -> None:
    data = tiled(photo(300, 200))
    grid = read_header(data).grid
    assert grid is not None
    whole = decoded_tiles(data, grid, 0).reduce(1 << halvings)
    assert np.array_equal(np.asarray(decoded_tiles(data, grid, halvings)), np.asarray(whole))


def test_what_is_cut_short_or_corrupt_is_no_picture() -> None:
    data = tiled(photo(300, 200))
    decoder = Decoder(Film(size="320x180"))
    header = read_header(data)
    decoder.decode(data, header)
    begin, length = header.grid.tiles[-1] if header.grid else (0, 0)
    zeros = data[:begin] + bytes(length) + data[begin + length :]
    for broken in (data[:-10], zeros):
        with pytest.raises(BadImage, match="HEIC data are corrupt"):
            decoder.decode(broken, read_header(broken))


def test_a_tile_that_is_larger_than_the_header_says_is_not_decoded() -> None:
    tile = encoded(photo(320, 320), "HEIF")
    data = grid_of([tile] * 4, 2, 128, (256, 256))
    with pytest.raises(BadImage):
        Decoder(Film(size="320x180")).decode(data, read_header(data))


@pytest.mark.parametrize(
    "prop",
    [box(b"clap", bytes(32)), box(b"auxC", bytes(4), b"urn:mpeg:hevc:2015:auxid:1\0")],
    ids=["cropped", "with alpha"],
)
def test_other_heics_of_tiles_are_left_to_libheif(prop: bytes) -> None:
    assert read_header(tiled(photo(300, 200), properties=(prop,))).grid is None


def test_a_heic_without_tiles_is_left_to_libheif() -> None:
    assert read_header(encoded(photo(64, 64), "HEIF")).grid is None


def test_headers_that_make_no_sense_are_told_as_such() -> None:
    data, rng = bytearray(tiled(photo(300, 200))), random.Random(1)
    meta_bytes = data.index(b"mdat")
    for _ in range(3_000):
        place, before = rng.randrange(meta_bytes), bytes(data)
        data[place : place + 4] = rng.randbytes(4)
        try:
            header = read_header(bytes(data))
        except BadImage:
            pass
        else:
            assert header.width * header.height
        data[:] = before


@pytest.mark.long
def test_48_megapixels_of_a_phone_are_within_what_a_job_may_decode(tmp_path: Path) -> None:
    """Phones take tiles of 512; libheif would hold the whole picture, with 7.4 bytes a pixel."""
    tile = encoded(photo(512, 512), "HEIF", quality=60)
    data = grid_of([tile] * (16 * 12), 16, 512, (8_064, 6_048))
    header = read_header(data)
    estimate = Decoder(Film()).decoded_bytes(header) + 2 * len(data)
    assert estimate < DECODING_BYTES
    assert peak_bytes(data, tmp_path) < estimate


PROGRAM = """
import sys
from pathlib import Path
from kon.kinds.pictures.header import read_header
from kon.kinds.video.room import give_back_large_blocks
from kon.kinds.video.decode import Decoder
from kon.kinds.video.film import Film

def peak_kb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

give_back_large_blocks()
decoder, data = Decoder(Film()), Path(sys.argv[1]).read_bytes()
before = peak_kb()
decoder.decode(data, read_header(data))
print(peak_kb() - before)
"""


def peak_bytes(data: bytes, folder: Path) -> int:
    (folder / "image.heic").write_bytes(data)
    argv = [sys.executable, "-c", PROGRAM, str(folder / "image.heic")]
    return 1024 * int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
