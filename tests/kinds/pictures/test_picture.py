"""What the kind `image` makes of pictures of all sorts, in how much memory, and which it refuses."""

from __future__ import annotations

import asyncio
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from kon.backends.memory.backend import MemoryObjects
from kon.core.errors import KindError
from kon.kinds import image as image_kind
from tests.kinds.pictures.making import made, pixels, refused
from tests.kinds.pictures.test_header import bomb
from tests.kinds.pictures.tiled import grid_of
from tests.kinds.running import attempt
from tests.kinds.video.given import encoded, photo

# --- size, orientation, profiles -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"resize": "100x50"}, (100, 50)),
        ({"resize": "100x"}, (100, 75)),
        ({"resize": "x120"}, (160, 120)),
        ({"resize": "640x"}, (640, 480)),
        ({"thumbnail": "64x64"}, (64, 48)),
        ({"thumbnail": "4000x4000"}, (320, 240)),
        ({"format": "webp"}, (320, 240)),
    ],
)
def test_sizes(tmp_path: Path, options: dict[str, Any], size: tuple[int, int]) -> None:
    result, picture = made(encoded(photo(320, 240)), tmp_path, **options)
    assert picture.size == size == (result["width"], result["height"])
    assert picture.format == ("WEBP" if "format" in options else "JPEG")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_pictures_are_made_upright_once(tmp_path: Path, orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    given = encoded(photo(320, 160), form, exif=exif.tobytes())
    _, picture = made(given, tmp_path, thumbnail="160x160", format="png")
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(given)))
    assert picture.size == ((160, 80) if orientation < 5 else (80, 160))
    assert np.abs(pixels(picture) - pixels(upright.resize(picture.size, Image.Resampling.LANCZOS))).mean() < 3
    assert picture.getexif().get(0x0112, 1) == 1


def test_a_profile_is_kept_and_cmyk_becomes_rgb(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    _, picture = made(encoded(photo(), icc_profile=profile), tmp_path, equalize="global")
    assert picture.info["icc_profile"] == profile
    _, picture = made(encoded(photo().convert("CMYK"), icc_profile=profile), tmp_path, equalize="global")
    assert (picture.mode, picture.info.get("icc_profile")) == ("RGB", None)


# --- pictures that are bad -----------------------------------------------------------------------------


def test_a_bomb_is_refused_from_its_header_and_by_what_it_would_become(tmp_path: Path) -> None:
    refused(bomb(30_000, 30_000), tmp_path, "megapixels; the option max_megapixels allows 50")
    refused(encoded(photo(200, 100)), tmp_path, "option max_megapixels allows 0.01$", max_megapixels=0.01)
    tall = encoded(Image.new("RGB", (2, 4000)))
    refused(tall, tmp_path, "it would have 1000 x 2000000 pixels", resize="1000x")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_is_cut_short_fails(tmp_path: Path, form: str) -> None:
    data = encoded(photo(), form)
    refused(
        data[: len(data) * 2 // 3], tmp_path, 'the object "in/picture": its .* data are corrupt or cut short'
    )
    refused(data[:20], tmp_path, 'the object "in/picture": its .* header')


def test_what_is_no_picture_fails(tmp_path: Path) -> None:
    for data, says in (
        (b"", "it is empty"),
        (b"<html>sign in</html>", "a page of HTML"),
        (b"%PDF-1.7", "it is a PDF"),
        (encoded(photo(40, 30), "PNG", save_all=True, append_images=[photo(40, 30, 1)]), "it is animated"),
    ):
        refused(data, tmp_path, says)


def test_a_png_whose_pixels_are_corrupt_fails(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\x00" * 100)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
    refused(data, tmp_path, "its PNG data are corrupt or cut short")


def test_transparency_does_not_become_a_jpeg(tmp_path: Path) -> None:
    refused(encoded(photo().convert("RGBA"), "PNG"), tmp_path, "which JPEG can't hold", format="jpeg")


def test_objects_that_are_not_there_or_too_large(tmp_path: Path) -> None:
    refused(encoded(photo()), tmp_path, "bytes, and the option max_bytes allows 1,000", max_bytes=1_000)

    async def main() -> None:
        kind = image_kind.Image({"equalize": "global"})
        await kind.open(MemoryObjects())
        try:
            await kind.execute("none", attempt())
        finally:
            await kind.close()

    with pytest.raises(KindError, match='there is no object "none" in the store'):
        asyncio.run(main())


# --- memory ------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from kon.kinds.image import ImageOptions, _recipe
from kon.kinds.picture import make

recipe = _recipe(ImageOptions(equalize=sys.argv[2]))
made = make(Path(sys.argv[1]).read_bytes(), recipe)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(made.width, made.height, int(peak.split()[1]))
"""


def peak_mb(data: bytes, folder: Path, equalize: str) -> float:
    """Of a process that does nothing else."""
    (folder / "picture").write_bytes(data)
    argv = [sys.executable, "-c", PROGRAM, str(folder / "picture"), equalize]
    width, height, peak_kb = subprocess.run(argv, capture_output=True, check=True).stdout.split()
    assert int(width) * int(height) > 48e6
    return int(peak_kb) / 1024


MOST_MB = 400
"""As docs/kinds.md says."""


@pytest.fixture(scope="module")
def large_photo() -> bytes:
    return encoded(photo(8_064, 6_048), quality=60)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("equalize", [pytest.param("clahe", marks=pytest.mark.long), "global"])
def test_large_photos_are_equalized_in_their_place(large_photo: bytes, tmp_path: Path, equalize: str) -> None:
    assert peak_mb(large_photo, tmp_path, equalize) < MOST_MB


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.long
def test_large_photos_of_phones_are_decoded_tile_by_tile(tmp_path: Path) -> None:
    tile = encoded(photo(512, 512), "HEIF", quality=60)
    assert peak_mb(grid_of([tile] * (16 * 12), 16, 512, (8_064, 6_144)), tmp_path, "clahe") < MOST_MB
