"""How long a run would take on a fleet: the first of its tasks are simulated, the rest follows from those.

A run of a few tens of thousands of tasks is simulated whole. A part of a larger one is, long enough to
get into its stride, and half of that part once more: what the one takes beyond the other, in time, requests
and CPU seconds, is what further tasks take. A table that is used to the full takes twice as much every half
an hour; where that is what holds a run back, a second simulation says how fast it would be without.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from kon.backends.prices import Prices
from kon.backends.sim.fleet import Fleet, LimitReport, Usage
from kon.backends.sim.model import Model, ServiceChoice, TableLimits, chosen, part_of, to_model
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Outcome, State
from kon.engine.sizing import Sizing
from kon.experiment import Cell
from kon.launch.simulated.billing import message_bytes, messages_of
from kon.launch.simulated.simulation import Report, Simulation
from kon.trials.plan.bill import Use, bill

SAMPLE_TASKS: Final = 20_000
"""Tasks that are simulated at least, if there are that many."""

ROUNDS: Final = 24
"""Tasks of each lane that are simulated at least; of each message of a bundle, `BUNDLE_ROUNDS`."""

BUNDLE_ROUNDS: Final = 6

MOST_LANES: Final = 1_024
"""Tasks at once in a simulation, or half as many more; of a larger fleet an equal part is simulated."""

FULL: Final = 0.9
"""The share of a limit from which on it is what holds a run back."""

MOST_OF_THE_TIME: Final = 0.75
"""Share of a run's time spent on its submission: then that is what holds it back."""


class Setting(msgspec.Struct, frozen=True):
    """Where a run is thought to take place."""

    workers: int
    instance: str
    spot: bool = False


class Forecast(msgspec.Struct, frozen=True):
    """What a run would take; times in seconds.

    simulated: tasks of the simulation that this comes from; fewer than `tasks` where the rest was reckoned.
    parts: of how many equal parts of the fleet one was simulated.
    boot_s: until the last host is ready. work_s: from there to the last answer. makespan_s: both.
    bundle: tasks in a message, where the experiment says so. tasks_per_message: as it came out, on average.
    held_back_by: what it would take to be faster. limits: how much of each limit was used.
    """

    run: str
    experiment: str
    strategy: str
    bundle: int | None
    tasks_per_message: float
    setting: Setting
    tasks: int
    simulated: int
    parts: int
    boot_s: float
    work_s: float
    makespan_s: float
    tasks_per_s: float
    efficiency: float | None
    requests: float
    usd_by_service: dict[str, float]
    usd: float
    held_back_by: str
    most_in_flight: int
    interruptions: float
    limits: list[LimitReport]


