"""`kon prove`"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec
import yaml

from kon.cli.output import json_option, quiet_option
from kon.errors import ConfigurationError
from kon.prove.classes import (
    ALL_FAULTS,
    FaultClass,
    fault_class,
    fault_classes,
    registered_strategies,
    strategy_variants,
)
from kon.prove.search import SCENARIO, Cell, search
from kon.prove.table import LEGEND, findings_tables
from kon.run import Plugin

EXIT_BROKEN: Final = 1
"""The exit code when a promise broke."""

SHARE: Final = 20
"""Of all schedules asked for, each class of faults but the one with all at once gets one in so many."""


@click.command()
@click.argument("strategy", required=False)
@click.argument("options", metavar="[OPTION=VALUE]...", nargs=-1)
@click.option("--seeds", type=click.IntRange(min=1), default=200, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Play the schedule of one seed.")
@click.option("--fault", "faults", multiple=True, metavar="NAME")
@click.option("--tasks", type=click.IntRange(min=1), default=SCENARIO.tasks, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), default=SCENARIO.workers, show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N")
@json_option
@quiet_option
@click.pass_context
def prove(
    ctx: click.Context,
    strategy: str | None,
    options: tuple[str, ...],
    seeds: int,
    seed: int | None,
    faults: tuple[str, ...],
    tasks: int,
    workers: int,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Hold strategies to what they promise.

    \b
    Examples:
      kon prove
      kon prove lease --seeds 2000
    """
    strategies = registered_strategies() if strategy is None else strategy_variants(strategy, _given(options))
    base = msgspec.structs.replace(SCENARIO, tasks=tasks, workers=workers)
    cells = _cells(strategies, [fault_class(name) for name in faults], seeds)
    searched = search(cells, base, jobs)
    click.echo(findings_tables(searched))
    click.echo(LEGEND)
    broken = any(each.broken_promises or each.raised for each in searched)
    ctx.exit(EXIT_BROKEN if broken else 0)


def _given(options: Sequence[str]) -> dict[str, Any]:
    given = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigurationError(f'expected OPTION=VALUE, such as lease_s=60, found "{text}"')
        given[name] = yaml.safe_load(value)
    return given


def _cells(strategies: Sequence[Plugin], asked: Sequence[FaultClass], seeds: int) -> list[Cell]:
    if asked:
        return [Cell(strategy, faults, seeds) for strategy in strategies for faults in asked]
    fewer = -(-seeds // SHARE)
    return [
        Cell(strategy, faults, seeds if faults.name == ALL_FAULTS else fewer)
        for strategy in strategies
        for faults in fault_classes()
    ]
