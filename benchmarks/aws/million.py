"""A million tasks of no length through SQS and DynamoDB: what the whole of it takes and costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.experiment import Experiment, Point, Record, Section, Table

TASKS: Final = 1_000_000
BUNDLE: Final = 100
STRATEGIES: Final = ("lease", "conditional_put")


class Million(Experiment):
    name = "aws-million"

    def points(self, quick: bool) -> list[Point]:
        settings = {"tasks": TASKS // 100 if quick else TASKS, "warm_up": 150, "bundle": BUNDLE}
        return [
            Point(strategy, "benchmarks.aws.measure:kon", {**settings, "strategy": strategy})
            for strategy in STRATEGIES
        ]

    def draw(self, records: Sequence[Record]) -> Section:
        each = {record.point.what: record.figures for record in records}
        tasks = records[0].point.options["tasks"]
        lease = each["lease"]
        return Section(
            title=f"{tasks:,} tasks through SQS and DynamoDB",
            findings=[
                f"""{lease["took_s"]:.0f} s and ${lease["dollars_per_million_tasks"] * tasks / 1e6:.3f} with
                `lease`, each result kept and collected."""
            ],
            tables=[
                Table(
                    (
                        f"bundles of {BUNDLE}",
                        "s",
                        "tasks/s",
                        "requests",
                        "$",
                        "CPU, s: worker",
                        "client",
                        "emulator",
                    ),
                    [
                        (
                            strategy,
                            f"{figures['took_s']:.1f}",
                            f"{figures['tasks_per_s']:,.0f}",
                            f"{figures['requests_per_task'] * tasks:,.0f}",
                            f"{figures['dollars_per_million_tasks'] * tasks / 1e6:.4f}",
                            *(
                                f"{figures[f'{who}_cpu_ms_per_task'] * tasks / 1e3:.1f}"
                                for who in ("worker", "client", "emulator")
                            ),
                        )
                        for strategy, figures in each.items()
                    ],
                )
            ],
            notes=[
                """Tasks of no length, one worker process; emulator, worker and client share two cores. From
                the first submission until the client has recorded the last result. $: for the requests and
                units that were counted. The emulator's receives grow slower with what waits."""
            ],
        )
