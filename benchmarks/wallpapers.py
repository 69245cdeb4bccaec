"""Large pictures to make a video of: wallpapers of Debian's desktops. `python -m benchmarks.wallpapers`

apt-get fetches two packages, 141 MB, and installs nothing. Taken are JPEGs and PNGs of 2 to 24 megapixels,
opaque and without a profile: the sources that a video is compared with heed neither.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image

FOLDER: Final = Path(__file__).parent.parent / ".cache" / "wallpapers"
PACKAGES: Final = ("plasma-workspace-wallpapers", "mate-backgrounds")
_MEGAPIXELS: Final = (2, 24)


def wallpapers(folder: Path) -> list[Path]:
    """Those that are there, in order; none where nobody has fetched them."""
    return sorted(each for each in folder.glob("*") if each.suffix in (".jpg", ".png"))


def fetch(folder: Path) -> int:
    """Put them into a folder, in place of earlier ones; how many there are. Raises CalledProcessError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="kon-wallpapers-") as name:
        place = Path(name)
        subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=place, check=True)
        for package in place.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, place / "files"], check=True)
        for file in sorted((place / "files").rglob("*")):
            if file.suffix in (".jpg", ".png") and not file.is_symlink() and _is_taken(file):
                parts = file.relative_to(place / "files" / "usr" / "share").parts
                name = "-".join(part for part in parts if part not in ("contents", "images"))
                shutil.copy(file, folder / name)
    return len(wallpapers(folder))


def _is_taken(file: Path) -> bool:
    with Image.open(file) as image:
        megapixels = image.width * image.height / 1e6
        if not _MEGAPIXELS[0] <= megapixels <= _MEGAPIXELS[1] or image.width < image.height:
            return False
        opaque = image.mode != "RGBA" or image.getchannel("A").getextrema() == (255, 255)
        return opaque and image.mode in ("RGB", "RGBA", "L") and not image.info.get("icc_profile")


def main() -> None:
    try:
        count = fetch(FOLDER)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the wallpapers can't be had: {error}; this needs Debian, and its mirror", file=sys.stderr)
        raise SystemExit(1) from None
    print(f"{FOLDER}: {count} wallpapers")


if __name__ == "__main__":
    main()
