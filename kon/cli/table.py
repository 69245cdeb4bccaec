"""`kon table`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kon.cli.output import json_option, note, print_rows, print_tables
from kon.cli.runs import find_runs, root_option, runs_argument
from kon.errors import ConfigurationError


@click.command()
@runs_argument
@root_option
@json_option
def table(runs: tuple[str, ...], root: Path, as_json: bool) -> None:
    """Draw the tables of recorded runs again, from their records.

    Without names, of all runs below --root.

    \b
    Examples:
      kon table
      kon table results/quickstart
    """
    by_folder: dict[Path, list[dict[str, Any]]] = {}
    left_out = []
    for run in find_runs(runs, root):
        if run.finished:
            by_folder.setdefault(run.path.parent, []).append(run.read_summary())
        else:
            left_out.append(run)
    if left_out:
        note(f"left out, as not finished: {', '.join(run.path.name for run in left_out)}")
    rows = [row for group in by_folder.values() for row in group]
    if not rows:
        raise ConfigurationError(f"no finished run {'among these' if runs else f'below {root}'}")
    if as_json:
        print_rows(rows[0].get("experiment", rows[0]["run"]), rows)
        return
    for number, (folder, group) in enumerate(by_folder.items()):
        if number:
            click.echo()
        print_tables(_in_order(group), f"{folder}:" if len(by_folder) > 1 else "")


def _in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they were run; folders come in the order of their names."""
    return sorted(rows, key=lambda row: row.get("began_s") or 0.0)
