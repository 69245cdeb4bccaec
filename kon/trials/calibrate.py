"""From the records of real runs to a model: `kon calibrate`.

Each call's duration is a line over the size of its batch, and a log-normal spread around it; both are
fitted from the sums that workers and client leave in their records. What a run can't show, such as what
Amazon's services let through, is taken over from another model, with its source.
"""

from __future__ import annotations

import math
import os
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import yaml

from kon.backends.sim.latency import P99
from kon.backends.sim.model import (
    CallFigure,
    CallFigures,
    Cpu,
    Instance,
    LedgerCalls,
    Model,
    ObjectCalls,
    ObjectLimits,
    QueueCalls,
    QueueQuotas,
    Spread,
    TableLimits,
)
from kon.core.errors import ConfigurationError
from kon.core.plugins import backend_class
from kon.core.task import CLIENT, Outcome, State
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder

FEWEST_CALLS: Final = 20
"""Calls of one sort that a distribution is fitted to, at least."""

HERE: Final = "this-host"

_SUMS: Final = ("calls", "items", "items2", "sum_s", "item_s", "log", "log2", "max_s")


class Measured:
    """What the records of some runs show."""

    def __init__(self, folders: Sequence[RunFolder]) -> None:
        """Raises ConfigurationError for runs that can't be measured by."""
        if not folders:
            raise ConfigurationError("there is no run to calibrate by; name one, or a folder of runs")
        self.names = [folder.path.name for folder in folders]
        self.sums: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_SUMS, 0.0))
        self.cpu_s = 0.0
        self.tasks = 0
        self.own_limits = False
        self.durations_s: list[float] = []
        self.late_s = 0.0
        self.known = 0
        """Tasks that took `late_s` longer in all than they do by themselves."""
        for folder in folders:
            self._read(folder)
        if not self.sums:
            raise ConfigurationError(
                f"{', '.join(self.names)}: the records do not say how long calls took. "
                "An older kon wrote them; run it again"
            )

    def _read(self, folder: RunFolder) -> None:
        spec = folder.read_run().spec
        if not folder.finished:
            raise ConfigurationError(
                f"the run {spec.run} is not finished; `kon collect {shlex.quote(str(folder.path))}` ends it"
            )
        self.tasks += spec.tasks
        self.own_limits = self.own_limits or not backend_class(spec.backend.name).keeps_files
        last: dict[tuple[str, str], dict[str, Any]] = {}
        for life, event in folder.event_lines():
            if event["e"] in (Event.USAGE, Event.CLOSE):
                # what a life says last counts; of the client each time that it ended a run
                last[life, str(event["t"]) if life == CLIENT else ""] = event
        for (life, _), event in last.items():
            if life != CLIENT:
                self.cpu_s += event.get("cpu_s", 0.0)
            for call, sums in event.get("calls", {}).items():
                for name, value in sums.items():
                    self.sums[call][name] += value
        done = [each for _, each in folder.outcomes() if each.state is State.DONE]
        if spec.ideal_s is None:
            self.durations_s += [_took_s(each) for each in done]
        elif spec.ideal_s and len(done) == spec.tasks:
            self.late_s += math.fsum(map(_took_s, done)) - spec.ideal_s
            self.known += spec.tasks

    @property
    def source(self) -> str:
        shown = self.names if len(self.names) <= 3 else [*self.names[:2], f"{len(self.names) - 2} more runs"]
        return f"measured from {', '.join(shown)}"


def calibrated(measured: Measured, base: Model, name: str) -> Model:
    """The model `base` with what was measured in the place of what was not.

    Raises ConfigurationError where there are too few calls to fit anything to.
    """
    if not any(sums["calls"] >= FEWEST_CALLS for sums in measured.sums.values()):
        raise ConfigurationError(
            f"{', '.join(measured.names)}: less than {FEWEST_CALLS} calls of each sort were made; take a run "
            "with more tasks"
        )
    times = {call: _call_time(call, measured, old) for call, old in base.calls.by_name().items()}
    calls = CallFigures(
        QueueCalls(**_of("queue", times)),
        LedgerCalls(**_of("ledger", times)),
        ObjectCalls(**_of("objects", times)),
    )
    fitted = msgspec.structs.replace(
        base,
        name=name,
        about=measured.source,
        calls=calls,
        hosts=msgspec.structs.replace(base.hosts, cpu=_cpu(measured)),
        tasks=_spread(measured.durations_s, measured.source) or base.tasks,
    )
    return fitted if measured.own_limits else _on_one_machine(fitted, measured.source)