class Forecaster:
    """Forecasts; what differs in nothing but prices is simulated once."""

    def __init__(self, prices: Prices, sample_tasks: int = SAMPLE_TASKS) -> None:
        self._prices = prices
        self._sample_tasks = sample_tasks
        self._reports: dict[str, Report] = {}

    def forecast(self, cell: Cell, setting: Setting) -> Forecast:
        """Raises ConfigurationError for an instance that the model or the prices do not have."""
        whole = placed(cell.spec, setting)
        model, choice = model_of(whole)
        type_ = chosen(model.instances, setting.instance, "instance", model.name)
        self._prices.hour(setting.instance)
        parts = max(1, round(whole.workers * whole.processes * whole.slots / MOST_LANES))
        spec = _part(whole, parts)
        tasks = self._sample(spec)
        report = self._simulate(cell, spec, tasks)
        reckoning = self._reckon(cell, spec, tasks, report)
        free_per_s = self._without_table_limits(cell, spec, tasks, report)
        table = chosen(model.tables, choice.table, "table", model.name)
        work_s = reckoning.work_s(spec.tasks, table, free_per_s)
        boot_s = _boot_s(model, whole)
        interruptions = 0.0
        if setting.spot:
            hourly = model.hosts.spot.interrupted_in_an_hour
            # each costs one host the time to boot another, and until what it held comes again
            lost_s = model.hosts.boot.median_s + spec.visibility_s
            work_s *= 1.0 + hourly * lost_s / 3600.0
            interruptions = hourly * whole.workers * (boot_s + work_s) / 3600.0
        items = _times(reckoning.total(spec.tasks, lambda usage: usage.items), parts)
        messages = messages_of(whole, items)
        use = Use(
            calls=_times(reckoning.total(spec.tasks, lambda usage: usage.calls), parts),
            items=items,
            messages=messages,
            message_bytes=message_bytes(whole, cell.workload.largest_bytes, whole.tasks / messages),
            hosts=whole.workers,
            host_s=boot_s + work_s,
            cpu_s=reckoning.cpu_s(spec.tasks) * parts,
        )
        fifo = choice.queue == "fifo"
        usd = bill(use, self._prices, setting.instance, type_, fifo=fifo, spot=setting.spot)
        efficiency = whole.ideal_s / (work_s * whole.lanes) if whole.ideal_s else None
        return Forecast(
            run=whole.run,
            experiment=whole.experiment,
            strategy=whole.strategy.label,
            bundle=whole.bundle,
            tasks_per_message=whole.tasks / messages,
            setting=setting,
            tasks=whole.tasks,
            simulated=tasks,
            parts=parts,
            boot_s=boot_s,
            work_s=work_s,
            makespan_s=boot_s + work_s,
            tasks_per_s=whole.tasks / work_s if work_s else 0.0,
            efficiency=efficiency,
            requests=sum(use.calls.values()),
            usd_by_service=usd,
            usd=sum(usd.values()),
            held_back_by=_held_back_by(report, spec, model, choice, efficiency, parts),
            most_in_flight=report.most_in_flight * parts,
            interruptions=interruptions,
            limits=[_whole_limit(limit, parts) for limit in report.limits],
        )

    def _sample(self, spec: RunSpec) -> int:
        sizing = Sizing(spec)
        if spec.ideal_s is not None:  # what the client learns from the first answers
            mean_s = spec.ideal_s / max(1, spec.tasks)
            sizing.learn([Outcome(0, 1, State.DONE, None, None, 0.0, mean_s)])
        bundle = sizing.size(spec.tasks)
        enough = max(self._sample_tasks, ROUNDS * spec.lanes, BUNDLE_ROUNDS * spec.lanes * bundle)
        # a little more than enough is not worth reckoning
        return spec.tasks if spec.tasks <= 1.2 * enough else enough

    def _reckon(self, cell: Cell, spec: RunSpec, tasks: int, report: Report) -> _Reckoning:
        half_tasks = tasks // 2
        # one that is simulated whole needs no other
        half = report if tasks == spec.tasks else self._simulate(cell, spec, half_tasks)
        return _Reckoning(spec, tasks, report, half_tasks, half)

    def _simulate(self, cell: Cell, spec: RunSpec, tasks: int) -> Report:
        model, choice = model_of(spec)
        type_ = chosen(model.instances, choice.instance, "instance", model.name)
        options = {**spec.backend.options, "instance": None}
        same = msgspec.structs.replace(spec, backend=Plugin(spec.backend.name, options))
        key = f"{same.key()} {spec.tasks} {tasks} {type_.speed} {type_.vcpus}"
        if key not in self._reports:
            ideal_s = None if spec.ideal_s is None else spec.ideal_s * tasks / spec.tasks
            sample = msgspec.structs.replace(spec, tasks=tasks, ideal_s=ideal_s)
            bodies = itertools.islice(cell.workload.bodies(cell.spec.workers), tasks)
            # messages are packed as in the whole run, and not as at its end, where they shrink
            self._reports[key] = Simulation(sample, bodies, following=spec.tasks - tasks).run()
        return self._reports[key]

    def _without_table_limits(self, cell: Cell, spec: RunSpec, tasks: int, report: Report) -> float | None:
        """Tasks a second if the tables let everything through; None where they do so anyway."""
        bound = any(limit.used >= FULL for limit in report.limits if "write" in limit.name)
        if tasks == spec.tasks or not bound:
            return None
        model, _ = model_of(spec)
        freed = msgspec.structs.replace(model, tables=dict.fromkeys(model.tables, TableLimits()))
        options = {**spec.backend.options, "latency": msgspec.to_builtins(freed)}
        free = msgspec.structs.replace(spec, backend=Plugin(spec.backend.name, options))
        return self._reckon(cell, free, tasks, self._simulate(cell, free, tasks)).per_s


