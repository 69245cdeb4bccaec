"""What `kon run --dry-run` prints: the runs that would be made."""

from __future__ import annotations

from typing import Any

import click

from kon.cli.output import print_json, table_width
from kon.core.errors import counted
from kon.core.plugins import backend_class
from kon.experiment import Cell
from kon.launch.campaign import Campaign, is_whole
from kon.launch.host import RECORDED, RUN_AGAIN
from kon.report.tables import draw


def print_plan(campaign: Campaign, experiment: str, rerun_failed: bool, as_json: bool, wide: bool) -> None:
    """List the runs of a campaign that has been checked, and what would become of each."""
    runs = [_line(campaign, cell, rerun_failed) for cell in campaign.cells]
    if as_json:
        print_json({"experiment": experiment, "out": str(campaign.root), "dry_run": True, "runs": runs})
        return
    shown = [[run["run"], f"{run['tasks']:,}", run["kind"], run["backend"], run["would"]] for run in runs]
    headers = ["run", "tasks", "kind", "backend", "would be"]
    align = ["left", "right", "left", "left", "left"]
    click.echo(draw(shown, headers, align, width=table_width(wide)))
    fresh = [run for run in runs if run["would"] != RECORDED]
    tasks = sum(run["tasks"] for run in fresh)
    click.echo(
        f"\n{len(fresh)} of {len(runs)} runs would be made, {counted(tasks, 'task')}, in {campaign.root}/"
    )


def _line(campaign: Campaign, cell: Cell, rerun_failed: bool) -> dict[str, Any]:
    spec, folder = cell.spec, campaign.folder(cell)
    if not folder.exists:
        would = "made"
    elif not folder.finished:
        would = "taken up"
    elif rerun_failed and not is_whole(folder.read_summary()):
        would = RUN_AGAIN
    else:
        would = RECORDED
    return {
        "run": spec.run,
        "experiment": spec.experiment,
        "backend": spec.backend.name,
        "backend_options": spec.backend.options,
        "strategy": spec.strategy.name,
        "strategy_options": spec.strategy.options,
        "kind": spec.kind.name,
        "workers": spec.workers,
        "hosts": spec.workers if backend_class(spec.backend.name).processes else 0,
        "slots": spec.slots,
        "repeat": spec.repeat,
        "tasks": spec.tasks,
        "ideal_s": spec.ideal_s,
        "would": would,
    }
