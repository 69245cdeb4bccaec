"""`kon compare`"""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec

from kon.cli.output import json_option, note, print_json, table_width, wide_option
from kon.cli.runs import find_runs, root_option, runs_below
from kon.core.errors import ConfigurationError
from kon.engine.records.records import RunFolder


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@root_option
@json_option
@wide_option
def compare(a: str, b: str, root: Path, as_json: bool, wide: bool) -> None:
    """Say what differs between A and B, by how much their figures differ, and whether that means anything.

    A and B are runs, or folders of runs, whose runs are then matched by strategy, workers and work. A run's
    name without its -rN means all of its repeats. One repeat of each can't tell a difference from chance; 4
    and 4 can.

    \b
    Examples:
      kon compare exp-lease-w4 exp-none-w4
      kon compare results/before results/after
    """
    from kon.report.compare import as_text
    from kon.report.compare import compare as compared

    found = compared(_finished(a, root), _finished(b, root))
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        click.echo(as_text(found, table_width(wide)))


def _finished(name: str, root: Path) -> list[RunFolder]:
    runs = _repeats(name, root) or find_runs([name], root)
    left_out = [run.path.name for run in runs if not run.finished]
    runs = [run for run in runs if run.finished]
    if not runs:
        raise ConfigurationError(f"{name}: no run of it is finished, so that there is nothing to compare")
    if left_out:
        note(f"left out, as not finished: {', '.join(left_out)}")
    return runs


def _repeats(name: str, root: Path) -> list[RunFolder]:
    """The runs that are this one's repeats, for a name, or the path of a folder, without -rN."""
    stem = Path(name)
    below = runs_below(stem.parent if len(stem.parts) > 1 else root)
    pattern = re.compile(rf"{re.escape(stem.name)}-r\d+")
    return [run for run in below if pattern.fullmatch(run.path.name)]
