"""How much of the time workers spend on their tasks: ideal time / measured time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from benchmarks.experiment import Experiment, Point, Record, Section, Spread, Table, by_what, rounds
from benchmarks.published import WORKERS, efficiencies


class Length(msgspec.Struct, frozen=True):
    """Tasks of one length. each: how many for each worker. wanted: the efficiency, in percent."""

    seconds: float
    each: int
    rounds: int
    wanted: float

    def __str__(self) -> str:
        return f"{self.seconds * 1_000:g} ms" if self.seconds < 1 else f"{self.seconds:g} s"

    def name(self, workers: int) -> str:
        return f"{self}, {workers} workers"


LENGTHS: Final = (
    Length(0.01, each=1_000, rounds=3, wanted=95.0),
    Length(1.0, each=15, rounds=1, wanted=99.5),
    Length(10.0, each=2, rounds=1, wanted=99.5),
)
QUICK: Final = (Length(0.01, each=200, rounds=1, wanted=95.0),)


class Efficiency(Experiment):
    name = "efficiency"

    def points(self, quick: bool) -> list[Point]:
        points: list[Point] = []
        for length in QUICK if quick else LENGTHS:
            points += rounds(length.rounds, [point(length, workers) for workers in WORKERS])
        return points

    def draw(self, records: Sequence[Record]) -> Section:
        measured = by_what(records, "efficiency")
        lengths = [length for length in LENGTHS if length.name(WORKERS[0]) in measured]
        each = {r.point.what: r.point.options["tasks"] // r.point.options["workers"] for r in records}
        counts = [f"{each[length.name(WORKERS[0])]:,} of {length}" for length in lengths]
        of_length = {length: [measured[length.name(workers)] for workers in WORKERS] for length in lengths}
        return Section(
            title="Efficiency: the tasks' own time as a share of all time, in percent",
            findings=[
                f"""{min(100 * each.median for each in found):.1f}% or more with tasks of {length}, for 1 to
                16 workers (wanted: at least {length.wanted:g}%)."""
                for length, found in of_length.items()
            ],
            tables=[
                Table(
                    ("tasks of", "workers:", *map(str, WORKERS)),
                    [row for length, found in of_length.items() for row in rows(length, found)],
                )
            ],
            notes=[
                """kon: SQLite, conditional_put, a process for each worker, no knob. From the first submission
                to the last outcome.""",
                f"""Tasks for each worker: {", ".join(counts)}. The older systems gave each 1,000, 100 and
                10, which is easier. Their figures are their reports', on t2.micro; threads keep nothing on
                disk.""",
            ],
        )


def point(length: Length, workers: int) -> Point:
    options = {"tasks": length.each * workers, "seconds": length.seconds, "workers": workers}
    return Point(length.name(workers), "benchmarks.runs:run", options)


def rows(length: Length, found: Sequence[Spread]) -> Iterator[Sequence[str]]:
    yield str(length), "kon, sqlite", *(f"{100 * each.median:.1f}" for each in found)
    if len(found[0].values) > 1:
        yield "", "kon, the worst", *(f"{100 * min(each.values):.1f}" for each in found)
        yield "", "kon, the best", *(f"{100 * max(each.values):.1f}" for each in found)
    for older in efficiencies(length.seconds):
        yield "", *older
