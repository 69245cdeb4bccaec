"""A set of photos to make videos of: real ones, cut and put together in many ways. `make photos`

The photographs come out of packages (`benchmarks/photo_packages.py`). These are small, and so each photo
of the set is four cut-outs of them side by side, at about their own scale: it has a photograph's detail all
over.
"""

from __future__ import annotations

import argparse
import io
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from benchmarks.photo_packages import NoPhotos, photographs
from kon.kinds.video import demo

PHOTOS: Final = 60
FOLDER: Final = Path(__file__).parent.parent / ".cache" / "photos"
SOURCES: Final = "SOURCES.txt"
"""Beside the photos: what they are cut from."""

_SIZES: Final = (
    (1600, 1200),
    (1920, 1080),
    (2048, 1365),
    (1200, 1600),
    (2400, 1600),
    (1500, 1500),
    (2592, 1944),
    (1280, 960),
)


def photo_set(folder: Path) -> list[Path]:
    """The first photos of a folder, as many as a video has. Raises NoPhotos where there are too few."""
    found = sorted(each for each in folder.glob("*") if each.suffix.lower() in (".jpg", ".jpeg"))[:PHOTOS]
    if len(found) < PHOTOS:
        raise NoPhotos(
            f"{folder} has {len(found)} photos (*.jpg), and {PHOTOS} are needed: `make photos` gets them, "
            "--photos names another folder"
        )
    return found


def write_set(folder: Path, real: Sequence[Image.Image], seed: int = 1) -> int:
    """Write `PHOTOS` JPEGs, some progressive, of 1 to 5 megapixels; returns their size in bytes."""
    rng = random.Random(seed)
    size_bytes = 0
    for number in range(PHOTOS):
        width, height = _SIZES[number % len(_SIZES)]
        image = Image.new("RGB", (width, height))
        for place in range(4):
            part = _cut(rng, rng.choice(real), width // 2, height // 2)
            image.paste(part, (place % 2 * (width // 2), place // 2 * (height // 2)))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=rng.choice([82, 88, 90]), progressive=number % 7 == 3)
        (folder / f"photo-{number:02}.jpg").write_bytes(out.getvalue())
        size_bytes += len(out.getvalue())
    return size_bytes


def _cut(rng: random.Random, image: Image.Image, width: int, height: int) -> Image.Image:
    scale = max(width / image.width, height / image.height) * rng.uniform(1.0, 1.15)
    size = (round(image.width * scale) + 1, round(image.height * scale) + 1)
    large = image.resize(size, Image.Resampling.LANCZOS)
    left, top = rng.randint(0, large.width - width), rng.randint(0, large.height - height)
    part = large.crop((left, top, left + width, top + height))
    return ImageOps.mirror(part) if rng.random() < 0.5 else part


def make(folder: Path, made_up: bool) -> str:
    """Write the set to a folder, in place of an earlier one; what is there then. Raises NoPhotos."""
    if made_up:
        files = [(f"photo-{n:02}.jpg", demo.picture(n + 1)) for n in range(PHOTOS)]
        _begin(folder, "Drawn by kon (--made-up): no photographs.\n")
        for name, content in files:
            (folder / name).write_bytes(content)
        return f"{PHOTOS} made-up pictures, {sum(len(each) for _, each in files) / 1e6:.1f} MB"
    real = list(photographs())
    said = "".join(f"{name}: {licence}\n" for name, licence, _ in real)
    _begin(folder, f"Cut and put together by kon's benchmarks/photos.py from\n\n{said}")
    size_bytes = write_set(folder, [image for *_, image in real])
    return f"{PHOTOS} photos of {len(real)} photographs, {size_bytes / 1e6:.1f} MB"


def _begin(folder: Path, sources: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / SOURCES).write_text(sources, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photos", description=__doc__)
    parser.add_argument("--made-up", action="store_true", help="pictures that kon draws, and no photographs")
    try:
        said = make(FOLDER, parser.parse_args().made_up)
    except NoPhotos as error:
        print(f"make photos: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    print(f"{FOLDER}: {said}; {SOURCES} has whose they are")


if __name__ == "__main__":
    main()
