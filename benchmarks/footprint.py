"""What many tasks need: memory of workers and client, the time to queue each, and what waiting costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.experiment import Experiment, Point, Record, Section, Table, by_what

BUNDLES: Final = (1, 100)
"""Tasks in a message."""


class Footprint(Experiment):
    name = "footprint"

    def points(self, quick: bool) -> list[Point]:
        counts = (1_000, 10_000, 100_000) if quick else (1_000, 100_000, 1_000_000)
        return [
            Point(f"{tasks:,}", "benchmarks.runs:footprint", {"tasks": tasks, "workers": 2, "bundle": 100})
            for tasks in counts
        ]

    def draw(self, records: Sequence[Record]) -> Section:
        worker, client = by_what(records, "worker_peak_mb"), by_what(records, "client_peak_mb")
        _, many, most = worker
        return Section(
            title="Memory: the peaks of a run's workers and of its client",
            findings=[
                f"""{worker[most].median - worker[many].median:+.1f} MB in a worker at {most} tasks, against
                {many} (wanted: flat).""",
                f"""{client[most].median - client[many].median:+.1f} MB in the client, which keeps a byte
                for each task.""",
            ],
            tables=[
                Table(
                    ("tasks", "worker, MB", "client, MB"),
                    [(what, f"{worker[what].median:.1f}", f"{client[what].median:.1f}") for what in worker],
                )
            ],
            notes=["""SQLite, 2 workers, bundle 100. Resident memory, Python and all libraries included."""],
        )


class Submission(Experiment):
    name = "submission"

    def points(self, quick: bool) -> list[Point]:
        counts = (1_000, 10_000, 100_000) if quick else (10_000, 100_000, 1_000_000)
        return [submission(tasks, bundle) for tasks in counts for bundle in BUNDLES]

    def draw(self, records: Sequence[Record]) -> Section:
        us, peak = by_what(records, "us_per_task"), by_what(records, "peak_mb")
        counts = list(dict.fromkeys(record.point.options["tasks"] for record in records))
        most, fewer = counts[-1], counts[-2]
        return Section(
            title="Submission: the time to queue a task, without workers",
            findings=[
                f"""{us[label(most, bundle)].median / us[label(fewer, bundle)].median:.2f} times as long for
                each of {most:,} tasks as for each of {fewer:,}, with {bundle} in a message (wanted: 1,
                which is linear)."""
                for bundle in BUNDLES
            ],
            tables=[
                Table(
                    (
                        "tasks",
                        *(f"us a task, bundle {n}" for n in BUNDLES),
                        *(f"MB, bundle {n}" for n in BUNDLES),
                    ),
                    [
                        (
                            f"{tasks:,}",
                            *(f"{us[label(tasks, bundle)].median:.2f}" for bundle in BUNDLES),
                            *(f"{peak[label(tasks, bundle)].median:.1f}" for bundle in BUNDLES),
                        )
                        for tasks in counts
                    ],
                )
            ],
            notes=["""SQLite, with some 20 ms to make the database. MB: the client's peak of memory."""],
        )


def submission(tasks: int, bundle: int) -> Point:
    return Point(label(tasks, bundle), "benchmarks.runs:submit", {"tasks": tasks, "bundle": bundle})


def label(tasks: int, bundle: int) -> str:
    return f"{tasks:,} tasks, bundle {bundle}"


class Idle(Experiment):
    name = "idle"

    def points(self, quick: bool) -> list[Point]:
        return [Point("a worker", "benchmarks.runs:idle", {"seconds": 3 if quick else 10})]

    def draw(self, records: Sequence[Record]) -> Section:
        (share,) = by_what(records, "core_share").values()
        return Section(
            title="Waiting: a worker whose queue is empty",
            findings=[f"{100 * share.median:.2f}% of a core."],
            notes=["""SQLite: a long poll that looks every 25 ms, and a heartbeat each second."""],
        )
