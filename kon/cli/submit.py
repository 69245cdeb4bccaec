"""`kon submit`"""

from __future__ import annotations

import asyncio
import shlex
from typing import Any

import click

from kon.cli.experiment import RunArguments, file_argument, limit_option, out_option, set_option
from kon.cli.guard import CostAndNotice, cost_options
from kon.cli.output import json_option, note, print_json, quiet_option, told
from kon.cli.runs import collect_command
from kon.core.errors import counted
from kon.engine.records.records import RunFolder
from kon.launch.campaign import Campaign


@click.command()
@file_argument
@json_option
@out_option
@set_option
@limit_option
@cost_options("Queue nothing that would cost more at Amazon, by `kon plan`.")
@quiet_option
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    as_json: bool,
    quiet: bool,
    max_cost: str | None,
    instance: str | None,
    spot: bool,
    **asked: Any,
) -> None:
    """Queue the tasks of the experiments in FILE and print the names of their runs.

    Workers are started by `kon worker`, results collected by `kon collect`. Repeating the command queues
    nothing twice. A run that can't be queued keeps no other from it, and is named at the end. --max-cost
    refuses a run that would cost more; `kon collect --max-cost` pauses one that has.

    \b
    Example:
      kon submit exp.yml && kon worker exp-lease-w1-r1 & kon collect exp-lease-w1-r1 --no-workers
    """
    want = RunArguments(**asked)
    experiments = want.load()
    root = want.root(experiments)
    campaign = Campaign(experiments, root, about=want.origin())
    campaign.check()
    wishes = CostAndNotice(max_cost, instance, spot)
    wishes.spending(want, root, [cell.spec for cell in campaign.cells], apart=False)
    folders = asyncio.run(campaign.submit())
    if as_json:
        runs = [{"run": folder.path.name, "folder": str(folder.path)} for folder in folders]
        print_json({"experiment": experiments[0].name, "runs": runs})
    else:
        for folder in folders:
            click.echo(folder.path.name)
        if not quiet:
            _say_what_is_next(campaign, folders, wishes)
    ctx.exit(told(campaign.failures))


def _say_what_is_next(campaign: Campaign, folders: list[RunFolder], wishes: CostAndNotice) -> None:
    recorded = sum(campaign.folder(cell).finished for cell in campaign.cells)
    if recorded:
        note(f"{recorded} of {counted(len(campaign.cells), 'run')} recorded already, and not repeated")
    if folders:
        note("queued. To work on one of them, and to collect its results (which starts workers as well):")
        note(f"    {shlex.join(['kon', 'worker', str(folders[0].path)])}")
        note(f"    {collect_command(folders[0], *wishes.flags())}")
