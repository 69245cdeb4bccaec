"""kon on SQLite beside huey on SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.experiment import Experiment, Point, Record, Section, by_round, by_what, rounds
from benchmarks.throughput import NO_KNOB, best_of, by_hand, over, rates, runs, size

KEPT: Final = {"normal": "no fsync", "full": "fsync"}
"""kon's durability, and what huey calls as much or, for `normal`, a little less."""


class OnDisk(Experiment):
    name = "sqlite"

    def points(self, quick: bool) -> list[Point]:
        tasks = 20_000 if quick else 200_000
        kon = [
            point
            for durability in KEPT
            for point in runs(f"kon, {durability}", tasks, {"workers": 2, "durability": durability})
        ]
        huey = [
            Point(
                f"huey, {KEPT[durability]}, {threads} thread{'s' * (threads > 1)}{', results' * results}",
                "benchmarks.peers.huey_queue:measure",
                {
                    "tasks": (1_000 if quick else 4_000) if durability == "full" else 10_000,
                    "threads": threads,
                    "results": results,
                    "fsync": durability == "full",
                },
            )
            for durability in KEPT
            for threads in (1, 4)
            for results in (False, True)
        ]
        disk = [Point("disk", "benchmarks.runs:commit_to_disk")]
        return rounds(1 if quick else 3, kon + huey + disk)

    def draw(self, records: Sequence[Record]) -> Section:
        per_s = by_round(records, "tasks_per_s")
        huey = {durability: best_of(per_s, f"huey, {kept},") for durability, kept in KEPT.items()}
        disk = by_what(records, "fsync_us")["disk"]
        alike = {
            durability: [r for r in records if r.point.what.split(", ")[1:2] in ([durability], [kept])]
            for durability, kept in KEPT.items()
        }
        normal, full = huey["normal"], huey["full"]
        return Section(
            title=f"On disk: {size(records, 'kon'):,} tasks of no length through SQLite",
            findings=[
                f"""{over(per_s, f"kon, normal, {NO_KNOB}", normal).ratio()} huey at the best of four
                settings, where both survive `kill -9` (wanted: at least 25x).""",
                f"""{over(per_s, "kon, normal, bundle 1, prefetch 1,000", normal).ratio()} with a message
                for each task.""",
                f"""{over(per_s, f"kon, full, {NO_KNOB}", full).ratio()} where both survive a power cut.""",
                by_hand(per_s, "kon, normal"),
            ],
            tables=[rates(alike[each], per_s, huey[each], "of huey") for each in KEPT],
            notes=[
                """From the first submission until all results are known. kon: conditional_put, 2 worker
                processes, with its journals. Bundle 1 with prefetch 10 gets a tenth of the tasks.""",
                f"""`durability: normal`, the default, survives the end of any process; `full` a power cut as
                well. A commit to this disk takes {disk.median:.0f} us.""",
                """huey gets what favours it: client and consumer in one process, all tasks queued before
                the consumer starts, all results fetched at once, and fewer tasks. fsync is its default.""",
            ],
        )
