"""The row of a run in the result table, and what the run's requests cost by its records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kon.backends.prices import Prices, Provisioned, cost_of_requests, usual_prices
from kon.core.spec import Faults, RunSpec
from kon.core.task import State
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.tally import RunTally, add_states, tally_run

CONTRACT: Final = (
    "run",
    "backend",
    "strategy",
    "workers",
    "slots",
    "repeat",
    "tasks",
    "done",
    "failed",
    "dead",
    "lost",
    "duplicate_deliveries",
    "duplicates_avoided",
    "duplicate_starts",
    "duplicate_results",
    "wall_s",
    "tasks_per_s",
    "efficiency",
    "requests_per_task",
    "worker_cpu_us_per_task",
)
"""The names that `kon run --json` promises, in their order. What else a row has follows them."""


def summarise(folder: RunFolder) -> dict[str, Any]:
    """The row of a run, from its records.

    duplicate_deliveries: deliveries of an attempt at a task beyond its first.
    duplicates_avoided: tasks that a strategy turned away, having been done or begun before.
    duplicate_starts: starts of an attempt at a task beyond its first.
    duplicate_results: results kept for a task beyond its first.
    wall_s: the makespan, from the first task's submission to the last one's outcome, in seconds.
    efficiency: ideal time / measured time, a fraction; None where the ideal time is unknown or 0, or tasks
        were cancelled.
    requests_per_task: calls to queue and ledger, of workers and client.
    worker_cpu_us_per_task: CPU time of the worker processes, in microseconds, without what they start
        and without what a worker that was killed had not told yet. Where workers share the client's
        process, that process's.

    requests_by_service, billed, usd, dollars_per_million_tasks, prices: where requests are billed; by the
        prices that come with kon, and without hosts.
    task_cpu_s, task_peak_bytes: where tasks are processes: their CPU time in all, retries included, and the
        most memory that one of them had, None where none had more than its worker.
    faults: true where faults were put into the run.
    clock: "virtual" where the run was simulated: then all times are virtual seconds.

    What takes a client's records has None before the client has closed the run.
    Raises StoreError when the records can't be read.
    """
    run = folder.read_run()
    spec = run.spec
    tally = add_states(tally_run(folder, spec.tasks, moments=True), folder)
    assert tally.moments is not None  # they were asked for
    counts, billed, latencies = tally.added_up, tally.billed, tally.moments.latencies()
    cost = None if billed is None else cost_of(spec, billed, tally.wall_s, usual_prices())
    return {
        **_promised(spec, tally),
        "experiment": spec.experiment,
        "strategy_options": spec.strategy.options,
        "kind": spec.kind.name,
        "processes": spec.processes,
        "bundle": "auto" if spec.bundle is None else spec.bundle,
        "prefetch": "auto" if spec.prefetch is None else spec.prefetch,
        "cancelled": tally.states()[State.CANCELLED],
        "retries": counts[Event.RETRY],
        "deferred": counts[Event.DEFER],
        "refused": counts[Event.REFUSE],
        "dropped": counts[Event.DROP],
        "worker_lives": tally.lives_begun,
        "latency_p50_s": _rounded(latencies.quantile(0.5)),
        "latency_p99_s": _rounded(latencies.quantile(0.99)),
        **_spent_columns(tally),
        "ideal_s": spec.ideal_s,
        "began_s": tally.began_s,
        "clock": run.context.get("clock", "real"),
        **fault_columns(spec),
        **cost_columns(cost),
    }


def _promised(spec: RunSpec, tally: RunTally) -> dict[str, Any]:
    """The columns of `CONTRACT`."""
    states, wall_s = tally.states(), tally.wall_s
    values = (
        spec.run,
        spec.backend.name,
        spec.strategy.name,
        spec.workers,
        spec.slots,
        spec.repeat,
        spec.tasks,
        states[State.DONE],
        states[State.FAILED],
        states[State.DEAD],
        states[State.LOST],
        tally.deliveries.repeats,
        tally.added_up[Event.SKIP],
        tally.starts.repeats,
        tally.keeps.repeats,
        None if wall_s is None else round(wall_s, 6),
        _rounded((spec.tasks - states[State.CANCELLED]) / wall_s if wall_s else None),
        _rounded(None if states[State.CANCELLED] else efficiency(spec, wall_s)),
        _rounded(tally.requests / spec.tasks),
        _rounded(tally.worker_cpu_s * 1e6 / spec.tasks),
    )
    return dict(zip(CONTRACT, values, strict=True))


def _spent_columns(tally: RunTally) -> dict[str, Any]:
    """What a row says of the tasks' own processes; nothing where no kind has reported them."""
    if tally.task_cpu_s is None:
        return {}
    return {"task_cpu_s": _rounded(tally.task_cpu_s), "task_peak_bytes": tally.task_peak_bytes}


