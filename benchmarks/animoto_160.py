"""160 videos on 1 to 16 workers: measured small, simulated at scale. `python -m benchmarks.animoto_160`

8 jobs of 60 photos are run by kon's own workers, from a server with 100 ms latency and 2 MB/s a connection.
How long they took, with an upload at 5 MB/s added, is how long a task takes in workloads/animoto-160.yml.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from tabulate import tabulate

from benchmarks.animoto import UPLOAD_BYTES_S, served
from benchmarks.animoto_page import put
from benchmarks.photo_packages import NoPhotos
from benchmarks.photos import FOLDER, photo_set
from benchmarks.published import B_REMOTE, VIDEOS
from kon.backends.sim.latency import P99
from kon.backends.sim.model import Spread
from kon.engine.records.records import RunFolder
from kon.experiment.models import DEFAULT, find_model, read_model_with_sources
from kon.report.read.reader import standing
from kon.trials.calibrate import as_yaml

ROOT: Final = Path(__file__).parent.parent
EXPERIMENT: Final = ROOT / "workloads" / "animoto-160.yml"
MODEL: Final = ROOT / "kon" / "backends" / "sim" / "models" / "animoto.yml"
JOBS: Final = 8
MEASURED: Final = (1, 2)
"""Workers."""


def kon_run(*argv: str) -> list[dict[str, Any]]:
    """Rows of the result table. Raises RuntimeError where not all was done."""
    command = [sys.executable, "-m", "kon", "run", *argv, "--json", "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with exit code {ended.returncode}: {ended.stderr}")
    rows: list[dict[str, Any]] = json.loads(ended.stdout)["runs"]
    return rows


def measure(folder: Path, links: Sequence[str]) -> tuple[dict[int, float], list[float]]:
    """The makespan by workers, and how long each job took on the one worker, with its upload, in seconds."""
    workload = {
        "kind": "animoto",
        "allow": ["loopback"],
        "min_images": len(links),
        "items": [random.Random(number).sample(links, len(links)) for number in range(JOBS)],
    }
    said = {"name": "small", "backend": "sqlite", "workload": workload, "strategies": ["lease"]}
    walls_s, took_s = {}, []
    for workers in MEASURED:
        file = folder / f"on-{workers}.yml"
        file.write_text(json.dumps({**said, "workers": [workers]}))
        print(f"{JOBS} jobs on {workers} of {MEASURED}", file=sys.stderr)
        [row] = kon_run(str(file), "--out", str(folder / f"runs-{workers}"))
        walls_s[workers] = row["wall_s"]
        if workers == 1:
            done = standing(RunFolder(folder / "runs-1" / row["run"]), JOBS)
            took_s = [
                each.outcome.ended_s
                - each.outcome.started_s
                + each.outcome.result["size_bytes"] / UPLOAD_BYTES_S
                for each in done
            ]
    return walls_s, took_s


def spread_of(took_s: Sequence[float], source: str) -> Spread:
    """Log-normal, as the simulator draws it."""
    logs = [math.log(each) for each in took_s]
    median_s, sigma = math.exp(statistics.fmean(logs)), statistics.stdev(logs)
    return Spread(round(median_s, 3), round(median_s * math.exp(P99 * sigma), 3), source=source)


def model_of(tasks: Spread) -> str:
    base = read_model_with_sources(find_model(DEFAULT, Path()))
    about = "videos of 60 images, as measured on one machine, on a fleet as in aws-us-east-1"
    content = as_yaml(msgspec.structs.replace(base, name="animoto", about=about, tasks=tasks))
    _, _, rest = content.partition("\n")  # what `kon calibrate` says of itself
    wrote = "# Written by `python -m benchmarks.animoto_160 --write`"
    return f"{wrote}: {DEFAULT}, with `tasks` as measured.\n{rest}"


def simulated(folder: Path, model: str) -> dict[int, float]:
    """Makespans by workers, in virtual seconds."""
    (folder / "model.yml").write_text(model)
    latency = f"backend.latency={(folder / 'model.yml').resolve()}"
    rows = kon_run(str(EXPERIMENT), "--set", latency, "--out", str(folder / "simulated"))
    return {row["workers"]: row["wall_s"] for row in rows}


def text(walls_s: dict[int, float], tasks: Spread, at_scale_s: dict[int, float], form: str = "simple") -> str:
    older, minutes = B_REMOTE.system, B_REMOTE.minutes["animoto"][VIDEOS]
    rows = [
        [workers, minutes[workers], wall_s / 60, at_scale_s[1] / wall_s, minutes[workers] * 60 / wall_s]
        for workers, wall_s in sorted(at_scale_s.items())
    ]
    heads = ["workers", f"{older}, minutes", "kon, simulated, minutes", "times one worker", "times as fast"]
    table = tabulate(rows, heads, tablefmt=form, floatfmt=("", ".0f", ".2f", ".1f", ".0f"))
    small = "; ".join(
        f"on {workers} {'worker' if workers == 1 else 'workers'} {wall_s:.1f} s, "
        f"{60 * JOBS / wall_s:.0f} a minute"
        for workers, wall_s in walls_s.items()
    )
    load = "/".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{table}\n\n{VIDEOS} videos. Measured, {JOBS} jobs on this machine: {small}. A job with "
        f"its upload: median {tasks.median_s:.1f} s, 99th percentile {tasks.p99_s:.1f} s. "
        f"{os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}, load at the end {load}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.animoto_160", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the model, and docs/animoto.md, as well")
    parser.add_argument("--photos", type=Path, default=FOLDER, help="of `make photos`, or a folder of yours")
    args = parser.parse_args()
    try:
        photos = photo_set(args.photos)
    except NoPhotos as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="kon-benchmark-") as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for photo in photos:
            shutil.copy(photo, folder / "images")
        with served(folder / "images") as base:
            walls_s, took_s = measure(folder, [f"{base}{photo.name}" for photo in photos])
        source = (
            f"measured by benchmarks/animoto_160.py, {datetime.now(UTC):%Y-%m-%d} - {JOBS} jobs of 60 photos "
            f"on one worker with {os.cpu_count()} cores, and {UPLOAD_BYTES_S / 1e6:.0f} MB/s for the upload"
        )
        tasks = spread_of(took_s, source)
        model = model_of(tasks)
        at_scale_s = simulated(folder, model)
    print(text(walls_s, tasks, at_scale_s))
    if args.write:
        MODEL.write_text(model, encoding="utf-8")
        put("animoto-160", text(walls_s, tasks, at_scale_s, "github"))
        print(f"written: {MODEL} and docs/animoto.md", file=sys.stderr)


if __name__ == "__main__":
    main()
