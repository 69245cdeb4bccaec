"""`kon prove --exhaustive`: the small model in whole, and what is printed of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click
import msgspec

from kon.cli.output import note, print_json
from kon.cli.prove_found import say_pace, story_width
from kon.core.errors import counted
from kon.core.spec import Plugin
from kon.report.fit import wrapped
from kon.report.tables import draw
from kon.trials.prove.exhaustive import SHARED_PAGE, SMALL, Covered, Exhausted, exhaust_each
from kon.trials.prove.scenario import MEANING
from kon.trials.prove.telling import tell


def prove_exhaustively(
    strategies: Sequence[Plugin],
    preemptions: int,
    faults: Sequence[str] | None,
    jobs: int | None,
    as_json: bool,
    story: bool | None,
    quiet: bool,
    *,
    tasks: int = 1,
    width: int | None = None,
) -> bool:
    """Search the small model in whole, and print what was found; whether every promise was kept.

    faults: by name; None for all. story: whether broken promises are told; None for yes. tasks: 1 or 2.
    width: the columns that it has to fit; None for as many as it takes.
    """
    began_s = time.monotonic()
    every = exhaust_each(
        strategies,
        preemptions,
        faults,
        jobs,
        lambda done: None if quiet else _say_exhausted(done),
        scenario=SMALL if tasks == 1 else SHARED_PAGE,
    )
    if not quiet:
        say_pace(sum(each.schedules for each in every), time.monotonic() - began_s)
    if as_json:
        print_json({"exhausted": [_exhausted_json(each) for each in every]})
    else:
        click.echo("\n\n".join(_exhausted_text(each, story is not False, width) for each in every))
    return not any(each.broken for each in every)


def _say_exhausted(exhausted: Exhausted) -> None:
    """Tell progress on stderr."""
    note(f"{exhausted.strategy.label}: {_case(exhausted)}, {exhausted.extent()}")


def _case(exhausted: Exhausted) -> str:
    return f"2 workers, {counted(exhausted.tasks, 'task')}"


def _exhausted_json(exhausted: Exhausted) -> dict[str, object]:
    value: dict[str, object] = msgspec.to_builtins(exhausted)
    return {**value, "occasions": exhausted.occasions, "schedules": exhausted.schedules}


def _exhausted_text(exhausted: Exhausted, story: bool, width: int | None) -> str:
    body = [_covered_row(each) for each in exhausted.searched if each.schedules]
    headers = ["fault", "occasions", "schedules", "broke"]
    table = draw(body, headers, ["left", "right", "right", "left"], width=width)
    kept = "every promise held" if not exhausted.broken else "PROMISES BROKE"
    parts = [f"{exhausted.strategy.label}, {_case(exhausted)}", table]
    parts.append(wrapped(f"{exhausted.extent()}; {kept}.", width))
    if none := [each.fault for each in exhausted.searched if not each.schedules]:
        said = f"No occasion for it without another fault first: {', '.join(none)}."
        parts.append(wrapped(said, width))
    for broken in exhausted.broken:
        fault = ", ".join(f"{each.fault} at {each.service}, number {each.nth}" for each in broken.faults)
        said = f'"{broken.invariant}" is promised ({MEANING[broken.invariant]}), and broke: {fault}'
        parts.append(wrapped(said, width))
        if story and (told := tell(broken, width=story_width(width))) is not None:
            parts.append(told)
    return "\n\n".join(parts)


def _covered_row(covered: Covered) -> list[str]:
    broke = ", ".join(f"{invariant} in {count:,}" for invariant, count in covered.breaks.items())
    return [covered.fault, f"{covered.occasions:,}", f"{covered.schedules:,}", broke or "nothing"]