def fault_columns(spec: RunSpec) -> dict[str, Any]:
    """What a row says of the faults that were put into the run; nothing where there were none."""
    return {"faults": True} if spec.faults != Faults() else {}


def efficiency(spec: RunSpec, wall_s: float | None) -> float | None:
    """The time that the tasks take by themselves, spread evenly over all slots, over the time measured."""
    if not spec.ideal_s or not wall_s:
        return None
    return spec.ideal_s / (wall_s * spec.lanes)


def _rounded(value: float | None) -> float | None:
    """To six significant digits: more than any clock here can tell."""
    return None if value is None else float(f"{value:.6g}")


_CALLS: Final = ".calls"


class Cost(msgspec.Struct, frozen=True):
    """requests: sent, by service, billed or not. billed: by what Amazon bills, as `RequestCount` has it.

    out_gb, in_gb: sent to Amazon and received from it, in 10^9 bytes.
    dollars: by service. traffic_dollars: what comes on top where client and workers are not in the region.
    """

    requests: dict[str, int]
    billed: dict[str, float]
    out_gb: float
    in_gb: float
    dollars: dict[str, float]
    traffic_dollars: float
    dollars_in_all: float
    dollars_per_million_tasks: float
    region: str
    date: str


def cost_of(spec: RunSpec, billed: Mapping[str, float], wall_s: float | None, prices: Prices) -> Cost:
    """wall_s: how long its table was up, where that is paid by the hour."""
    dollars = cost_of_requests(billed, prices, _provisioned(spec, wall_s))
    in_all = sum(dollars.values())
    in_gb = billed.get("bytes_in", 0.0) / 1e9
    return Cost(
        requests={
            name.removesuffix(_CALLS): round(billed[name]) for name in sorted(billed) if _is_calls(name)
        },
        billed={name: billed[name] for name in sorted(billed) if not _is_calls(name)},
        out_gb=billed.get("bytes_out", 0.0) / 1e9,
        in_gb=in_gb,
        dollars=dollars,
        traffic_dollars=in_gb * prices.traffic.out_per_gb,
        dollars_in_all=in_all,
        dollars_per_million_tasks=in_all * 1e6 / spec.tasks,
        region=prices.region,
        date=prices.date,
    )


def cost_columns(cost: Cost | None) -> dict[str, Any]:
    """What a run's row has of its cost: nothing where nothing was billed."""
    if cost is None:
        return {}
    return {
        "requests_by_service": cost.requests,
        "billed": cost.billed,
        "usd": float(f"{cost.dollars_in_all:.6g}"),
        "dollars_per_million_tasks": float(f"{cost.dollars_per_million_tasks:.6g}"),
        "prices": {"region": cost.region, "date": cost.date},
    }


def _is_calls(name: str) -> bool:
    return name.endswith(_CALLS)


def _provisioned(spec: RunSpec, wall_s: float | None) -> Provisioned | None:
    """The capacity that a run's table was given, where that is what it costs."""
    options = spec.backend.options
    if not options.get("billing") or options.get("ledger") == "s3":
        return None
    from kon.backends.aws.options import AwsOptions

    units = AwsOptions.parse(options).capacity
    return None if units is None else Provisioned(units.read, units.write, wall_s or 0.0)