class _Reckoning:
    """What follows for more tasks from two simulations, of half the sample and of the whole of it.

    Both begin and end alike, so that their difference is what further tasks take.
    """

    def __init__(self, spec: RunSpec, tasks: int, whole: Report, half_tasks: int, half: Report) -> None:
        self._spec = spec
        self._tasks = tasks
        self._whole = whole
        self._half = half
        self._apart = tasks - half_tasks

    @property
    def per_s(self) -> float:
        """Further tasks a second: no more than slots and limits let through for long."""
        spec, report = self._spec, self._whole
        took_s = report.wall_s - self._half.wall_s
        rates = [self._apart / took_s if took_s > 0 else self._tasks / report.wall_s]
        rates += [limit.per_s * self._tasks / limit.units for limit in report.limits if limit.units]
        if spec.ideal_s:
            rates.append(spec.lanes * spec.tasks / spec.ideal_s)
        return min(rates)

    def work_s(self, tasks: int, table: TableLimits, free_per_s: float | None) -> float:
        """Seconds that the tasks take. free_per_s: their rate without the table's limits, if these bind."""
        done_s, left = self._whole.wall_s, float(tasks - self._tasks)
        if not left:
            return done_s
        rate, grows_s = self.per_s, table.doubles_every_s
        if free_per_s is None or grows_s is None or table.writes_per_s is None:
            return done_s + left / rate
        most = math.inf if table.most_writes_per_s is None else table.most_writes_per_s / table.writes_per_s
        while True:
            growth = min(2.0 ** math.floor(done_s / grows_s), most)
            now_per_s = min(rate * growth, free_per_s)
            until_s = (math.floor(done_s / grows_s) + 1) * grows_s
            ends = now_per_s >= free_per_s or growth >= most or left <= now_per_s * (until_s - done_s)
            if ends:
                return done_s + left / now_per_s
            left -= now_per_s * (until_s - done_s)
            done_s = until_s

    def total(self, tasks: int, of: Callable[[Usage], int]) -> dict[str, float]:
        """A count of each call, for that many tasks."""
        counts = {}
        for name, usage in self._whole.requests.items():
            before = self._half.requests.get(name, Usage())
            counts[name] = max(0.0, of(usage) + self._more(tasks) * (of(usage) - of(before)))
        return counts

    def cpu_s(self, tasks: int) -> float:
        whole, half = self._whole.worker_cpu_s, self._half.worker_cpu_s
        return max(whole, whole + self._more(tasks) * (whole - half))

    def _more(self, tasks: int) -> float:
        """How often the difference comes again."""
        return (tasks - self._tasks) / self._apart


def placed(spec: RunSpec, setting: Setting) -> RunSpec:
    """The run on hosts of this type, which are there from the start."""
    options = {**spec.backend.options, "instance": setting.instance, "boot": False, "spot": False}
    return msgspec.structs.replace(spec, workers=setting.workers, backend=Plugin(spec.backend.name, options))


def _part(spec: RunSpec, parts: int) -> RunSpec:
    """One of `parts` equal parts of a run that is too large to be simulated: with its share of workers, of
    tasks, of what services let through, and of the client."""
    if parts == 1:
        return spec
    model, _ = model_of(spec)
    options = {
        **spec.backend.options,
        "latency": msgspec.to_builtins(part_of(model, parts)),
        "clients": spec.backend.options.get("clients", 1.0) / parts,
    }
    return msgspec.structs.replace(
        spec,
        backend=Plugin(spec.backend.name, options),
        workers=round(spec.workers / parts),
        tasks=max(1, spec.tasks // parts),
        ideal_s=None if spec.ideal_s is None else spec.ideal_s / parts,
    )


def _times(counts: Mapping[str, float], parts: int) -> dict[str, float]:
    return {name: count * parts for name, count in counts.items()}


def _whole_limit(limit: LimitReport, parts: int) -> LimitReport:
    return msgspec.structs.replace(
        limit,
        per_s=limit.per_s * parts,
        units=limit.units * parts,
        waits=limit.waits * parts,
        waited_s=limit.waited_s * parts,
    )


def model_of(spec: RunSpec) -> tuple[Model, ServiceChoice]:
    options: Mapping[str, Any] = spec.backend.options
    choices = {name: options[name] for name in ServiceChoice.__struct_fields__ if name in options}
    return to_model(options["latency"]), msgspec.convert(choices, ServiceChoice)


def _boot_s(model: Model, spec: RunSpec) -> float:
    """Until the last of the hosts is ready."""
    fleet, rng = Fleet(model, spec.seed), random.Random(f"{spec.seed}:boot")
    return max(fleet.draw_s(model.hosts.boot, rng) for _ in range(spec.workers))


def _held_back_by(
    report: Report, spec: RunSpec, model: Model, choice: ServiceChoice, efficiency: float | None, parts: int
) -> str:
    """What it would take to be faster."""
    if efficiency is not None and efficiency >= FULL:
        return "the tasks themselves"
    full = [limit for limit in report.limits if limit.used >= FULL]
    if full:
        worst = max(full, key=lambda limit: limit.waited_s)
        return f"{worst.per_s * parts:,.0f} {worst.name.replace(' of', '/s of', 1)}"
    queue = chosen(model.queues, choice.queue, "queue", model.name)
    if queue.max_in_flight is not None and report.most_in_flight * parts >= FULL * queue.max_in_flight:
        return f"{queue.max_in_flight:,} messages in flight"
    if report.wall_s and report.client_cpu_s >= FULL * report.wall_s:
        return "the client's CPU"
    if report.wall_s and report.submitted_s >= MOST_OF_THE_TIME * report.wall_s:
        return "the client's sends"
    if report.wall_s and report.worker_cpu_s >= FULL * report.wall_s * spec.workers * spec.processes:
        return "the workers' CPU"
    return "round trips"
