"""`kon table`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kon.cli.output import (
    as_asked,
    format_option,
    json_option,
    note,
    print_groups,
    reference_option,
    refuse_unused,
    table_width,
    wide_option,
)
from kon.cli.runs import find_runs, root_option, runs_argument
from kon.core.errors import ConfigurationError
from kon.engine.records.records import RunFolder
from kon.report.gathered import row_of


@click.command()
@runs_argument
@root_option
@json_option
@format_option
@click.option(
    "--view",
    type=click.Choice(["auto", "strategies", "lengths", "minutes"]),
    default="auto",
    show_default=True,
    help="strategies: side by side, for each experiment; lengths: time, idle time, efficiency and throughput "
    "by length of task; minutes: by workers; auto: strategies, and what else fits these runs.",
)
@reference_option
@wide_option
@click.option(
    "--width",
    type=click.IntRange(min=20),
    help="The columns of a terminal that tables have to fit.  [default: the terminal's; elsewhere any]",
)
@click.pass_context
def table(
    ctx: click.Context,
    runs: tuple[str, ...],
    root: Path,
    as_json: bool,
    style: str,
    view: str,
    reference: Path | None,
    wide: bool,
    width: int | None,
) -> None:
    """Draw the tables of recorded runs again, from their records.

    Without names, all runs below --root are drawn.

    \b
    Examples:
      kon table
      kon table results/quickstart --format github
      kon table results/sleep-1s results/sleep-10ms --view lengths --reference workloads/published.yml
    """
    style, wish = as_asked(style, as_json), "--json" if as_json else f"--format {style}"
    if wide:
        refuse_unused(ctx, "--wide", "width")
    if style != "plain":
        refuse_unused(ctx, wish, "width")
    if style in ("csv", "json"):
        refuse_unused(ctx, wish, "view", "reference")
    if wide:
        width = None
    elif width is None:
        width = table_width(wide)
    groups = finished_rows(find_runs(runs, root))
    if not groups:
        raise ConfigurationError(f"no finished run {'among these' if runs else f'below {root}'}")
    first = next(iter(groups.values()))[0]
    name = first.get("experiment", first["run"])
    print_groups(groups, style, name, view, reference, width)


def finished_rows(runs: Sequence[RunFolder]) -> dict[str, list[dict[str, Any]]]:
    """The rows of the finished runs by the folder that they are in, each as they were run. Says which are
    left out."""
    by_folder: dict[str, list[dict[str, Any]]] = {}
    left_out = []
    for run in runs:
        if run.finished:
            by_folder.setdefault(str(run.path.parent), []).append(row_of(run))
        else:
            left_out.append(run)
    if left_out:
        note(f"left out, as not finished: {', '.join(run.path.name for run in left_out)}")
    return {
        folder: sorted(rows, key=lambda row: row.get("began_s") or 0.0) for folder, rows in by_folder.items()
    }
