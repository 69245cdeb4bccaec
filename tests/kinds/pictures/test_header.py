"""What is told from an image's first bytes."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final, get_args

import msgspec
import pytest
from PIL import Image

from kon.kinds.pictures.header import Type, read_header, type_of
from kon.kinds.video.decode import Decoder
from kon.kinds.video.film import Film
from kon.kinds.video.filming import DECODING_BYTES
from kon.kinds.web.limits import BadImage
from tests.kinds.video.given import encoded, photo, plain

FORMS: Final[dict[str, str]] = {
    **{kind: kind.upper() for kind in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF")},
    "HEIC": "HEIF",
}
"""Pillow's name of each type."""


def test_every_type_is_tried_here() -> None:
    assert set(FORMS) == set(get_args(Type))


def test_sizes_are_read_from_headers() -> None:
    image = photo(321, 123)
    for kind, form in FORMS.items():
        given = photo(322, 124) if kind == "HEIC" else image  # which is kept in even sizes, and cropped
        header = read_header(encoded(given, form))
        assert (header.type, header.width, header.height) == (kind, *given.size)
    assert read_header(encoded(image, "WEBP", lossless=True)).width == 321
    transparent = image.copy()
    transparent.putalpha(100)
    assert read_header(encoded(transparent, "WEBP")).height == 123


def test_a_jpeg_says_how_it_is_to_be_decoded() -> None:
    image = photo(320, 240)
    exif = Image.Exif()
    exif[0x0112] = 6
    header = read_header(encoded(image, exif=exif, progressive=True, icc_profile=b"a profile"))
    assert (header.orientation, header.profile, header.components, header.simple) == (
        6,
        b"a profile",
        3,
        True,
    )
    assert read_header(encoded(image.convert("CMYK"))).simple is False
    assert read_header(encoded(image.convert("L"))).components == 1
    broken = encoded(image, exif=b"Exif\0\0nonsense")
    assert read_header(broken).orientation == 1


def test_memory_is_reckoned_by_how_an_image_is_coded() -> None:
    image = photo(800, 600)
    kinds: dict[str, dict[str, Any]] = {
        "420": {"subsampling": "4:2:0"},
        "444": {"subsampling": "4:4:4"},
        "progressive": {"subsampling": "4:2:0", "progressive": True},
    }
    by = {
        name: read_header(encoded(image, **options)).decoded_bytes() / (800 * 600)
        for name, options in kinds.items()
    }
    assert by == {"420": 1.5, "444": 3.0, "progressive": 4.5}


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "a page of HTML"),
        (b"\n  <html>", "a page of HTML"),
        (b"%PDF-1.7 and more of it", "a PDF; taken are JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF"),
        (b"\0\0\0\x1cftypisom\0\0\0\0", 'a film or a file of sound, of the brand "isom"'),
        (b"RIFF\0\0\0\0WAVEfmt ", "starts with the bytes 52 49 46 46"),
        (b"Not Found, sorry", "it is no image that is known"),
    ],
)
def test_other_types_are_named(start: bytes, says: str) -> None:
    with pytest.raises(BadImage, match=says):
        type_of(start[:16])


@pytest.mark.parametrize("form", sorted({*FORMS.values()} - {"GIF"}))  # its header is as long as its type
def test_a_header_cut_short_anywhere_is_a_bad_image(form: str) -> None:
    data = encoded(plain("red"), form)
    bad = 0
    for length in range(16, min(len(data), 200)):
        try:
            read_header(data[:length])
        except BadImage:
            bad += 1
    assert bad >= 2  # and nothing else was raised


def bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that says it has so many pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def test_a_bomb_says_how_large_it_is() -> None:
    header = read_header(bomb(30_000, 30_000))
    assert (header.width, header.height) == (30_000, 30_000)
    with pytest.raises(BadImage, match="0 x 5"):
        read_header(bomb(0, 5))


@pytest.mark.parametrize(
    ("width", "height", "options", "mode"),
    [
        (7_680, 4_320, {"form": "PNG"}, "RGBA"),
        (7_680, 4_320, {"form": "PNG"}, "P"),
        (5_616, 3_744, {"form": "JPEG"}, "CMYK"),
        (6_240, 4_160, {"form": "JPEG", "progressive": True, "subsampling": "4:4:4"}, "RGB"),
        (12_000, 9_000, {"form": "JPEG", "subsampling": "4:2:0"}, "RGB"),
    ],
    ids=["8K, RGBA", "8K, palette", "CMYK of 21 MP", "progressive 4:4:4 of 26 MP", "108 MP of a phone"],
)
def test_ordinary_files_are_within_what_a_job_may_decode(
    width: int, height: int, options: dict[str, Any], mode: str
) -> None:
    small = read_header(encoded(Image.new(mode, (width // 16, height // 16)), **options))
    large = msgspec.structs.replace(
        small,
        width=width,
        height=height,
        whole_bytes=small.whole_bytes * 256,
        scaled_bytes=small.scaled_bytes * 256,
    )
    assert Decoder(Film()).decoded_bytes(large) < DECODING_BYTES
