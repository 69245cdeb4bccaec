"""`kon run`"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kon.cli.experiment import RunArguments, file_argument, limit_option, out_option, set_option
from kon.cli.guard import REFUSE_AND_PAUSE, CostAndNotice, cost_options, notify_option
from kon.cli.inherited import check_metrics, metrics_option
from kon.cli.interrupts import Interrupts
from kon.cli.output import (
    as_asked,
    format_option,
    json_option,
    note,
    print_json,
    print_result,
    quiet_option,
    refuse_unused,
    table_width,
    told,
    wide_option,
)
from kon.cli.progress import progress
from kon.cli.runs import collect_command
from kon.core.errors import ConfigurationError, counted
from kon.core.plugins import backend_class
from kon.engine.records.records import RunFolder
from kon.experiment import Cell
from kon.launch.campaign import Campaign, is_whole
from kon.launch.guard import RunGuard
from kon.launch.host import RECORDED, RUN_AGAIN
from kon.launch.joined import Hosts
from kon.report.live import check_installed
from kon.report.tables import draw

if TYPE_CHECKING:
    from kon.experiment import Experiment


@click.command()
@file_argument
@json_option
@format_option
@wide_option
@out_option
@set_option
@limit_option
@click.option("--rerun-failed", is_flag=True, help="Run tasks again that are recorded as not done.")
@click.option("--dry-run", is_flag=True, help="Check everything and list the runs; write nothing.")
@click.option("--join", is_flag=True, help="Start no workers: `kon join` does, once for each worker.")
@click.option("--apart", is_flag=True, help="With --join: the hosts are other machines.")
@metrics_option
@click.option(
    "--emulator",
    is_flag=True,
    help="Run SQS, DynamoDB and S3 on this machine for this command, without an account; for trials.",
)
@click.option("--live", is_flag=True, help="Show the run on a page in the browser; the link is on stderr.")
@cost_options(REFUSE_AND_PAUSE)
@notify_option
@quiet_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    as_json: bool,
    style: str,
    wide: bool,
    rerun_failed: bool,
    dry_run: bool,
    join: bool,
    apart: bool,
    emulator: bool,
    live: bool,
    max_cost: str | None,
    instance: str | None,
    spot: bool,
    notify: str | None,
    quiet: bool,
    **asked: Any,
) -> None:
    """Run the experiments in FILE and print their tables.

    A run that is recorded is not repeated, and one that was interrupted goes on where it stopped. Ctrl-C once
    leaves the run to its workers; twice stops them too.

    \b
    Examples:
      kon run workloads/quickstart.yml
      kon run exp.yml --set workers=[1,2,4] --limit 100 --out /tmp/try
      kon run exp.yml --set backend=aws --emulator
      kon run exp.yml --set backend=aws --max-cost 2usd
      kon run exp.yml --live
      kon run exp.yml --json | jq '.runs[] | {run, tasks_per_s}'
    """
    if emulator and join:
        raise ConfigurationError(
            "--emulator and --join exclude each other, as hosts would not find it: start `kon emulator`, and "
            "give its variables to this command and to the hosts"
        )
    if apart and not join:
        raise ConfigurationError("--apart says where hosts are that --join waits for; add --join")
    style = as_asked(style, as_json)
    if dry_run and style not in ("plain", "json"):
        refuse_unused(ctx, "--dry-run", "style")
    if live:
        check_installed()
    want = RunArguments(**asked)
    experiments = want.load()
    check_metrics(experiments)
    root = want.root(experiments, emulator)
    wishes = CostAndNotice(max_cost, instance, spot, notify)
    specs = [cell.spec for each in experiments for cell in each.cells()]
    guard = RunGuard(notices=wishes.notices(specs))
    with progress(quiet) as shown:
        campaign = Campaign(
            experiments,
            root,
            hosts=Hosts(apart) if join else None,
            rerun_failed=rerun_failed,
            about=want.origin(),
            listener=shown,
            guard=guard,
        )
        campaign.check()
        guard.spending = wishes.spending(want, root, specs, apart=apart, rerun_failed=rerun_failed)
        if dry_run:
            print_plan(campaign, experiments[0].name, rerun_failed, style == "json", wide)
            return
        given = {"--join": join, "--apart": apart, "--emulator": emulator}
        flags = [name for name, is_given in given.items() if is_given]
        again = want.command("run", root, *flags, *wishes.flags())

        def resume(goes_on: bool) -> list[str]:
            if campaign.current is None or not goes_on:
                return [again]
            return [again, f"{collect_command(campaign.current.folder, *wishes.flags())}    (this run alone)"]

        def current() -> RunFolder | None:
            return None if campaign.current is None else campaign.current.folder

        ends_with_us = "the emulator ends with this command" if emulator else None
        interrupts = Interrupts(lambda: campaign.current, resume, shown.leave, ends_with_us=ends_with_us)
        with _emulator(emulator, experiments), _page(live, root), guard.tells_of_breaks(current):
            rows = asyncio.run(_run(campaign, guard, interrupts))
    if rows:
        print_result(rows, style, experiments[0].name, wide)
    ctx.exit(max(told([*campaign.failures, *campaign.left]), 0 if all(map(is_whole, rows)) else 1))


@contextmanager
def _emulator(asked_for: bool, experiments: Sequence[Experiment]) -> Iterator[None]:
    """Within it, an emulator stands in for Amazon, if that is asked for."""
    if not asked_for:
        yield
        return
    from kon.cli.emulator import emulated  # loads botocore: without it, kon is there in half the time

    with emulated(experiments):
        yield


@contextmanager
def _page(asked_for: bool, root: Path) -> Iterator[None]:
    """Within it, a page shows the runs in this folder, if that is asked for."""
    if not asked_for:
        yield
        return
    from kon.launch.beside import page_of

    with page_of(root) as link:
        note(f"live at {link}")  # even where --quiet is asked for: it was asked for as well
        yield


async def _run(campaign: Campaign, guard: RunGuard, interrupts: Interrupts) -> list[dict[str, Any]]:
    return await interrupts.watch(guard.hold(campaign.run(), lambda: campaign.current))


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
        f"\n{len(fresh):,} of {len(runs):,} runs would be made, {counted(tasks, 'task')}, in {campaign.root}/"
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
