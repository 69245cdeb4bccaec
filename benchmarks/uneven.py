"""A file without a knob beside messages of 1, 10 and 100 tasks, where tasks are alike and where they are not.

    python -m benchmarks.uneven [--workers 64] [--shape "longest last"] [--mean 0.001] [--write]

A part can be run alone: cells that were simulated are kept in .cache/uneven.jsonl for the sources at hand,
and `--write` puts all that are kept into the page.

Whole runs in virtual time at the latencies of SQS and DynamoDB, with `lease`, five seeds each: what else goes
on here does not count. Makespans of heavy tails differ by a tenth between seeds, so that a ratio is taken
within a seed, and the median of the seeds is shown. Nobody tells kon how long tasks take.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from tabulate import tabulate

from benchmarks.records import ROOT
from kon.experiment import loads
from kon.launch.simulated.billing import billed
from kon.launch.simulated.simulation import Simulation

PAGE: Final = ROOT / "docs" / "cloudkon.md"
WANTED: Final = 1.1
KEPT: Final = ROOT / ".cache" / "uneven.jsonl"
SEEDS: Final = range(1, 6)
FEW_SEEDS: Final = SEEDS[:3]
MANY_WORKERS: Final = 1_024
"""With so many workers, `FEW_SEEDS` are simulated: a run of theirs takes half a minute and more."""

WORKERS: Final = (4, 16, 64, 1_024)
MEANS_S: Final = (0.001, 0.01, 0.1, 1.0, 10.0)
BY_HAND: Final = (1, 10, 100)
WORK_S: Final = 10.0
"""Work for each worker, where that is not more than `MOST_TASKS` together and not less than `LEAST_EACH`."""

LEAST_EACH: Final = 4
LEAST_EACH_OF_MANY: Final = 20
"""Tasks for each of `MANY_WORKERS`. With fewer, starting and ending would be most of a run."""

MOST_TASKS: Final = 4_000


def alike(rng: random.Random, count: int, mean_s: float) -> list[float]:
    return [mean_s] * count


def few_long(rng: random.Random, count: int, mean_s: float) -> list[float]:
    """One in a hundred takes a hundred times as long."""
    short_s = mean_s / 1.99
    return [short_s * (100 if rng.random() < 0.01 else 1) for _ in range(count)]


def lognormal(rng: random.Random, count: int, mean_s: float) -> list[float]:
    """Sigma 2: half of the work is in some 2 % of the tasks."""
    sigma = 2.0
    return [mean_s * math.exp(rng.gauss(-sigma * sigma / 2, sigma)) for _ in range(count)]


def longest_last(rng: random.Random, count: int, mean_s: float) -> list[float]:
    return sorted(few_long(rng, count, mean_s))


SHAPES: Final[dict[str, Callable[[random.Random, int, float], list[float]]]] = {
    "alike": alike,
    "1 % a hundred times longer": few_long,
    "lognormal, sigma 2": lognormal,
    "longest last": longest_last,
}


class Cell(msgspec.Struct, frozen=True):
    shape: str
    mean_s: float
    workers: int

    @property
    def seeds(self) -> Sequence[int]:
        return SEEDS if self.workers < MANY_WORKERS else FEW_SEEDS

    @property
    def tasks(self) -> int:
        least = LEAST_EACH if self.workers < MANY_WORKERS else LEAST_EACH_OF_MANY
        each = max(least, min(WORK_S / self.mean_s, MOST_TASKS / self.workers))
        return int(each * self.workers)


class Outcome(msgspec.Struct, frozen=True):
    """What a run took. makespan_s: in virtual seconds. requests, write_units: a task."""

    makespan_s: float
    requests: float
    write_units: float


def durations_s(cell: Cell, seed: int) -> list[float]:
    return SHAPES[cell.shape](random.Random(f"{seed}:{cell.shape}"), cell.tasks, cell.mean_s)


def longest_message_s(cell: Cell, seed: int, bundle: int) -> float:
    """Work in the largest of such messages: its worker, with one slot, needs that long at least. So nobody
    waits here for a thousand workers that look into an empty queue for a quarter of an hour."""
    durations = durations_s(cell, seed)
    return max(sum(durations[at : at + bundle]) for at in range(0, cell.tasks, bundle))


def simulate(cell: Cell, seed: int, bundle: int | None) -> Outcome:
    """bundle: tasks in a message, or None for a file without a knob."""
    knobs = "" if bundle is None else f"bundle: {bundle}\n"
    text = (
        "name: uneven\n"
        f"backend: {{name: sim, latency: aws-us-east-1, table: warm_raised, boot: false, seed: {seed}}}\n"
        f"workload: {{kind: sleep, count: {cell.tasks}, seconds: 0}}\nworkers: {cell.workers}\nseed: {seed}\n"
        f"strategies: lease\n{knobs}"
    )
    [planned] = loads(text, "benchmarks/uneven.py", Path())[0].cells()
    spec = msgspec.structs.replace(planned.spec, ideal_s=None)
    report = Simulation(spec, durations_s(cell, seed)).run()
    calls = {name: usage.calls for name, usage in report.requests.items()}
    items = {name: usage.items for name, usage in report.requests.items()}
    units = billed(calls, items, message_bytes=0.0, request_bytes=262_144, fifo=False)
    return Outcome(
        report.wall_s, sum(calls.values()) / cell.tasks, units["dynamodb.write_units"] / cell.tasks
    )


class Row(msgspec.Struct, frozen=True):
    """Medians over seeds of the file without a knob: makespan over the best by hand and over bundle 1,
    requests over bundle 1, write units over bundle 1."""

    cell: Cell
    over_best: float
    over_single: float
    requests: float
    units: float


def compare(cell: Cell) -> Row:
    ratios = []
    for seed in cell.seeds:
        auto = simulate(cell, seed, None)
        single = simulate(cell, seed, 1)
        best_s = single.makespan_s
        for bundle in BY_HAND[1:]:
            if longest_message_s(cell, seed, bundle) < best_s:
                best_s = min(best_s, simulate(cell, seed, bundle).makespan_s)
        ratios.append(
            (
                auto.makespan_s / best_s,
                auto.makespan_s / single.makespan_s,
                auto.requests / single.requests,
                auto.write_units / single.write_units,
            )
        )
    return Row(cell, *(median(each) for each in zip(*ratios, strict=True)))


def cells(workers: Sequence[int], means_s: Sequence[float], shapes: Sequence[str]) -> Iterator[Cell]:
    for count in workers:
        for mean_s in means_s:
            for shape in shapes:
                yield Cell(shape, mean_s, count)


def table(rows: Sequence[Row]) -> str:
    """Makespans over the best by hand, by shape and mean; a column for each number of workers."""
    workers = sorted({row.cell.workers for row in rows})
    found = {row.cell: f"{row.over_best:.2f}" for row in rows}
    lines = [
        [shape, f"{mean_s:g}", *(found.get(Cell(shape, mean_s, count), "-") for count in workers)]
        for shape in SHAPES
        for mean_s in MEANS_S
    ]
    headers = ["tasks", "mean (s)", *(f"{count:,} workers" for count in workers)]
    return tabulate(lines, headers, "github", disable_numparse=True)


class Kept(msgspec.Struct, frozen=True):
    sources: str
    row: Row


def sources_of_a_run() -> str:
    """A digest of what a simulated run goes through: a change elsewhere leaves its figures as they are."""
    simulate(Cell("lognormal, sigma 2", 1.0, 4), 1, None)
    loaded = {getattr(module, "__file__", None) or "" for module in sys.modules.values()}
    digest = hashlib.sha256()
    for file in sorted(each for each in loaded if (ROOT / "kon") in Path(each).resolve().parents):
        digest.update(Path(file).read_bytes())
    strategies = sorted((ROOT / "strategies").glob("*.py"))
    for each in (*strategies, Path(__file__)):
        digest.update(each.read_bytes())
    return digest.hexdigest()[:12]


def kept(sources: str) -> dict[Cell, Row]:
    """The cells that these sources were simulated for."""
    if not KEPT.exists():
        return {}
    lines = map(msgspec.json.Decoder(Kept).decode, KEPT.read_bytes().splitlines())
    return {line.row.cell: line.row for line in lines if line.sources == sources}


def findings(rows: Sequence[Row]) -> str:
    def worst(of: Callable[[Row], float]) -> str:
        return f"{median(map(of, rows)):.2f} (at most {max(map(of, rows)):.2f})"

    within = sum(row.over_best <= WANTED for row in rows)
    return (
        f"In {within} of {len(rows)} cells the makespan is within {WANTED:g} times the best by hand; in the "
        f"median it is {worst(lambda row: row.over_best)} times. Next to a message for each task, it "
        f"takes {worst(lambda row: row.over_single)} times as long. There are "
        f"{worst(lambda row: row.requests)} times its requests, and {worst(lambda row: row.units)} times its "
        f"write units. A cell is the median of {len(SEEDS)} seeds, of {len(FEW_SEEDS)} with "
        f"{MANY_WORKERS:,} workers; - was not simulated."
    )


def collect_rarely() -> None:
    """A third of the time of a run with many workers went into looking for garbage. There is none."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.uneven", description=__doc__)
    parser.add_argument("--workers", type=int, action="append", help="this many; may be given several times")
    parser.add_argument("--shape", choices=list(SHAPES), action="append", help="these tasks; several times")
    parser.add_argument("--mean", type=float, action="append", help="tasks of this mean; several times")
    parser.add_argument("--processes", type=int, default=2, help="processes that simulate")
    parser.add_argument("--write", action="store_true", help=f"put all that is kept into docs/{PAGE.name}")
    given = parser.parse_args(argv)
    sources = sources_of_a_run()
    found = kept(sources)
    wanted = list(cells(given.workers or WORKERS, given.mean or MEANS_S, given.shape or list(SHAPES)))
    KEPT.parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(given.processes, initializer=collect_rarely) as pool, KEPT.open("ab") as journal:
        for row in pool.map(compare, [cell for cell in wanted if cell not in found]):
            found[row.cell] = row
            journal.write(msgspec.json.encode(Kept(sources, row)) + b"\n")
            journal.flush()
    rows = [found[cell] for cell in cells(WORKERS, MEANS_S, list(SHAPES)) if cell in found]
    for row in sorted((found[cell] for cell in wanted), key=lambda row: -row.over_best):
        figures = f"{row.over_best:.2f} {row.over_single:.2f} {row.requests:.2f} {row.units:.2f}"
        cell = row.cell
        print(f"{cell.workers:>5} x {cell.mean_s:<6g} {cell.shape:<28} {cell.tasks:>6} {figures}")
    made = f"{table(rows)}\n\n{findings(rows)}"
    print(f"\n{made}")
    if given.write:
        page = PAGE.read_text()
        before, _, rest = page.partition("<!-- uneven -->\n")
        _, _, after = rest.partition("<!-- end -->")
        PAGE.write_text(f"{before}<!-- uneven -->\n{made}\n<!-- end -->{after}")


if __name__ == "__main__":
    main()
