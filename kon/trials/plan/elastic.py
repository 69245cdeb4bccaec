"""A policy for `kon autoscale`, tried in the simulator and compared with fleets of fixed sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kon.backends.prices import Prices
from kon.backends.sim.model import chosen
from kon.core.errors import ConfigurationError, counted
from kon.core.spec import RunSpec
from kon.experiment import Cell
from kon.fleet.autoscale.policy import HOUR_S, Policy
from kon.launch.simulated.billing import message_bytes, messages_of
from kon.report.tables import draw, rounded
from kon.trials.plan.bill import Use, bill
from kon.trials.plan.elastic_run import ElasticReport, ElasticSimulation, Moment
from kon.trials.plan.forecast import Setting, model_of, placed
from kon.trials.plan.table import duration, usd

MOST_TASKS: Final = 200_000
"""Tasks of a trial, which is simulated whole: how hosts come and go does not follow from a part of it."""


class Trial(msgspec.Struct, frozen=True):
    """What came of one policy, or of one number of hosts: `hosts` is None for the policy.

    left: tasks that `max_cost` left undone.
    """

    run: str
    strategy: str
    hosts: int | None
    most_hosts: int
    makespan_s: float
    host_hours: float
    usd_hosts: float
    usd: float
    most_waiting: int
    mean_waiting: float
    left: int
    moments: list[Moment]


def try_policy(
    cell: Cell,
    policy: Policy,
    counts: Sequence[int],
    instance: str,
    prices: Prices,
    *,
    spot: bool = False,
    arrive_s: float = 0.0,
    on_try: Callable[[str], None] = lambda text: None,
) -> list[Trial]:
    """The policy first, then each number of hosts. Raises ConfigurationError for what can't be simulated."""
    if cell.spec.tasks > MOST_TASKS:
        raise ConfigurationError(
            f"{cell.spec.run}: {cell.spec.tasks:,} tasks are more than a policy can be tried with "
            f"({MOST_TASKS:,}, as all of them are simulated); try a part: --limit {MOST_TASKS // 10}"
        )
    hour_usd = prices.hour(instance) * (prices.ec2.spot_share if spot else 1.0)
    trials = []
    for hosts in (None, *counts):
        on_try(f"{cell.spec.run} {'by the policy' if hosts is None else 'on ' + counted(hosts, 'host')} ...")
        spec = placed(cell.spec, Setting(hosts or policy.max_hosts, instance))
        simulation = ElasticSimulation(
            spec,
            cell.workload.bodies(cell.spec.workers),
            policy if hosts is None else None,
            arrive_s=arrive_s,
            hour_usd=hour_usd,
            least_s=prices.ec2.least_s,
        )
        report = simulation.run_elastic()
        usd_by_service = _bill(cell, spec, report, instance, prices, spot)
        trials.append(
            Trial(
                run=cell.spec.run,
                strategy=spec.strategy.label,
                hosts=hosts,
                most_hosts=report.most_hosts,
                makespan_s=report.makespan_s,
                host_hours=report.host_s / HOUR_S,
                usd_hosts=usd_by_service["EC2"],
                usd=sum(usd_by_service.values()),
                most_waiting=report.most_waiting,
                mean_waiting=report.mean_waiting,
                left=report.left,
                moments=report.moments,
            )
        )
    return trials


def elastic_table(trials: Sequence[Trial], width: int | None = None) -> str:
    """A line for each trial. width: of the terminal that it has to fit."""
    headers = ["strategy", "hosts", "makespan", "host\nhours", "EC2\n($)", "in all\n($)", "waiting\nmost"]
    headers += ["waiting\nmean", "left"]
    lines = [
        [
            each.strategy,
            f"policy, up to {each.most_hosts:,}" if each.hosts is None else f"{each.hosts:,}",
            duration(each.makespan_s),
            rounded(each.host_hours),
            usd(each.usd_hosts),
            usd(each.usd),
            f"{each.most_waiting:,}",
            f"{each.mean_waiting:,.0f}",
            f"{each.left:,}" if each.left else "-",
        ]
        for each in trials
    ]
    align = ["left", "right", *["right"] * 7]
    return draw(lines, headers, align, width=width)


def _bill(
    cell: Cell, spec: RunSpec, report: ElasticReport, instance: str, prices: Prices, spot: bool
) -> dict[str, float]:
    model, choice = model_of(spec)
    items = {name: float(usage.items) for name, usage in report.requests.items()}
    messages = messages_of(spec, items)
    use = Use(
        calls={name: float(usage.calls) for name, usage in report.requests.items()},
        items=items,
        messages=messages,
        message_bytes=message_bytes(spec, cell.workload.largest_bytes, spec.tasks / messages),
        hosts=1,  # all of their time in one: each was charged for its shortest time before
        host_s=report.host_s,
        cpu_s=report.worker_cpu_s,
    )
    type_ = chosen(model.instances, instance, "instance", model.name)
    return bill(use, prices, instance, type_, fifo=choice.queue == "fifo", spot=spot)
