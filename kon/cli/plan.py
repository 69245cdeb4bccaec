"""`kon plan`"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from kon.backends.prices import Prices
from kon.cli.cost import prices_option
from kon.cli.experiment import RunArguments, file_argument, limit_option, set_option
from kon.cli.output import (
    is_given,
    json_option,
    note,
    print_json,
    quiet_option,
    table_width,
    two_things,
    wide_option,
)
from kon.core.errors import ConfigurationError
from kon.core.plugins import backend_class
from kon.experiment import Cell, Experiment
from kon.experiment.load import read_prices
from kon.experiment.models import DEFAULT
from kon.fleet.autoscale.policy import read_policy
from kon.report.fit import wrapped
from kon.trials.plan.asked import parse_time, parse_usd, parse_workers
from kon.trials.plan.elastic import elastic_table, try_policy
from kon.trials.plan.forecast import Forecast, Forecaster, Setting
from kon.trials.plan.table import Advice, advise, duration, plan_table, usd

EXIT_NONE_MEETS = 4
"""The exit code where nothing meets the deadline or the budget."""

_ALSO_SET: Final = {"workers": "workers", "model": "backend.latency", "instance": "backend.instance"}
"""Options of the command, and the keys of the file that say the same."""


@click.command()
@file_argument
@json_option
@wide_option
@set_option
@limit_option
@click.option(
    "--workers", metavar="N,...", help="Numbers of workers, such as 1,2,4,...,1024.  [default: the file's]"
)
@click.option(
    "--instance",
    metavar="TYPE,...",
    help="Types of hosts, such as t3.micro,t4g.micro.  [default: the file's, or the model's first]",
)
@click.option(
    "--deadline", metavar="TIME", help="Recommend the cheapest that is done in this time: 30m, 1h30m."
)
@click.option("--budget", metavar="USD", help="Recommend the fastest that costs no more: 5usd.")
@click.option(
    "--spot", is_flag=True, help="Plan with spot hosts, which Amazon may take back, at their price."
)
@click.option(
    "--model",
    metavar="MODEL",
    help=f"A model of a fleet, by name or file.  [default: the file's, or {DEFAULT}]",
)
@click.option(
    "--autoscale",
    "policy_file",
    metavar="POLICY",
    type=click.Path(path_type=Path),
    help="Try a policy of `kon autoscale`, next to the numbers of workers.",
)
@click.option(
    "--arrive", metavar="TIME", help="With --autoscale: the time over which tasks arrive.  [default: 0]"
)
@prices_option
@quiet_option
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    as_json: bool,
    wide: bool,
    workers: str | None,
    instance: str | None,
    deadline: str | None,
    budget: str | None,
    spot: bool,
    model: str | None,
    policy_file: Path | None,
    arrive: str | None,
    prices_file: Path,
    quiet: bool,
    **asked: Any,
) -> None:
    """Say how long the experiments in FILE would take on a fleet, and what that would cost. Nothing is paid.

    kon simulates its own workers, on hosts and services that behave as the model says. It simulates a part of
    a large experiment, and extrapolates. docs/simulator-fleet.md says what this can't know. The exit code is
    4 if nothing meets the deadline or the budget.

    \b
    Examples:
      kon plan exp.yml --workers 1,2,4,...,64 --deadline 30m
      kon plan exp.yml --instance t3.micro,c7g.medium --budget 5usd --spot
      kon plan exp.yml --autoscale policy.yml --workers 2,4,8 --arrive 2h
    """
    for option, key in _ALSO_SET.items():
        if is_given(ctx, option) and (other := _set_of(key, asked["overrides"])):
            raise two_things(f"--{option}", f"--set {other}", ctx)
    counts = None if workers is None else parse_workers(workers)
    types = None if instance is None else [each.strip() for each in instance.split(",")]
    deadline_s = None if deadline is None else parse_time(deadline, "--deadline")
    budget_usd = None if budget is None else parse_usd(budget, "--budget")
    prices = read_prices(prices_file)
    experiments = _load(RunArguments(out=None, **asked), counts, model)
    if policy_file is not None:
        if deadline or budget:
            raise ConfigurationError("--autoscale takes no --deadline and no --budget: the policy has them")
        arrive_s = 0.0 if arrive is None else parse_time(arrive, "--arrive")
        _print_trials(
            experiments,
            policy_file,
            prices,
            types,
            spot=spot,
            arrive_s=arrive_s,
            as_json=as_json,
            wide=wide,
            on_try=(lambda text: None) if quiet else note,
        )
        return
    if arrive is not None:
        raise ConfigurationError("--arrive is for --autoscale")
    forecaster = Forecaster(prices)
    meets, shown = True, []
    for experiment in experiments:
        forecasts = _forecasts(experiment, forecaster, types, spot, quiet)
        advice = advise(forecasts, deadline_s, budget_usd)
        meets = meets and advice.meets
        if as_json:
            shown.append(_object(experiment, forecasts, advice))
        else:
            click.echo(f"{_text(experiment, forecasts, advice, prices, table_width(wide))}\n")
    if as_json:
        print_json({"prices": prices.date, "region": prices.region, "plans": shown})
    ctx.exit(0 if meets else EXIT_NONE_MEETS)


def _set_of(key: str, overrides: Sequence[str]) -> str | None:
    """The one that changes this key, of all experiments or of one."""
    changed = (text.partition("=")[0].rpartition(":")[2] for text in overrides)
    return next((text for text, name in zip(overrides, changed, strict=True) if name == key), None)


def _load(asked: RunArguments, workers: Sequence[int] | None, model: str | None) -> list[Experiment]:
    """The experiments, on a backend that simulates: the file's own where that does."""
    overrides = list(asked.overrides)
    if workers is not None:
        overrides.append(f"workers={list(workers)}")
    simulates = [
        backend_class(each.backend.name).virtual_time
        for each in msgspec.structs.replace(asked, overrides=overrides, limit=1).load()
    ]
    if not all(simulates):
        if any(simulates):
            raise ConfigurationError(
                f"{asked.file}: some of its experiments have a backend that simulates, and some another; say "
                "which is meant: --set backend=sim for all, or --set NAME:backend=sim"
            )
        overrides.append("backend=sim")
    if model is not None:
        overrides.append(f"backend.latency={model}")
    return msgspec.structs.replace(asked, overrides=overrides).load()


