"""What a worker costs that has nothing to do: requests in an hour, and their price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.experiment import Experiment, Point, Record, Section, Table

STRATEGIES: Final = ("conditional_put", "lease")
WORKERS: Final = 4
SECONDS: Final = 125.0
"""Six long polls: enough that the first and the last weigh little."""


class Idle(Experiment):
    name = "aws-idle"

    def points(self, quick: bool) -> list[Point]:
        settings = {"seconds": 25.0 if quick else SECONDS, "workers": WORKERS}
        return [
            Point(strategy, "benchmarks.aws.measure:idle", {**settings, "strategy": strategy})
            for strategy in STRATEGIES
        ]

    def draw(self, records: Sequence[Record]) -> Section:
        each = {record.point.what: record.figures for record in records}
        most = max(figures["idle_dollars"] for figures in each.values())
        return Section(
            title="Workers on AWS that have nothing to do",
            findings=[
                f"""{max(sum(figures["idle_requests"].values()) for figures in each.values()):,.0f} requests
                in an hour for each worker process, or ${24 * 30 * most:.2f} in a month of 30 days."""
            ],
            tables=[
                Table(
                    ("one worker, in an hour", "SQS", "DynamoDB", "S3", "$", "CPU, s"),
                    [
                        (
                            strategy,
                            *(
                                f"{figures['idle_requests'].get(service, 0.0):,.0f}"
                                for service in ("sqs", "dynamodb", "s3")
                            ),
                            f"{figures['idle_dollars']:.6f}",
                            f"{figures['idle_cpu_s']:.1f}",
                        )
                        for strategy, figures in each.items()
                    ],
                )
            ],
            notes=[
                f"""{WORKERS} workers on the emulator, one of which has the only task, a sleep of
                {records[0].point.options["seconds"]:g} s. The mean of the others, for an hour. A worker polls
                for 20 s, and asks every 10 s whether the run is over."""
            ],
        )
