"""What is told from an image's first bytes."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from kon.kinds.pictures.header import read_header, type_of
from kon.kinds.pictures.refusal import BadImage
from tests.kinds.video.given import encoded, photo, plain


def test_sizes_are_read_from_headers() -> None:
    image = photo(321, 123)
    for form, kind in (("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WebP")):
        header = read_header(encoded(image, form))
        assert (header.type, header.width, header.height) == (kind, 321, 123)
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
        name: read_header(encoded(image, **options)).decoded_bytes / (800 * 600)
        for name, options in kinds.items()
    }
    assert by == {"420": 1.5, "444": 3.0, "progressive": 4.5}


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "a page of HTML"),
        (b"\n  <html>", "a page of HTML"),
        (b"GIF89a\1\0\1\0", "a GIF, and only JPEG, PNG and WebP"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF"),
        (b"\0\0\0\x1cftypheic\0\0\0\0", "a HEIC"),
        (b"%PDF-1.7 and more of it", "a PDF"),
        (b"RIFF\0\0\0\0WAVEfmt ", "starts with the bytes 52 49 46 46"),
        (b"Not Found, sorry", "it is no image that is known"),
    ],
)
def test_other_types_are_named(start: bytes, says: str) -> None:
    with pytest.raises(BadImage, match=says):
        type_of(start[:16])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_header_cut_short_anywhere_is_a_bad_image(form: str) -> None:
    data = encoded(plain("red"), form)
    bad = 0
    for length in range(16, min(len(data), 200)):
        try:
            read_header(data[:length])
        except BadImage:
            bad += 1
    assert bad >= 8  # and nothing else was raised


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