def as_yaml(model: Model) -> str:
    """The model as a file that `kon.experiment.models` reads."""
    plain = msgspec.to_builtins(model)
    text: str = yaml.safe_dump(plain, sort_keys=False, width=110, allow_unicode=True)
    return (
        f'# Written by `kon calibrate`. What stands here without "measured" was not, but taken over.\n{text}'
    )


def _of(kind: str, times: dict[str, CallFigure]) -> dict[str, CallFigure]:
    return {call.partition(".")[2]: time for call, time in times.items() if call.startswith(f"{kind}.")}


def _call_time(call: str, measured: Measured, old: CallFigure) -> CallFigure:
    """A line over the size of the batch, by least squares, and the spread of the whole."""
    sums = measured.sums.get(call)
    if sums is None or sums["calls"] < FEWEST_CALLS:
        return old
    count, items, took_s = sums["calls"], sums["items"], sums["sum_s"]
    spread = count * sums["items2"] - items * items
    slope = (count * sums["item_s"] - items * took_s) / spread if spread > 0 else 0.0
    # neither an item nor a call can take less than no time
    per_item_s = min(max(0.0, slope), took_s / items)
    mean_s = max(took_s / count - per_item_s * items / count, 0.01 * took_s / count)
    sigma = math.sqrt(max(0.0, sums["log2"] / count - (sums["log"] / count) ** 2))
    # of a log-normal distribution with this mean
    median_s = mean_s * math.exp(-sigma * sigma / 2)
    return CallFigure(
        median_s=_rounded(median_s),
        p99_s=_rounded(max(median_s * math.exp(P99 * sigma), median_s)),
        per_item_s=_rounded(per_item_s),
        source=f"{measured.source} ({count:,.0f} calls)",
    )


def _cpu(measured: Measured) -> Cpu:
    """Where calls compute, as those to a file do, their time is theirs and the rest the worker's; where they
    wait, the CPU time is shared out over them."""
    calls = sum(sums["calls"] for sums in measured.sums.values())
    in_calls_s = sum(sums["sum_s"] for sums in measured.sums.values())
    waits = in_calls_s > measured.cpu_s
    return Cpu(
        call_us=_rounded(measured.cpu_s * 1e6 / calls) if waits and measured.own_limits else 0.0,
        item_us=0.0,
        task_us=0.0 if waits else _rounded((measured.cpu_s - in_calls_s) * 1e6 / measured.tasks),
        late_us=_rounded(max(0.0, measured.late_s * 1e6 / measured.known)) if measured.known else 0.0,
        source=f"{measured.source} ({measured.cpu_s:.3g} s of CPU time, {measured.tasks:,} tasks)",
    )


def _on_one_machine(model: Model, source: str) -> Model:
    """Without the limits and delays of Amazon's services."""
    nothing = f"no limit was seen; {source}"
    at_once = Spread(median_s=0.0, p99_s=0.0, source="workers were ready when the run's clock began")
    return msgspec.structs.replace(
        model,
        queues={"measured": QueueQuotas(source=nothing)},
        tables={"measured": TableLimits(source=nothing)},
        objects=ObjectLimits(source=nothing),
        hosts=msgspec.structs.replace(model.hosts, boot=at_once),
        instances={HERE: Instance(vcpus=os.cpu_count() or 1, speed=1.0, source=source)},
    )


def _spread(durations_s: Iterable[float], source: str) -> Spread | None:
    """A log-normal spread of durations; None where there are too few."""
    logs = [math.log(max(took_s, 1e-7)) for took_s in durations_s]
    if len(logs) < FEWEST_CALLS:
        return None
    mean = math.fsum(logs) / len(logs)
    sigma = math.sqrt(math.fsum((log - mean) ** 2 for log in logs) / len(logs))
    return Spread(
        median_s=_rounded(math.exp(mean)),
        p99_s=_rounded(math.exp(mean + P99 * sigma)),
        source=f"{source} ({len(logs):,} tasks)",
    )


def _took_s(outcome: Outcome) -> float:
    return outcome.ended_s - outcome.started_s


def _rounded(value: float) -> float:
    """To four significant digits."""
    return float(f"{value:.4g}")
