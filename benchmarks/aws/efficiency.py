"""Short tasks on SQS: the tasks' own time as a share of all time, on the emulator and on simulated hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.experiment import Experiment, Point, Record, Section, Table, by_what
from benchmarks.published import A_REMOTE, B_REMOTE, WORKERS, efficiencies

SECONDS: Final = 0.01
SLOTS: Final = 16
WORK_S: Final = 10.0
"""For each slot: 1,000 tasks of 10 ms, as the older systems gave each worker."""

MESSAGES: Final = 1_600
"""At most: with more that wait the emulator's receive grows slow."""

STRATEGIES: Final = ("conditional_put", "lease")

NO_KNOB: Final = "10 ms, lease, no knob"

_ON_EMULATOR: Final[dict[str, dict[str, Any]]] = {
    NO_KNOB: {"strategy": "lease", "bundle": None},
    "10 ms, conditional_put, no knob": {"strategy": "conditional_put", "bundle": None},
    "10 ms, none, bundle 100": {"strategy": "none", "bundle": 100},
    "10 ms, conditional_put, bundle 100": {"strategy": "conditional_put", "bundle": 100},
    "10 ms, lease, bundle 100": {"strategy": "lease", "bundle": 100},
    "10 ms, conditional_put": {"strategy": "conditional_put", "prefetch": 100, "bundle": 1},
    "100 ms, lease": {"strategy": "lease", "seconds": 0.1, "prefetch": 100, "bundle": 1},
    "100 ms, lease, flush_s 0.5": {"strategy": "lease", "seconds": 0.1, "prefetch": 100, "flush_s": 0.5},
}


class Efficiency(Experiment):
    name = "aws-efficiency"

    def points(self, quick: bool) -> list[Point]:
        points = []
        for what, options in _ON_EMULATOR.items():
            seconds = options.get("seconds", SECONDS)
            tasks = round((1.0 if quick else WORK_S) * SLOTS / seconds)
            if "prefetch" in options:  # without bundles
                tasks = min(tasks, MESSAGES)
            settings = {"tasks": tasks, "warm_up": 150, "slots": SLOTS, "seconds": seconds, **options}
            points.append(Point(what, "benchmarks.aws.measure:kon", settings))
        for strategy in STRATEGIES:
            for workers in WORKERS:
                settings = {
                    "workers": workers,
                    "tasks_each": 200 if quick else 1_000,
                    "seconds": SECONDS,
                    "strategy": strategy,
                }
                points.append(
                    Point(simulated(strategy, workers), "benchmarks.aws.measure:simulated", settings)
                )
        return points

    def draw(self, records: Sequence[Record]) -> Section:
        measured = by_what(records, "efficiency")
        per_s = by_what(records, "tasks_per_s")
        emulator_ms = by_what(records, "emulator_cpu_ms_per_task")
        requests = by_what(records, "requests_per_task")
        at_16 = min(measured[simulated(strategy, WORKERS[-1])].median for strategy in STRATEGIES)
        each = max(int(r.point.options.get("tasks_each", 0)) for r in records)
        return Section(
            title="Short tasks on SQS and DynamoDB: the tasks' own time as a share of all time, in percent",
            findings=[
                f"""{100 * at_16:.1f}% with tasks of 10 ms on 16 simulated workers, each call taking as long
                as Amazon's do (wanted: at least 95%; the older systems measured 24.3% and 2%).""",
                f"""{100 * measured[NO_KNOB].median:.1f}% with tasks of 10 ms in {SLOTS} slots on the
                emulator, without a knob (wanted: at least 95%).""",
            ],
            tables=[
                Table(
                    ("tasks of 10 ms", "workers:", *map(str, WORKERS)),
                    [
                        (
                            "kon, simulated",
                            strategy,
                            *(f"{100 * measured[simulated(strategy, w)].median:.1f}" for w in WORKERS),
                        )
                        for strategy in STRATEGIES
                    ]
                    + [("measured in 2016", *older) for older in efficiencies(SECONDS, A_REMOTE, B_REMOTE)],
                ),
                Table(
                    (
                        f"on the emulator, {SLOTS} slots",
                        "efficiency",
                        "tasks/s",
                        "requests for each",
                        "emulator's CPU, ms a task",
                    ),
                    [
                        (
                            what,
                            f"{100 * measured[what].median:.1f}",
                            f"{per_s[what].median:,.0f}",
                            f"{requests[what].median:.3f}",
                            f"{emulator_ms[what].median:.2f}" if what in emulator_ms else "",
                        )
                        for what in _ON_EMULATOR
                    ],
                ),
            ],
            notes=[
                f"""Simulated: kon's own client, workers and strategies in virtual time, {each:,} tasks for
                each worker of one slot, a message to a task, over the model `aws-us-east-1`.""",
                f"""The emulator computes on one core: where its CPU time for a task comes near 0.6 ms, it
                holds the worker back. Whoever waits for a message gets it up to 0.1 s late there, which is a
                hundredth of these runs at each end. Without bundles `prefetch` is 100, and there are
                {MESSAGES:,} tasks at most.""",
                """The older systems' figures are their reports', t2.micro, 1,000 tasks for each worker.""",
            ],
        )


def simulated(strategy: str, workers: int) -> str:
    return f"simulated, {strategy}, {workers} workers"
