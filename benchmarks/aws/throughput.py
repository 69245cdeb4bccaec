"""Tasks of no length through SQS: kon beside its peers, with the requests that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.aws.least import least_requests
from benchmarks.experiment import Experiment, Point, Record, Section, Table, by_round, by_what, rounds
from benchmarks.throughput import NO_KNOB, Rounds, best_of, over
from kon.engine.sizing import MOST_TASKS

TASKS: Final = 1_000
WARM_UP: Final = 150
"""Both together stay well under 2,000 messages: beyond, the emulator's receive grows slow."""

BUNDLED: Final = 180_000
"""Tasks in bundles of a hundred: fewer would be over before a run has found its pace."""

SHARED: Final = 100
"""Tasks in a row of the ledger, where that is tried without bundles."""

PREFETCH: Final = 300
"""Messages that kon's worker holds ahead, as the peers hold theirs: as many as serves it best."""

STRATEGIES: Final = ("lease", "conditional_put", "none")

SHARED_ROWS: Final = f"kon, lease, {SHARED} tasks a row"

CELERY: Final = "Celery"
FILLED: Final = "queue filled before"

_PEERS: Final[dict[str, dict[str, Any]]] = {
    f"{CELERY}, 4 threads": {"name": "celery", "concurrency": 4, "prefetch": 16},
    f"{CELERY}, 4 threads, {FILLED}": {"name": "celery", "concurrency": 4, "prefetch": 16, "filled": True},
    "taskiq-aio-sqs": {"name": "taskiq"},
    f"taskiq-aio-sqs, {FILLED}": {"name": "taskiq", "filled": True},
    "dramatiq_sqs": {"name": "dramatiq"},
    f"dramatiq_sqs, {FILLED}": {"name": "dramatiq", "filled": True},
    "one call a step, 4 threads": {"name": "one_call", "threads": 4},
}


class Throughput(Experiment):
    name = "aws"

    def points(self, quick: bool) -> list[Point]:
        tasks, bundled = (300, 2_000) if quick else (TASKS, BUNDLED)
        peers = [
            Point(what, "benchmarks.aws.measure:peer", {"tasks": tasks, "warm_up": WARM_UP, **options})
            for what, options in _PEERS.items()
        ]
        kon = [
            Point(
                named(strategy, bundle),
                "benchmarks.aws.measure:kon",
                {
                    "tasks": tasks if bundle == 1 else bundled,
                    "warm_up": WARM_UP,
                    "strategy": strategy,
                    "bundle": bundle,
                    "prefetch": PREFETCH if bundle == 1 else 10,
                },
            )
            for strategy in STRATEGIES
            for bundle in (1, 100)
        ]
        free = {"tasks": bundled, "warm_up": WARM_UP, "bundle": None, "prefetch": None}
        kon += [
            Point(named(strategy, None), "benchmarks.aws.measure:kon", {**free, "strategy": strategy})
            for strategy in STRATEGIES
        ]
        shared = {"tasks": tasks, "warm_up": WARM_UP, "strategy": "lease", "prefetch": PREFETCH}
        options = {**shared, "bundle": 1, "tasks_per_row": SHARED}
        kon.insert(1, Point(SHARED_ROWS, "benchmarks.aws.measure:kon", options))
        return rounds(1 if quick else 3, peers + kon)

    def draw(self, records: Sequence[Record]) -> Section:
        per_s = by_round(records, "tasks_per_s")
        celery = best_of(per_s, CELERY)
        requests = by_what(records, "requests_per_task")
        worker_ms = by_what(records, "worker_cpu_ms_per_task")
        lease, bundled, free = named("lease", 1), named("lease", 100), named("lease", None)
        put, put_bundled = named("conditional_put", 1), named("conditional_put", 100)
        return Section(
            title="Through SQS and DynamoDB: tasks of no length, one worker process",
            findings=[
                f"""{over(per_s, lease, celery).ratio()} Celery at its best, with `lease` and results, where
                Celery has neither (wanted: at least 5x), and {over(per_s, SHARED_ROWS, celery).ratio()} where
                {SHARED} tasks share a row of the ledger (`tasks_per_row`).""",
                f"""{over(per_s, bundled, celery).ratio()} with bundles of 100 (wanted: at least 12x).""",
                f"""{over(per_s, free, celery).ratio()} with a file without a knob (wanted: at least 80x):
                {over(per_s, free, best_of(per_s, bundled)).ratio()} the bundles of 100 (wanted: at least
                0.75x), with {requests[free].median:.3f} requests for each task (wanted: at most 0.02).""",
                f"""{requests[put].median:.3f} requests for each task with `conditional_put`, client and
                worker together, from submission until the answer is collected (wanted: at most 0.5), and
                {requests[put_bundled].median:.3f} with bundles of 100 (wanted: at most 0.1).""",
                f"""{worker_ms[lease].median:.2f} ms of the worker's CPU time for each task with `lease`
                (wanted: at most 0.45), and {worker_ms[bundled].median:.3f} ms with bundles of 100 (wanted:
                at most 0.08).""",
            ],
            tables=[rates(records, per_s, celery), requests_made(records)],
            notes=notes(records),
        )


