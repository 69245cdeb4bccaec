"""The kind `image`: what it makes of pictures of all sorts, and which it refuses."""

from __future__ import annotations

import asyncio
import io
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms, ImageOps

from kon.backends.emulator import Emulator
from kon.backends.memory.backend import MemoryObjects
from kon.cli.group import kon
from kon.core.errors import ConfigurationError, KindError
from kon.experiment import load
from kon.kinds import image as image_kind
from kon.kinds.equalize import Step, clahe, equalized
from kon.kinds.pictures import header
from tests.kinds.pictures.test_header import bomb
from tests.kinds.pictures.tiled import grid_of
from tests.kinds.running import attempt
from tests.kinds.video.given import encoded, photo


@pytest.fixture(autouse=True)
def _no_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield
    assert list((tmp_path / "tmp").iterdir()) == []


def made(data: bytes, folder: Path, **options: Any) -> tuple[Any, Image.Image]:
    """The result, and the picture that it names."""

    async def main() -> Any:
        objects = MemoryObjects()
        kind = image_kind.Image(options)
        kind.check("in/picture")
        await kind.open(objects)
        try:
            (folder / "given").write_bytes(data)
            await objects.put("in/picture", folder / "given")
            result = await kind.execute("in/picture", attempt(index=7))
            await objects.get(result["key"], folder / "got")
            return result
        finally:
            await kind.close()

    result = asyncio.run(main())
    picture = Image.open(io.BytesIO((folder / "got").read_bytes()))
    picture.load()
    return result, picture


def refused(data: bytes, folder: Path, says: str, **options: Any) -> None:
    with pytest.raises(KindError, match=says):
        made(data, folder, **({"equalize": "global"} | options))


