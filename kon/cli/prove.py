"""`kon prove`"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any, Final, get_args

import click
import msgspec
import yaml

from kon.backends.sim.faults import FAULTS
from kon.cli.output import json_option, note, print_json, quiet_option, table_width, wide_option
from kon.core.errors import ConfigurationError, first_cause
from kon.core.plugins import strategy_class
from kon.core.spec import Plugin
from kon.report.fit import wrapped
from kon.report.tables import draw
from kon.trials.prove.classes import (
    ALL_FAULTS,
    FaultClass,
    fault_class,
    fault_classes,
    not_modelled,
    registered_strategies,
    strategy_variants,
)
from kon.trials.prove.counterexample import Counterexample, taken_from
from kon.trials.prove.coverage import Coverage
from kon.trials.prove.drawn import SCENARIO, Try, by_seeds
from kon.trials.prove.exhaustive import Covered, Exhausted, exhaust_each
from kon.trials.prove.findings import by_strategy, most_telling, summed_up
from kon.trials.prove.guided import try_again
from kon.trials.prove.invariants import MEANING
from kon.trials.prove.scenario import Played, Scenario
from kon.trials.prove.search import Cell, Searched, cause_of, search
from kon.trials.prove.services import Searchable
from kon.trials.prove.shrink import shorten, shortest
from kon.trials.prove.table import LEGEND, findings_tables
from kon.trials.prove.telling import tell

EXIT_BROKEN: Final = 1
"""The exit code when a promise broke."""

SHARE: Final = 20
"""Each class of faults, except the one with all at once, gets one in this many of the schedules asked for."""


class Asked(msgspec.Struct, frozen=True):
    """What the command line asks for, apart from the seeds. story: None where nothing was said of it."""

    strategies: list[Plugin]
    faults: list[FaultClass]
    base: Scenario
    as_json: bool
    story: bool | None
    wide: bool
    guided: bool = False

    def again(self, strategy: Plugin, faults: FaultClass, number: int) -> Try:
        """The schedule of that number, once more."""
        if self.guided:
            return try_again(self.base, strategy, faults, number)
        return next(by_seeds(self.base, strategy, faults, range(number, number + 1)))


class Shown(msgspec.Struct, frozen=True):
    """A break. replay: the command that plays its seed again. story: None where none is asked for."""

    strategy: str
    fault: str
    invariant: str
    promised: bool
    seed: int
    replay: str
    story: str | None


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
    help="Tasks of each schedule.",
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
    "--guided",
    is_flag=True,
    help="Keep and vary schedules that come by something new; schedules are numbered where seeds are named.",
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
    guided: bool,
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
      kon prove lease lease_s=10 --seeds 2000 --guided
      kon prove lease --exhaustive --preemptions 1
      kon prove mylab.strategies:Mine --fault crash --seed 17
    """
    if backend != "sim" and exhaustive:
        raise ConfigurationError(f"--backend {backend} is for a search by seeds; leave --exhaustive out")
    asked = Asked(
        _strategies(strategy, options, backend),
        [fault_class(name, backend) for name in faults],
        msgspec.structs.replace(SCENARIO, backend=backend, tasks=tasks, workers=workers),
        as_json,
        story,
        wide,
        guided,
    )
    if guided and exhaustive:
        raise ConfigurationError("--guided is for a search by seeds; leave --exhaustive out")
    if coverage:
        if exhaustive or seed is not None:
            raise ConfigurationError("--coverage is about a search; leave --exhaustive and --seed out")
        measured = Coverage(backend)
        with measured.watching():  # which one process does: so it takes a while
            kept = _report(asked, search(_cells(asked, seeds), asked.base, 1))
        _print_coverage(measured, wide)
    elif exhaustive:
        if seed is not None:
            raise ConfigurationError("--exhaustive tries what there is, by no seed; leave --seed out")
        named = [each.name for each in asked.faults]
        of = None if not named or ALL_FAULTS in named else [name for name in named if name in FAULTS]
        kept = _prove_exhaustively(asked.strategies, preemptions, of, jobs, as_json, story, quiet)
    elif seed is not None:
        kept = _replay(asked, seed)
    else:
        cells = _cells(asked, seeds)
        searched = search(cells, asked.base, jobs, lambda done: None if quiet else _say(cells, done))
        kept = _report(asked, searched)
    ctx.exit(0 if kept else EXIT_BROKEN)


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
        return [
            Cell(strategy, faults, seeds, guided=asked.guided)
            for strategy in asked.strategies
            for faults in asked.faults
        ]
    fewer = -(-seeds // SHARE)
    return [
        Cell(strategy, faults, seeds if faults.name == ALL_FAULTS else fewer, guided=asked.guided)
        for strategy in asked.strategies
        for faults in fault_classes(asked.base.backend)
    ]


def _say(cells: Sequence[Cell], done: int) -> None:
    """How far the search is, each time that it is done with a strategy."""
    cell = cells[done - 1]
    if done == len(cells) or cells[done].strategy != cell.strategy:
        schedules = sum(each.schedules for each in cells if each.strategy == cell.strategy)
        note(f"{cell.strategy.label}: {schedules:,} schedules")


# --- a search ----------------------------------------------------------------------------------------


def _report(asked: Asked, searched: Sequence[Searched]) -> bool:
    """Print what was found; whether every promise was kept."""
    shown = _shown(asked, searched)
    raised = [each for each in searched if each.raised is not None]
    if asked.as_json:
        print_json({"searched": msgspec.to_builtins(searched), "breaks": msgspec.to_builtins(shown)})
    else:
        width = table_width(asked.wide)
        told = [LEGEND, f"Not modelled: {'; '.join(not_modelled(asked.base.backend))}.", *_unbroken(searched)]
        click.echo(f"{findings_tables(searched, width=width)}\n")
        for sentence in told:
            click.echo(wrapped(sentence, width))
        for each in shown:
            _print(each)
    for rows in by_strategy(raised).values():
        first = rows[0]
        if first.raised is not None:
            seed, error = first.raised.seed, first.raised.error
            how = _replay_command(asked, first.strategy, first.fault, seed)
            note(f"kon: {first.strategy.label}, {first.fault}: seed {seed} raises {error}")
            note(f"  the traceback: {how}")
    return not raised and not any(each.promised for each in shown)


def _shown(asked: Asked, searched: Sequence[Searched]) -> list[Shown]:
    """A break of each broken promise, and where stories are asked for, of what was not promised."""
    shown = []
    for rows in by_strategy(searched).values():
        for broken in summed_up(rows):
            if not broken.breaks or not (broken.promised or asked.story):
                continue
            row = most_telling(rows, broken.invariant)[0]
            seed = next(each.seed for each in row.findings if each.invariant is broken.invariant)
            assert seed is not None, "the cell was chosen as one with a break"
            example = None
            if asked.story is not False:
                faults = fault_class(row.fault, asked.base.backend)
                example = shortest(asked.base, row.strategy, faults, broken.invariant)
                again = asked.again(row.strategy, faults, seed) if example is None else None
                if again is not None and again.played is not None:
                    example = shorten(taken_from(again.played, again.scenario, broken.invariant))
            shown.append(
                _one(asked, row.strategy, row.fault, seed, broken.promised, broken.invariant, example)
            )
    return sorted(shown, key=lambda each: not each.promised)


def _unbroken(searched: Sequence[Searched]) -> list[str]:
    """What is not promised, and was not broken either: the search may have been too short."""
    return [
        f'{label}: "{broken.invariant}" is not promised, and was not broken in {broken.schedules:,} schedules'
        for label, rows in by_strategy(searched).items()
        for broken in summed_up(rows)
        if not broken.promised and not broken.breaks and not any(row.raised for row in rows)
    ]


# --- one seed ----------------------------------------------------------------------------------------


def _replay(asked: Asked, seed: int) -> bool:
    """Play one seed and print what breaks; whether every promise was kept."""
    shown = []
    kept = True
    for strategy in asked.strategies:
        for faults in asked.faults or [fault_class(ALL_FAULTS, asked.base.backend)]:
            again = asked.again(strategy, faults, seed)
            if again.error is not None:  # of the strategy under test
                note("".join(traceback.format_exception(first_cause(again.error))).rstrip())
                raises = f"seed {seed} raises {cause_of(again.error)}"
                note(f"kon: {strategy.label}, {faults.name}: {raises}")
            if again.played is None:
                kept = False
                continue
            found = _breaks_of(asked, strategy, faults, seed, again.scenario, again.played)
            shown.extend(found)
            if not found and not asked.as_json:
                click.echo(f"{strategy.label}, {faults.name}: seed {seed} does not break it (any more)")
    if asked.as_json:
        print_json({"seed": seed, "breaks": msgspec.to_builtins(shown)})
    else:
        for each in shown:
            _print(each)
    return kept and not any(each.promised for each in shown)


def _breaks_of(
    asked: Asked, strategy: Plugin, faults: FaultClass, seed: int, scenario: Scenario, played: Played
) -> list[Shown]:
    promised = {each.invariant for each in played.broken}
    shown = []
    for invariant in dict.fromkeys(each.invariant for each in played.breaks):
        example = None
        if asked.story is not False:
            example = shorten(taken_from(played, scenario, invariant))
        shown.append(_one(asked, strategy, faults.name, seed, invariant in promised, invariant, example))
    return sorted(shown, key=lambda each: not each.promised)


# --- what is printed ---------------------------------------------------------------------------------


def _one(
    asked: Asked,
    strategy: Plugin,
    fault: str,
    seed: int,
    promised: bool,
    invariant: str,
    example: Counterexample | None,
) -> Shown:
    replay = _replay_command(asked, strategy, fault, seed)
    story = None if example is None else tell(example)
    return Shown(strategy.label, fault, invariant, promised, seed, replay, story)


def _replay_command(asked: Asked, strategy: Plugin, fault: str, seed: int) -> str:
    options = [f"{name}={value}" for name, value in strategy.options.items()]
    words = ["kon prove", strategy.name, *options, f"--fault {fault} --seed {seed}"]
    if asked.guided:
        words.append("--guided")
    if asked.base.backend != SCENARIO.backend:
        words.append(f"--backend {asked.base.backend}")
    if asked.base.tasks != SCENARIO.tasks:
        words.append(f"--tasks {asked.base.tasks}")
    if asked.base.workers != SCENARIO.workers:
        words.append(f"--workers {asked.base.workers}")
    return " ".join(words)


def _print(shown: Shown) -> None:
    promised = "PROMISED, and broken" if shown.promised else "not promised, and broken"
    click.echo(
        f'\n{shown.strategy}: "{shown.invariant}" is {promised} under {shown.fault} by seed {shown.seed}'
    )
    click.echo(f"  {shown.replay}")
    if shown.story is not None:
        click.echo(f"\n{shown.story}", nl=False)


def _prove_exhaustively(
    strategies: Sequence[Plugin],
    preemptions: int,
    faults: Sequence[str] | None,
    jobs: int | None,
    as_json: bool,
    story: bool | None,
    quiet: bool,
) -> bool:
    """Search the small model in whole, and print what was found; whether every promise was kept.

    faults: by name; None for all. story: whether broken promises are told; None for yes.
    """
    every = exhaust_each(
        strategies, preemptions, faults, jobs, lambda done: None if quiet else _say_exhausted(done)
    )
    if as_json:
        print_json({"exhausted": [_exhausted_json(each) for each in every]})
    else:
        click.echo("\n\n".join(_exhausted_text(each, story is not False) for each in every))
    return not any(each.broken for each in every)


def _say_exhausted(exhausted: Exhausted) -> None:
    """Tell progress on stderr."""
    note(f"{exhausted.strategy.label}: 2 workers, 1 task, {exhausted.extent()}")


def _exhausted_json(exhausted: Exhausted) -> dict[str, object]:
    value: dict[str, object] = msgspec.to_builtins(exhausted)
    return {**value, "occasions": exhausted.occasions, "schedules": exhausted.schedules}


def _exhausted_text(exhausted: Exhausted, story: bool) -> str:
    body = [_covered_row(each) for each in exhausted.searched if each.schedules]
    table = draw(body, ["fault", "occasions", "schedules", "broke"], ["left", "right", "right", "left"])
    kept = "every promise held" if not exhausted.broken else "PROMISES BROKE"
    parts = [f"{exhausted.strategy.label}, 2 workers, 1 task", table, f"{exhausted.extent()}; {kept}."]
    if none := [each.fault for each in exhausted.searched if not each.schedules]:
        parts.append(f"No occasion for it without another fault first: {', '.join(none)}.")
    for broken in exhausted.broken:
        fault = ", ".join(f"{each.fault} at {each.service}, number {each.nth}" for each in broken.faults)
        parts.append(f'"{broken.invariant}" is promised ({MEANING[broken.invariant]}), and broke: {fault}')
        if story and (told := tell(broken)) is not None:
            parts.append(told)
    return "\n\n".join(parts)


def _covered_row(covered: Covered) -> list[str]:
    broke = ", ".join(f"{invariant} in {count:,}" for invariant, count in covered.breaks.items())
    return [covered.fault, f"{covered.occasions:,}", f"{covered.schedules:,}", broke or "nothing"]