def named(strategy: str, bundle: int | None) -> str:
    """bundle: tasks in a message; None for a file without a knob."""
    if bundle is None:
        return f"kon, {strategy}, {NO_KNOB}"
    return f"kon, {strategy}" + (f", bundle {bundle}" if bundle > 1 else "")


def rates(records: Sequence[Record], per_s: Rounds, base: dict[int, float]) -> Table:
    cpu = [by_what(records, f"{who}_cpu_ms_per_task") for who in ("worker", "client", "emulator")]
    return Table(
        headers=(
            "",
            "of Celery",
            "tasks/s",
            "lowest",
            "highest",
            "CPU, ms a task: worker",
            "client",
            "emulator",
        ),
        rows=[
            (
                what,
                f"{over(per_s, what, base).median:.2f}",
                f"{found.median:,.0f}",
                f"{min(found.values):,.0f}",
                f"{max(found.values):,.0f}",
                *(f"{each[what].median:.3f}" if what in each else "" for each in cpu),
            )
            for what, found in by_what(records, "tasks_per_s").items()
        ],
    )


def requests_made(records: Sequence[Record]) -> Table:
    """Of kon's runs: what was sent, by its own counters, beside the fewest that would do."""
    made = by_what(records, "requests_per_task")
    dollars = by_what(records, "dollars_per_million_tasks")
    rows = []
    for what, spread in made.items():
        of_it = [record for record in records if record.point.what == what]
        options = of_it[0].point.options
        tasks, strategy, bundle = options["tasks"], options["strategy"], options["bundle"] or MOST_TASKS
        least = least_requests(tasks, bundle, strategy, options.get("tasks_per_row")).total / tasks
        by_whom = [
            sum(each.figures["requests"].get(name, 0.0) for each in of_it) / len(of_it) / tasks
            for name in ("client.sqs", "worker.sqs", "worker.dynamodb", "client.dynamodb")
        ]
        rows.append(
            (
                what,
                f"{spread.median:.3f}",
                f"{least:.3f}",
                f"{spread.median / least:.2f}",
                *(f"{each:.3f}" for each in by_whom),
                f"{dollars[what].median:.3g}" if what in dollars else "",
            )
        )
    headers = (
        "requests for each task",
        "made",
        "the fewest",
        "of these",
        "client: SQS",
        "worker: SQS",
        "worker: DynamoDB",
        "client: DynamoDB",
        "$ for a million tasks",
    )
    return Table(headers=headers, rows=rows)


def notes(records: Sequence[Record]) -> list[str]:
    sizes = {record.point.options.get("bundle", 0): record.point.options["tasks"] for record in records}
    return [
        f"""{sizes[0]:,} tasks, a message each; with bundles {sizes[100]:,} in {sizes[100] // 100:,}
        messages. Emulator, worker and client share two cores. The emulator is started for each measurement,
        and warmed by {WARM_UP} tasks, which a peer's worker runs too.""",
        f"""kon's clock runs from the first submission until the client has recorded the last result. A
        peer's runs until its last task has run. "{FILLED}": it runs only while the worker takes from a queue
        that holds everything. Ratios are to the best row of Celery in the same round.""",
        """Celery: `-P threads`, no results, no gossip or remote control, an early ack, prefetch 16 a
        thread. taskiq-aio-sqs: sends in batches, receives ten. dramatiq_sqs: 8 threads, no middleware. One
        call a step: the older systems' loop, on boto3. None but kon and that loop drops repeats, and only
        kon brings results to its client.""",
        """Requests are those that kon counts, retries and empty receives included. The fewest: every call
        full, and none in vain.""",
    ]