def dark() -> Image.Image:
    """Of little contrast, so that there is something to be done."""
    return photo(320, 240).point(lambda level: 40 + level // 4)


def pixels(picture: Image.Image) -> npt.NDArray[np.int_]:
    return np.asarray(picture).astype(int)


# --- equalization ------------------------------------------------------------------------------------


def changed(channel: Image.Image, equalize: Callable[..., Iterator[Step]], *options: Any) -> Image.Image:
    """A channel, changed part by part."""
    made = channel.copy()
    for box, change in equalize(channel.size, lambda box: (channel.crop(box), None), *options):
        made.paste(change(channel.crop(box)), box)
    return made


def test_global_equalization_spreads_the_levels_evenly() -> None:
    grey = dark().convert("L")
    levels, counts = np.unique(pixels(grey), return_counts=True)
    below = np.cumsum(counts)
    wanted = np.round((below - counts[0]) * 255 / (grey.width * grey.height - counts[0]))
    table = dict(zip(levels, wanted, strict=True))
    assert np.array_equal(pixels(changed(grey, equalized)), np.vectorize(table.get)(pixels(grey)))
    assert changed(grey, equalized).getextrema() == (0, 255)


def reference_clahe(
    grey: npt.NDArray[np.int_], tiles: tuple[int, int], clip: float
) -> npt.NDArray[np.float64]:
    """As in Zuiderveld's paper, with doubles throughout."""
    height, width = grey.shape
    rows = [round(n * height / tiles[1]) for n in range(tiles[1] + 1)]
    columns = [round(n * width / tiles[0]) for n in range(tiles[0] + 1)]
    tables = np.zeros((tiles[1], tiles[0], 256))
    for j in range(tiles[1]):
        for i in range(tiles[0]):
            tile = grey[rows[j] : rows[j + 1], columns[i] : columns[i + 1]]
            counts = np.bincount(tile.ravel(), minlength=256).astype(float)
            limit = max(1, int(clip * tile.size / 256))
            excess = np.maximum(counts - limit, 0).sum()
            counts = np.minimum(counts, limit) + excess / 256
            tables[j, i] = np.cumsum(counts) * 255 / tile.size
    out = np.zeros(grey.shape)
    middles_y = [(a + b) / 2 for a, b in pairwise(rows)]
    middles_x = [(a + b) / 2 for a, b in pairwise(columns)]
    for y in range(height):
        below = int(np.searchsorted(middles_y, y + 0.5))
        j0, j1 = max(below - 1, 0), min(below, tiles[1] - 1)
        wy = 0.0 if j0 == j1 else (y + 0.5 - middles_y[j0]) / (middles_y[j1] - middles_y[j0])
        for x in range(width):
            right = int(np.searchsorted(middles_x, x + 0.5))
            i0, i1 = max(right - 1, 0), min(right, tiles[0] - 1)
            wx = 0.0 if i0 == i1 else (x + 0.5 - middles_x[i0]) / (middles_x[i1] - middles_x[i0])
            four = tables[[j0, j0, j1, j1], [i0, i1, i0, i1], grey[y, x]]
            out[y, x] = four @ [(1 - wy) * (1 - wx), (1 - wy) * wx, wy * (1 - wx), wy * wx]
    return out


@pytest.mark.parametrize(("size", "tiles", "clip"), [((97, 61), (4, 3), 2.0), ((40, 50), (1, 5), 8.0)])
def test_clahe_is_that_of_the_paper(size: tuple[int, int], tiles: tuple[int, int], clip: float) -> None:
    grey = dark().convert("L").resize(size)
    off = np.abs(pixels(changed(grey, clahe, tiles, clip)) - reference_clahe(pixels(grey), tiles, clip))
    assert off.max() <= 2.5
    assert off.mean() < 1


def test_clahe_limits_contrast_and_takes_any_size() -> None:
    grey = dark().convert("L")
    spread = [float(np.std(pixels(changed(grey, clahe, (4, 4), clip)))) for clip in (1.0, 3.0, 40.0)]
    assert spread == sorted(spread)
    flat = Image.new("L", (64, 64), 100)
    assert np.ptp(pixels(changed(flat, clahe, (8, 8), 2.0))) == 0
    for size in ((1, 1), (3, 500), (7, 5)):
        assert changed(grey.resize(size), clahe, (8, 8), 2.0).size == size


@pytest.mark.parametrize("how", ["global", "clahe"])
def test_colours_keep_their_hue_and_grey_stays_grey(tmp_path: Path, how: str) -> None:
    result, picture = made(encoded(dark(), "PNG"), tmp_path, equalize=how)
    assert (result["key"], result["format"], picture.mode) == ("image/a-run/000007.png", "png", "RGB")
    before, after = (np.asarray(each.convert("YCbCr")).astype(int) for each in (dark(), picture))
    assert np.std(after[..., 0]) > 1.5 * np.std(before[..., 0])
    shift = np.abs(after[..., 1:] - before[..., 1:]).mean()
    assert shift < 1
    _, each = made(encoded(dark(), "PNG"), tmp_path, equalize=how, channels="each")
    assert np.abs(np.asarray(each.convert("YCbCr")).astype(int)[..., 1:] - before[..., 1:]).mean() > 2 * shift
    _, grey = made(encoded(dark().convert("L"), "PNG"), tmp_path, equalize=how)
    assert grey.mode == "L"
    assert np.std(pixels(grey)) > 1.5 * np.std(pixels(dark().convert("L")))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_alpha_is_kept_and_what_can_not_be_seen_does_not_count(tmp_path: Path, form: str) -> None:
    picture = dark().convert("RGBA")
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, 160, 240))
    picture.paste((255, 255, 255, 255), (0, 0, 160, 240))  # white where nobody looks
    picture.putalpha(alpha)
    options: dict[str, Any] = {"lossless": True, "exact": True} if form == "WEBP" else {}
    _, result = made(encoded(picture, form, **options), tmp_path, equalize="global", format="png")
    assert result.mode == "RGBA"
    assert result.getchannel("A").tobytes() == alpha.tobytes()
    alone = dark().crop((160, 0, 320, 240))
    _, wanted = made(encoded(alone, "PNG"), tmp_path, equalize="global")
    assert np.array_equal(pixels(result.crop((160, 0, 320, 240)).convert("RGB")), pixels(wanted))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
@pytest.mark.parametrize("how", ["global", "clahe"])
def test_every_mode_of_a_png(tmp_path: Path, mode: str, how: str) -> None:
    picture = dark().convert("L").convert("I").point(lambda level: level * 257).convert("I;16")
    picture = picture if mode == "I;16" else dark().convert(mode)
    _, result = made(encoded(picture, "PNG"), tmp_path, equalize=how, resize="100x80")
    wanted = {"1": "L", "P": "RGB", "I;16": "L"}.get(mode, mode)
    assert (result.mode, result.size) == (wanted, (100, 80))


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


