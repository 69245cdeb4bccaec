"""A set of photos to make videos of: real ones, cut and put together in many ways."""

from __future__ import annotations

import importlib.util
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

PHOTOS: Final = 60
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
_PACKAGES: Final = {
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg"],
    "skimage": [
        f"data/{name}"
        for name in (
            "astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "motorcycle_left.png",
            "motorcycle_right.png", "retina.jpg", "rocket.jpg",
        )
    ],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
}  # fmt: skip
"""Photos that come with packages, where these are installed; matplotlib's is in any case."""


def real_photos(folder: Path | None = None) -> list[Image.Image]:
    """Those of a folder, or those that come with the installed packages."""
    if folder is not None:
        files = [each for each in sorted(folder.iterdir()) if each.suffix in (".jpg", ".jpeg", ".png")]
    else:
        files = []
        for package, names in _PACKAGES.items():
            spec = importlib.util.find_spec(package)
            if spec is not None and spec.origin is not None:
                files += [Path(spec.origin).parent / name for name in names]
    return [Image.open(file).convert("RGB") for file in files if file.is_file()]


def write_set(folder: Path, real: Sequence[Image.Image], seed: int = 1) -> int:
    """Write `PHOTOS` JPEGs, some progressive, of 1 to 5 megapixels; returns their size in bytes.

    Each is four cut-outs side by side at about their own scale, so that it has a photo's detail.
    """
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
