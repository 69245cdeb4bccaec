"""`kon plan --autoscale`: what a policy makes of an experiment, beside fleets of fixed sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec

from kon.backends.prices import Prices
from kon.cli.output import print_json
from kon.experiment import Experiment
from kon.fleet.autoscale.file import read_policy
from kon.trials.plan.elastic import elastic_table, try_policy
from kon.trials.plan.table import duration


def print_trials(
    experiments: Sequence[Experiment],
    file: Path,
    prices: Prices,
    instances: Sequence[str] | None,
    *,
    spot: bool,
    arrive_s: float,
    as_json: bool,
    on_try: Callable[[str], None],
) -> None:
    """instances: types of hosts; None for the model's own. arrive_s: over how long tasks come."""
    policy, shown = read_policy(file), []
    for experiment in experiments:
        options = experiment.backend.options
        own = options.get("instance") or next(iter(options["latency"]["instances"]))
        cells = [cell for cell in experiment.cells() if cell.spec.repeat == 1]
        counts = sorted({cell.spec.workers for cell in cells})
        strategies = [cell for cell in cells if cell.spec.workers == counts[0]]
        for instance in instances or [own]:
            trials = [
                trial
                for cell in strategies
                for trial in try_policy(
                    cell, policy, counts, instance, prices, spot=spot, arrive_s=arrive_s, on_try=on_try
                )
            ]
            if as_json:
                built = msgspec.to_builtins(trials)
                shown.append({"experiment": experiment.name, "instance": instance, "trials": built})
                continue
            come = f"coming over {duration(arrive_s)}" if arrive_s else "all at once"
            click.echo(
                f"{experiment.name}: {strategies[0].spec.tasks:,} x {experiment.workload.kind.name}, {come}, "
                f"on {instance}, by {file}; {prices.label}\n\n{elastic_table(trials)}\n"
            )
    if as_json:
        print_json({"prices": prices.date, "region": prices.region, "policies": shown})