# --- options, bodies, runs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "say what to do"),
        ({"resize": "big"}, '"resize" of kind image: expected WIDTHxHEIGHT'),
        ({"resize": "x"}, '"resize" of kind image: expected WIDTHxHEIGHT'),
        ({"thumbnail": "100x"}, '"thumbnail" of kind image: expected WIDTHxHEIGHT such as 256x256'),
        ({"resize": "1x1", "thumbnail": "1x1"}, "leave out one of them"),
        ({"equalize": "local"}, "equalize"),
        ({"equalize": "clahe", "clip": 0.5}, '"clip" of kind image: expected a number of at least 1'),
        ({"equalize": "clahe", "tiles": [0, 8]}, '"tiles" of kind image: expected two numbers'),
        ({"format": "png", "quality": 101}, '"quality" of kind image: expected a whole number from 1 to 100'),
        (
            {"format": "png", "max_megapixels": 500},
            '"max_megapixels" of kind image: expected a number from 0.001 to 89',
        ),
        ({"format": "png", "key": "one"}, "the same for all tasks"),
    ],
)
def test_options_that_can_not_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        image_kind.Image(options)


@pytest.mark.parametrize(
    ("body", "key", "says"),
    [
        (7, None, "expected the key of an object"),
        ("", None, "expected the key of an object"),
        ("../a", None, "not a relative path"),
        ("a/../../b", "out/{}", "not a relative path"),
        ("a", "{//}/{}", "not a relative path"),  # the folder of "a" is "."
        ("a.png", "{}", "would replace its input"),
    ],
)
def test_bodies_that_no_attempt_could_take(body: Any, key: str | None, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        image_kind.Image({"format": "png", "key": key}).check(body)


COPIES = """\
name: copies
backend: {backend}
workload: {{kind: mirror, images: {images}, prefix: in, items: ["{{1..2}}.jpg"]}}
---
"""
SMALL = """\
name: small
backend: {backend}
workload:
  kind: image
  items: ["in/{{1..2}}.jpg"]
  thumbnail: 64x64
  key: "small/{{/.}}.jpg"
"""


def _run(file: Path) -> None:
    ended = CliRunner().invoke(
        kon, ["run", str(file), "--out", str(file.parent / "runs"), "--quiet"], prog_name="kon"
    )
    assert ended.exit_code == 0, ended.output


def test_a_run_takes_up_what_another_has_stored(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(encoded(photo(200, 100, number)))
    file = tmp_path / "exp.yml"
    backend = f"{{name: sqlite, objects: {tmp_path}/kept}}"
    file.write_text((COPIES + SMALL).format(backend=backend, images=tmp_path / "images"))
    assert [each.workload.count(1) for each in load(file)] == [2, 2]
    _run(file)
    small = {each.name: each for each in (tmp_path / "kept" / "small").iterdir()}
    assert sorted(small) == ["1.jpg", "2.jpg"]
    assert [header.read_header(each.read_bytes()).width for each in small.values()] == [64, 64]


def test_on_amazons_services(tmp_path: Path, on_ministack: Emulator) -> None:
    """In a bucket of the user's own."""
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="my-pictures")
    for number in (1, 2):
        body = encoded(photo(200, 100, number))
        s3.put_object(Bucket="my-pictures", Key=f"all/in/{number}.jpg", Body=body)
    file = tmp_path / "exp.yml"
    place = "prefix: pictures, region: us-east-1, depth_lag_s: 1, objects: s3://my-pictures/all"
    file.write_text(SMALL.format(backend=f"{{name: aws, {place}}}"))
    _run(file)
    listed = {each["Key"] for each in s3.list_objects_v2(Bucket="my-pictures")["Contents"]}
    assert listed == {f"all/{folder}/{name}.jpg" for folder in ("in", "small") for name in (1, 2)}
    got = s3.get_object(Bucket="my-pictures", Key="all/small/1.jpg")["Body"]
    assert header.read_header(got.read()).width == 64
    s3.close()


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
@pytest.mark.parametrize("equalize", ["clahe", "global"])
def test_large_photos_are_equalized_in_their_place(large_photo: bytes, tmp_path: Path, equalize: str) -> None:
    assert peak_mb(large_photo, tmp_path, equalize) < MOST_MB


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_large_photos_of_phones_are_decoded_tile_by_tile(tmp_path: Path) -> None:
    tile = encoded(photo(512, 512), "HEIF", quality=60)
    assert peak_mb(grid_of([tile] * (16 * 12), 16, 512, (8_064, 6_144)), tmp_path, "clahe") < MOST_MB
