"""`kon prove`"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, get_args

import click
import msgspec
import yaml

from kon.backends.sim.faults import FAULTS
from kon.cli.output import (
    is_given,
    json_option,
    note,
    quiet_option,
    refuse_unused,
    table_width,
    wide_option,
)
from kon.cli.prove_exhaustive import prove_exhaustively
from kon.cli.prove_found import Asked, replay, report, say_pace
from kon.core.errors import ConfigurationError
from kon.core.plugins import strategy_class
from kon.core.spec import Plugin
from kon.report.tables import draw
from kon.trials.prove.classes import (
    ALL_FAULTS,
    fault_class,
    fault_classes,
    registered_strategies,
    strategy_variants,
)
from kon.trials.prove.coverage import Coverage
from kon.trials.prove.drawn import SCENARIO
from kon.trials.prove.exhaustive import SHARED_PAGE
from kon.trials.prove.search import Cell, search
from kon.trials.prove.services import Searchable

EXIT_BROKEN: Final = 1
"""The exit code when a promise broke."""

SHARE: Final = 20
"""Each class of faults, except the one with all at once, gets one in this many of the schedules asked for."""


@click.command()
@click.argument("strategy", required=False)
@click.argument("options", metavar="[OPTION=VALUE]...", nargs=-1)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    metavar="N",
    help="Schedules of each strategy with all faults at once; under each fault alone, "
    f"one in {SHARE} of these. With --fault: of each.",
)
@click.option(
    "--backend",
    type=click.Choice(get_args(Searchable)),
    default="sim",
    show_default=True,
    help="`sim`: simulated queues and tables, as SQS and DynamoDB have them; `sqlite`: SQLite's own, with a "
    "kill or a failing disk at any statement; `aws`: the backend's own code, over a model of Amazon's HTTP.",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Play the schedule of one seed again.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME",
    help='Only this fault; "none", or "all" at once. May be given more than once.',
)
@click.option(
    "--tasks",
    type=click.IntRange(min=1),
    metavar="N",
    default=SCENARIO.tasks,
    show_default=True,
    help="Tasks of each schedule. With --exhaustive: 1, which is the default there, or 2, of one page.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    default=SCENARIO.workers,
    show_default=True,
    help="Workers of each schedule.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes that search.  [default: one for each core]",
)
@click.option(
    "--story/--no-story",
    default=None,
    help="Tell a story of every break, or of none.  [default: of broken promises]",
)
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Search a small model in whole: 2 workers, 1 task, every order within a bound, every single fault.",
)
@click.option(
    "--preemptions",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="With --exhaustive: how often something may go first that is not first in line.",
)
@click.option(
    "--coverage",
    is_flag=True,
    help="Tell how many lines of engine, strategies and backend run, and what is never entered.",
)
@json_option
@wide_option
@quiet_option
@click.pass_context
def prove(
    ctx: click.Context,
    strategy: str | None,
    options: tuple[str, ...],
    seeds: int,
    backend: Searchable,
    seed: int | None,
    faults: tuple[str, ...],
    tasks: int,
    workers: int,
    jobs: int | None,
    story: bool | None,
    exhaustive: bool,
    preemptions: int,
    coverage: bool,
    as_json: bool,
    wide: bool,
    quiet: bool,
) -> None:
    """Search for schedules and faults that break what strategies promise.

    kon's own client and workers run with the strategy, simulated, under every fault that queues, tables,
    networks and hosts are known for. STRATEGY is a name, or module:Class for one of your own; without it, all
    that are registered are tried. The exit code is 1 if a promise broke.

    \b
    Examples:
      kon prove
      kon prove lease lease_s=10 --seeds 2000
      kon prove lease --exhaustive --preemptions 1
      kon prove mylab.strategies:Mine --fault crash --seed 17
    """
    _refuse_unused(ctx)
    if backend != "sim" and exhaustive:
        raise ConfigurationError(f"--backend {backend} is for a search by seeds; leave --exhaustive out")
    asked = Asked(
        _strategies(strategy, options, backend),
        [fault_class(name, backend) for name in faults],
        msgspec.structs.replace(SCENARIO, backend=backend, tasks=tasks, workers=workers),
        as_json,
        story,
        wide,
    )
    if coverage:
        if exhaustive or seed is not None:
            raise ConfigurationError("--coverage is about a search; leave --exhaustive and --seed out")
        measured = Coverage(backend)
        with measured.watching():  # which one process does: so it takes a while
            kept = report(asked, search(_cells(asked, seeds), asked.base, 1))
        _print_coverage(measured, wide)
    elif exhaustive:
        if seed is not None:
            raise ConfigurationError("--exhaustive tries what there is, by no seed; leave --seed out")
        named = [each.name for each in asked.faults]
        of = None if not named or ALL_FAULTS in named else [name for name in named if name in FAULTS]
        few = tasks if is_given(ctx, "tasks") else 1
        width = table_width(wide)
        kept = prove_exhaustively(
            asked.strategies, preemptions, of, jobs, as_json, story, quiet, tasks=few, width=width
        )
    elif seed is not None:
        kept = replay(asked, seed)
    else:
        cells, began_s = _cells(asked, seeds), time.monotonic()
        searched = search(cells, asked.base, jobs, lambda done: None if quiet else _say(cells, done))
        if not quiet:
            say_pace(sum(each.schedules for each in cells), time.monotonic() - began_s)
        kept = report(asked, searched)
    ctx.exit(0 if kept else EXIT_BROKEN)


_UNUSED: Final = {
    "exhaustive": ("seeds", "workers"),
    "seed": ("seeds", "jobs"),
    "coverage": ("jobs", "json"),
}
"""Options that have no meaning with another one."""


def _refuse_unused(ctx: click.Context) -> None:
    """Raises ConfigurationError for what was asked for, and would be passed over."""
    for option, others in _UNUSED.items():
        for other in others:
            if is_given(ctx, option) and is_given(ctx, "as_json" if other == "json" else other):
                raise ConfigurationError(f"--{other} has no meaning with --{option}; leave one of them out")
    if not ctx.params["exhaustive"] and is_given(ctx, "preemptions"):
        raise ConfigurationError("--preemptions is about --exhaustive; add that, or leave this out")
    if ctx.params["exhaustive"] and ctx.params["as_json"]:
        refuse_unused(ctx, "--exhaustive --json, which tells no story,", "story")
    if ctx.params["exhaustive"] and is_given(ctx, "tasks") and ctx.params["tasks"] > SHARED_PAGE.tasks:
        raise ConfigurationError(
            f"--tasks {ctx.params['tasks']}: the small model of --exhaustive has 1 task, or 2 of one page. "
            "A search by seeds has any number; leave --exhaustive out for that"
        )


def _print_coverage(measured: Coverage, wide: bool) -> None:
    found, parts = measured.found(), [each for each in measured.parts() if each.lines]
    body = [[each.module, f"{each.run}/{each.lines}", ", ".join(each.never) or "-"] for each in found]
    headers, align = ["module", "lines run", "never entered"], ["left", "right", "left"]
    click.echo(f"\n{draw(body, headers, align, width=table_width(wide))}")
    shares = [f"{each.run / each.lines:.1%} of {each.name}" for each in parts]
    click.echo(f"\nLines that were run: {', '.join(shares)}.")


def _strategies(name: str | None, options: Sequence[str], backend: Searchable) -> list[Plugin]:
    """What is to be searched. Raises ConfigurationError."""
    if name is None:
        return [each for each in registered_strategies() if _fits(each, backend)]
    variants = strategy_variants(name, _given(options))
    for each in variants:
        if not _fits(each, backend):
            raise ConfigurationError(
                f"{each.label} needs a FIFO queue, which the backend {backend} does not have"
            )
    return variants


def _fits(strategy: Plugin, backend: Searchable) -> bool:
    return backend != "sqlite" or not strategy_class(strategy.name).needs_fifo


def _given(options: Sequence[str]) -> dict[str, Any]:
    given = {}
    for text in options:
        name, equals, value = text.partition("=")
        try:
            given[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals or not name:
            raise ConfigurationError(f'expected OPTION=VALUE, such as lease_s=60, found "{text}"')
    return given


def _cells(asked: Asked, seeds: int) -> list[Cell]:
    if asked.faults:
        return [Cell(strategy, faults, seeds) for strategy in asked.strategies for faults in asked.faults]
    fewer = -(-seeds // SHARE)
    return [
        Cell(strategy, faults, seeds if faults.name == ALL_FAULTS else fewer)
        for strategy in asked.strategies
        for faults in fault_classes(asked.base.backend)
    ]


def _say(cells: Sequence[Cell], done: int) -> None:
    """How far the search is, each time that it is done with a strategy."""
    cell = cells[done - 1]
    if done == len(cells) or cells[done].strategy != cell.strategy:
        schedules = sum(each.schedules for each in cells if each.strategy == cell.strategy)
        note(f"{cell.strategy.label}: {schedules:,} schedules")
