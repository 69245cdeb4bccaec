"""What `kon prove` prints of a search by seeds, and of one seed that is played again."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from kon.cli.output import note, print_json, table_width
from kon.core.errors import first_cause
from kon.core.spec import Plugin
from kon.report.fit import wrapped
from kon.trials.prove.classes import ALL_FAULTS, FaultClass, fault_class, not_modelled
from kon.trials.prove.drawn import SCENARIO, Try, by_seeds
from kon.trials.prove.findings import LEGEND, by_strategy, findings_tables, most_telling, summed_up
from kon.trials.prove.playing import Counterexample, taken_from
from kon.trials.prove.scenario import Played, Scenario
from kon.trials.prove.search import Searched, cause_of
from kon.trials.prove.shrink import shorten, shortest
from kon.trials.prove.telling import WIDTH, tell

SHORTEST_S: Final = 1e-3
"""No search is shorter."""


class Asked(msgspec.Struct, frozen=True):
    """What the command line asks for, apart from the seeds. story: None where nothing was said of it."""

    strategies: list[Plugin]
    faults: list[FaultClass]
    base: Scenario
    as_json: bool
    story: bool | None
    wide: bool

    def again(self, strategy: Plugin, faults: FaultClass, number: int) -> Try:
        """The schedule of that number, once more."""
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


# --- a search ----------------------------------------------------------------------------------------


def report(asked: Asked, searched: Sequence[Searched]) -> bool:
    """Print what was found; whether every promise was kept."""
    shown = _shown(asked, searched)
    raised = [each for each in searched if each.raised is not None]
    if asked.as_json:
        print_json(
            {
                **_scenario_json(asked.base),
                "searched": msgspec.to_builtins(searched),
                "breaks": msgspec.to_builtins(shown),
            }
        )
    else:
        width = table_width(asked.wide)
        told = [LEGEND, f"Not modelled: {'; '.join(not_modelled(asked.base.backend))}.", *_unbroken(searched)]
        click.echo(f"{findings_tables(searched, width=width)}\n")
        for sentence in told:
            click.echo(wrapped(sentence, width))
        for each in shown:
            _print(each, width)
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


def replay(asked: Asked, seed: int) -> bool:
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
        print_json({**_scenario_json(asked.base), "seed": seed, "breaks": msgspec.to_builtins(shown)})
    else:
        for each in shown:
            _print(each, table_width(asked.wide))
    return kept and not any(each.promised for each in shown)


def _scenario_json(base: Scenario) -> dict[str, Any]:
    """What was played: findings of one backend, or number of tasks, say nothing of another."""
    return {"backend": base.backend, "tasks": base.tasks, "workers": base.workers}


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


def say_pace(schedules: int, took_s: float) -> None:
    """How fast a search was, on stderr."""
    note(f"{schedules:,} schedules in {took_s:,.1f} s, {schedules / max(took_s, SHORTEST_S):,.0f} a second")


def story_width(width: int | None) -> int:
    """The columns of a story: those that there are, where they are fewer than it usually has."""
    return WIDTH if width is None else min(WIDTH, width)


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
    fits = None if asked.as_json else table_width(asked.wide)
    story = None if example is None else tell(example, width=story_width(fits))
    return Shown(strategy.label, fault, invariant, promised, seed, replay, story)


def _replay_command(asked: Asked, strategy: Plugin, fault: str, seed: int) -> str:
    options = [f"{name}={value}" for name, value in strategy.options.items()]
    words = ["kon prove", strategy.name, *options, f"--fault {fault} --seed {seed}"]
    if asked.base.backend != SCENARIO.backend:
        words.append(f"--backend {asked.base.backend}")
    if asked.base.tasks != SCENARIO.tasks:
        words.append(f"--tasks {asked.base.tasks}")
    if asked.base.workers != SCENARIO.workers:
        words.append(f"--workers {asked.base.workers}")
    return " ".join(words)


def _print(shown: Shown, width: int | None) -> None:
    promised = "PROMISED, and broken" if shown.promised else "not promised, and broken"
    said = f'{shown.strategy}: "{shown.invariant}" is {promised} under {shown.fault} by seed {shown.seed}'
    click.echo(f"\n{wrapped(said, width)}")
    click.echo(f"  {shown.replay}")
    if shown.story is not None:
        click.echo(f"\n{shown.story}", nl=False)