def _forecasts(
    experiment: Experiment, forecaster: Forecaster, types: Sequence[str] | None, spot: bool, quiet: bool
) -> list[Forecast]:
    forecasts = []
    for cell in _first_repeats(experiment):
        for each in types or [_own_instance(experiment)]:
            if not quiet:
                note(f"{cell.spec.run} on {each} ...")
            forecasts.append(forecaster.forecast(cell, Setting(cell.spec.workers, each, spot)))
    return forecasts


def _first_repeats(experiment: Experiment) -> list[Cell]:
    return [cell for cell in experiment.cells() if cell.spec.repeat == 1]


def _own_instance(experiment: Experiment) -> str:
    """The type of host that the file names, or the first of its model."""
    options = experiment.backend.options
    return str(options.get("instance") or next(iter(options["latency"]["instances"])))


def _text(
    experiment: Experiment,
    forecasts: Sequence[Forecast],
    advice: Advice,
    prices: Prices,
    width: int | None,
) -> str:
    counts = sorted({each.tasks for each in forecasts})
    tasks = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    model = experiment.backend.options["latency"]["name"]
    parts = [
        f"{experiment.name}: {tasks} x {experiment.workload.kind.name}, planned with the model {model}; "
        f"{prices.label}",
    ]
    sampled = [each for each in forecasts if each.simulated < each.tasks]
    if sampled:
        least = min(each.simulated for each in sampled)
        parts.append(
            f"For {len(sampled)} of {len(forecasts)} lines the first {least:,} tasks or more were "
            f"simulated; "
            "the rest is extrapolated from what the second half of these took."
        )
    if (most := max(each.parts for each in forecasts)) > 1:
        parts.append(
            f"For fleets of thousands, one of up to {most} equal parts was simulated, with its share of "
            f"the services' limits and of the client."
        )
    chosen = advice.choice
    verdict = "Recommended" if advice.meets else "Nearest"
    parts.append(
        f"{verdict}: {chosen.setting.workers:,} x {chosen.setting.instance}, {chosen.strategy}: "
        f"{duration(chosen.makespan_s)}, ${usd(chosen.usd)} ({advice.why})"
    )
    table = plan_table(forecasts, width)
    first, *rest = (wrapped(part, width) for part in parts)
    return "\n\n".join([first, table, *rest])


def _object(experiment: Experiment, forecasts: Sequence[Forecast], advice: Advice) -> dict[str, Any]:
    return {
        "experiment": experiment.name,
        "model": experiment.backend.options["latency"]["name"],
        "forecasts": msgspec.to_builtins(forecasts),
        "advice": {
            "meets": advice.meets,
            "why": advice.why,
            "run": advice.choice.run,
            "workers": advice.choice.setting.workers,
            "instance": advice.choice.setting.instance,
        },
    }


def _print_trials(
    experiments: Sequence[Experiment],
    file: Path,
    prices: Prices,
    instances: Sequence[str] | None,
    *,
    spot: bool,
    arrive_s: float,
    as_json: bool,
    wide: bool,
    on_try: Callable[[str], None],
) -> None:
    """Print what a policy makes of the experiments, next to fleets of fixed sizes.

    instances: types of hosts; None for the model's own. arrive_s: over how long tasks come, in seconds.
    """
    policy, shown = read_policy(file), []
    for experiment in experiments:
        cells = _first_repeats(experiment)
        counts = sorted({cell.spec.workers for cell in cells})
        strategies = [cell for cell in cells if cell.spec.workers == counts[0]]
        for instance in instances or [_own_instance(experiment)]:
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
                f"on {instance}, by {file}; {prices.label}\n\n{elastic_table(trials, table_width(wide))}\n"
            )
    if as_json:
        print_json({"prices": prices.date, "region": prices.region, "policies": shown})
