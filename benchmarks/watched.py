"""What it costs a worker to be watched: tasks of no length in memory, with metrics, with logs, and without.

    python -m benchmarks.watched
    python -m benchmarks.watched --before /path/to/another/checkout

All take turns in each round, in an order that turns round; what is told is each one's ratio to the plain run
of its own round. `--before` has a plain run of another version of kon beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import click
from tabulate import tabulate

PROJECT: Final = Path(__file__).parents[1]
PORT: Final = 29_464
SCRAPE_S: Final = 1.0
"""Between two scrapes: ten times as often as Prometheus does by default."""

ONE: Final = """
import json, sys
from benchmarks.runs import run
row = run(int(sys.argv[1]), backend="memory", bundle=int(sys.argv[2]))
print(json.dumps([row["tasks_per_s"], row["worker_cpu_us_per_task"]]))
"""

CASES: Final[Mapping[str, Mapping[str, str]]] = {
    "plain": {},
    "metrics": {"KON_METRICS": str(PORT)},
    "metrics, scraped every second": {"KON_METRICS": str(PORT)},
    "log level info": {"KON_LOG_FORMAT": "json"},
}


class Measured(NamedTuple):
    """cpu_us: of the whole process, client and worker, for each task."""

    tasks_per_s: float
    cpu_us: float


@click.command()
@click.option("--tasks", default=1_000_000, show_default=True)
@click.option("--bundle", default=100, show_default=True, help="Tasks in a message.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--before", type=click.Path(path_type=Path), help="Another checkout, to run plainly as well.")
def main(tasks: int, bundle: int, rounds: int, before: Path | None) -> None:
    names = [*(["before"] if before else []), *CASES]
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            tree = before if name == "before" and before else PROJECT
            found[name].append(measure(tree, CASES.get(name, {}), tasks, bundle, "scraped" in name))
    rows = [
        (
            name,
            f"{median(each.tasks_per_s for each in runs):,.0f}",
            ratio([each.tasks_per_s for each in runs], [each.tasks_per_s for each in found["plain"]]),
            f"{median(each.cpu_us for each in runs):.2f}",
            ratio([each.cpu_us for each in runs], [each.cpu_us for each in found["plain"]]),
        )
        for name, runs in found.items()
    ]
    headers = ["", "tasks/s", "of plain", "CPU, us a task", "of plain"]
    click.echo(tabulate(rows, headers, disable_numparse=True))


def measure(tree: Path, asked: Mapping[str, str], tasks: int, bundle: int, scraped: bool) -> Measured:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KON_")}
    environment = {**kept, "PYTHONPATH": str(tree), **asked}
    ended = threading.Event()
    scraper = threading.Thread(target=scrape, args=[ended])
    if scraped:
        scraper.start()
    try:
        done = subprocess.run(
            [sys.executable, "-c", ONE, str(tasks), str(bundle)],
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=None if not asked else subprocess.DEVNULL,
            check=True,
        )
    finally:
        ended.set()
        if scraped:
            scraper.join()
    return Measured(*json.loads(done.stdout))


def scrape(ended: threading.Event) -> None:
    while not ended.wait(SCRAPE_S):
        with suppress(OSError):  # it is not up yet, or over
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=5).read()


def ratio(these: list[float], those: list[float]) -> str:
    ratios = sorted(a / b for a, b in zip(these, those, strict=True))
    return f"{median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"


if __name__ == "__main__":
    main()
