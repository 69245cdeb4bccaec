"""Copying from the web into the store with 1 to 20 slots. `python -m benchmarks.mirror`

Photos come from a server with 100 ms latency and 2 MB/s for each connection; the store is a folder. Each line
is a run of kon's own, with one worker, and a second one on the same store, which finds all there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tabulate import tabulate

from benchmarks.animoto import served
from benchmarks.photo_packages import NoPhotos
from benchmarks.photos import FOLDER, PHOTOS, photo_set

SLOTS: Final = (1, 2, 4, 8, 12, 16, 20)


def run(name: str, slots: int, links: Sequence[str], store: Path, folder: Path) -> dict[str, Any]:
    """The row of the result table. Raises RuntimeError where not all was copied."""
    workload = {"kind": "mirror", "allow": ["loopback"], "items": list(links)}
    backend = {"name": "sqlite", "objects": str(store)}
    file = folder / f"{name}.yml"
    file.write_text(json.dumps({"name": name, "backend": backend, "workload": workload, "slots": slots}))
    argv = [sys.executable, "-m", "kon", "run", str(file), "--out", str(folder / "runs"), "--json", "--quiet"]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"the run {name} ended with exit code {ended.returncode}: {ended.stderr}")
    [row] = json.loads(ended.stdout)["runs"]
    found: dict[str, Any] = row
    return found


def table(folder: Path, photos: Path, all_slots: Sequence[int]) -> str:
    size_mb = sum(photo.stat().st_size for photo in photos.iterdir()) / 1e6
    rows: list[list[float]] = []
    with served(photos) as base:
        links = [f"{base}{photo.name}" for photo in sorted(photos.iterdir())]
        for slots in all_slots:
            store = folder / f"store-{slots}"
            first = run(f"copy-{slots}", slots, links, store, folder)["wall_s"]
            again = run(f"again-{slots}", slots, links, store, folder)["wall_s"]
            rows.append([slots, first, size_mb / first, rows[0][1] / first if rows else 1.0, again])
    heads = ["slots", "s", "MB/s", "times one slot", "again, s"]
    return tabulate(rows, heads, floatfmt=("", ".2f", ".1f", ".1f", ".2f"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mirror", description=__doc__)
    parser.add_argument("--slots", type=int, nargs="+", default=SLOTS)
    parser.add_argument("--photos", type=Path, default=FOLDER, help="of `make photos`, or a folder of yours")
    args = parser.parse_args()
    try:
        originals = photo_set(args.photos)
    except NoPhotos as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="kon-benchmark-") as name:
        photos = Path(name) / "photos"
        photos.mkdir()
        for original in originals:
            shutil.copy(original, photos)
        size_mb = sum(each.stat().st_size for each in originals) / 1e6
        print(f"{PHOTOS} photos, {size_mb:.1f} MB", file=sys.stderr)
        print(table(Path(name), photos, args.slots))


if __name__ == "__main__":
    main()
