"""160 videos end to end on an emulator of Amazon's services. `python -m benchmarks.animoto_aws`

kon's own client and workers make them, of 20 photos each, from a server with 100 ms latency and 2 MB/s a
connection. They go into S3, and every link is opened. In a last run a worker is killed. Each run has an
emulator of its own, on the same cores: it takes a part of them, which Amazon's services would not.

How long a video of 60 takes is `benchmarks.animoto`'s to say. Here an album is smaller, so that all runs
together take minutes: what they show, that each job is done once and its link opens, is of queues and store.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import boto3
from tabulate import tabulate

from benchmarks.animoto import served
from benchmarks.animoto_160 import kon_run
from benchmarks.animoto_page import put
from benchmarks.photo_packages import NoPhotos
from benchmarks.photos import FOLDER, photo_set
from kon.backends.emulator import started
from kon.engine.records.records import RunFolder

JOBS: Final = 160
IMAGES: Final = 20
WORKERS: Final = (1, 2, 4)
VISIBILITY_S: Final = 30
"""Several times what a job takes: this is how long a killed worker's jobs are held up."""

_HEADS: Final = ["workers", "killed", "s", "jobs a minute", "done", "links that open", "unfinished uploads"]


def run(folder: Path, links: Sequence[str], jobs: int, workers: int, killed: int) -> list[Any]:
    """A row of the table. Raises RuntimeError where not all was done."""
    workload = {
        "kind": "animoto",
        "allow": ["loopback"],
        "min_images": len(links),
        "url_expires_s": 86_400,
        "items": [random.Random(number).sample(links, len(links)) for number in range(jobs)],
    }
    said = {
        "name": "albums",
        "backend": {"name": "aws", "prefix": "albums", "depth_lag_s": 1},
        "workload": workload,
        "strategies": ["lease"],
        "workers": [workers],
        "visibility_s": VISIBILITY_S,
        "faults": {"kill_workers": killed},
    }
    name = f"on-{workers}-{killed}"
    (folder / f"{name}.yml").write_text(json.dumps(said))
    with started("ministack") as emulator, emulator.in_use():
        [row] = kon_run(str(folder / f"{name}.yml"), "--out", str(folder / name))
        records = RunFolder(folder / name / row["run"])
        lives = len(list(records.events.glob("w*.*.jsonl")))
        if lives != workers + killed:
            raise RuntimeError(
                f"{lives - workers} of {workers} workers ended by SIGKILL in place of {killed}"
            )
        log = records.links.read_text().splitlines()
        alive = sum(_opens(line.split("\t")[1]) for line in log)
        s3 = boto3.client("s3")
        buckets = [each["Name"] for each in s3.list_buckets()["Buckets"]]
        uploads = sum(len(s3.list_multipart_uploads(Bucket=each).get("Uploads", ())) for each in buckets)
    shutil.rmtree(folder / name)
    wall_s = row["wall_s"]
    return [workers, killed, wall_s, 60 * jobs / wall_s, row["done"], alive, uploads]


def _opens(link: str) -> bool:
    with urllib.request.urlopen(link) as answer:
        return int(answer.headers["Content-Length"]) == len(answer.read()) > 0


def text(rows: Sequence[Sequence[Any]], jobs: int, photos: int, form: str = "simple") -> str:
    table = tabulate(rows, _HEADS, tablefmt=form, floatfmt=("", "", ".0f", ".0f"))
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{table}\n\n{jobs} videos of {photos} photos, on MiniStack. {os.cpu_count()} cores, which the "
        f"emulator shares, {datetime.now(UTC):%Y-%m-%d}, load at the end {load}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.animoto_aws", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--images", type=int, default=IMAGES, help=f"of each job ({IMAGES})")
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    parser.add_argument("--write", action="store_true", help="write the figures into docs/animoto.md as well")
    parser.add_argument("--photos", type=Path, default=FOLDER, help="of `make photos`, or a folder of yours")
    args = parser.parse_args()
    try:
        photos = photo_set(args.photos)[: args.images]
    except NoPhotos as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="kon-benchmark-") as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for photo in photos:
            shutil.copy(photo, folder / "images")
        rows = []
        with served(folder / "images") as base:
            links = [f"{base}{photo.name}" for photo in photos]
            for workers, killed in [*((each, 0) for each in args.workers), (max(args.workers), 1)]:
                said = ", one of which is killed" if killed else ""
                print(f"{args.jobs} jobs on {workers} workers{said}", file=sys.stderr)
                rows.append(run(folder, links, args.jobs, workers, killed))
    print(text(rows, args.jobs, len(photos)))
    if args.write:
        put("animoto-aws", text(rows, args.jobs, len(photos), "github"))
        print("written: docs/animoto.md", file=sys.stderr)


if __name__ == "__main__":
    main()
