"""`kon collect`"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from kon.cli.guard import REFUSE_AND_PAUSE, CostAndNotice, asked_before, cost_options, notify_option
from kon.cli.inherited import metrics_option
from kon.cli.interrupts import Interrupts
from kon.cli.output import as_asked, format_option, json_option, note, print_result, quiet_option, wide_option
from kon.cli.progress import Progress, progress
from kon.cli.runs import collect_command, find_run, root_option, run_argument, runs_below
from kon.core.errors import ConfigurationError, LeftBehind
from kon.core.lock import client_lock
from kon.engine.control import Control, RunState, Status
from kon.engine.records.records import CLIENT_BEGAN, RunFolder
from kon.fleet.autoscale.demand import published_run
from kon.fleet.thing import Filter
from kon.launch.campaign import check_reach, clear_away, is_whole, record
from kon.launch.context import context
from kon.launch.guard import RunGuard
from kon.launch.joined import Hosts
from kon.launch.local import LocalRun
from kon.launch.resume import go_where_it_began, opened, remaining


@click.command()
@run_argument
@click.option("--no-workers", is_flag=True, help="Start no workers; `kon worker` does.")
@click.option("--apart", is_flag=True, help="With --no-workers: they are on other machines, by `kon join`.")
@click.option(
    "--fleet",
    metavar="NAME",
    help="RUN is one that this fleet works on, begun at another machine. Implies --no-workers --apart.",
)
@click.option("--region", help="Where that fleet is.  [default: that of the credentials]")
@cost_options(REFUSE_AND_PAUSE)
@notify_option
@metrics_option
@root_option
@json_option
@format_option
@wide_option
@quiet_option
@click.pass_context
def collect(
    ctx: click.Context,
    /,
    run: str,
    no_workers: bool,
    apart: bool,
    fleet: str | None,
    region: str | None,
    max_cost: str | None,
    instance: str | None,
    spot: bool,
    notify: str | None,
    root: Path,
    as_json: bool,
    style: str,
    wide: bool,
    quiet: bool,
) -> None:
    """Collect the results of RUN, which was begun earlier, until every task is accounted for.

    Workers that are missing are started. The table is printed at the end, as by `kon run`.

    \b
    Examples:
      kon collect exp-lease-w1-r1
      kon collect exp-lease-w1-r1 --max-cost 2usd --notify fleet
      kon collect exp-lease-w4-r1 --fleet r1
    """
    no_workers, apart = no_workers or fleet is not None, apart or fleet is not None
    if region is not None and fleet is None:
        raise ConfigurationError("--region says where a fleet is; add --fleet NAME")
    if apart and not no_workers:
        raise ConfigurationError("--apart says where workers are that --no-workers waits for; add that")
    folder = find_run(run, root) if fleet is None else _of_fleet(run, root, fleet, region)
    wishes = CostAndNotice(max_cost, instance, spot, notify)
    spec = folder.read_run().spec
    guard = RunGuard(notices=wishes.notices([spec]))
    if folder.finished:
        note(f"{folder.path.name} is recorded already")
        row = folder.read_summary()
    else:
        if apart:
            check_reach(spec.backend.name)
        go_where_it_began(folder.read_run())
        again = collect_command(folder, *_flags(no_workers, apart), *wishes.flags())
        # what was cancelled costs nothing more
        if max_cost is None or asyncio.run(_status(folder)) is not Status.CANCELLED:
            asked = None if max_cost is None else asked_before(folder)
            guard.spending = wishes.spending(asked, folder.path.parent, [spec], apart=apart)
        with progress(quiet) as shown, guard.tells_of_breaks(lambda: folder):
            client = _Client(folder, shown, guard, no_workers=no_workers, apart=apart)
            row = asyncio.run(client.run(again))
    print_result([row], as_asked(style, as_json), row["experiment"], wide)
    if folder.owes_deletion:
        asyncio.run(_cleared(folder))
    ctx.exit(0 if is_whole(row) else 1)


async def _cleared(folder: RunFolder) -> None:
    """Delete what a recorded run has left, unless somebody opens it again or deletes meanwhile.

    Raises LeftBehind where not all of it goes.
    """
    try:
        async with client_lock(folder.path.parent):
            if folder.finished and folder.owes_deletion:
                await clear_away(folder)
    except ConfigurationError as error:
        if folder.finished and folder.owes_deletion:
            raise LeftBehind(
                f"{folder.path.name} is recorded, and its queues and tables are still there: {error}. The "
                "same command then goes on with the deletion alone"
            ) from error


def _of_fleet(run: str, root: Path, fleet: str, region: str | None) -> RunFolder:
    """Its folder here, made by what the store itself has where there is none. Raises ConfigurationError."""
    there = [each for each in runs_below(root) if each.path.name == run]
    if there:
        return find_run(run, root)
    spec, began_s = asyncio.run(published_run(Filter(fleet).fleet or "", run, region))
    folder = RunFolder((root / f"{spec.experiment}-aws" / run).absolute())  # as at the first machine
    folder.client_events.parent.mkdir(parents=True, exist_ok=True)
    folder.write_run(spec, {**context(), **({} if began_s is None else {CLIENT_BEGAN: began_s})})
    folder.client_events.touch()  # it has begun, elsewhere
    note(
        f"{run} was begun at another machine. Answers that a client has taken there stand in its records: "
        "of those tasks, what the run's table tells is known here"
    )
    return folder


def _flags(no_workers: bool, apart: bool) -> list[str]:
    given = {"--no-workers": no_workers, "--apart": apart}
    return [name for name, is_given in given.items() if is_given]


async def _status(folder: RunFolder) -> Status:
    async with opened(folder) as channel:
        return (await Control(channel.control).read()).status


class _Client:
    """The client of a run that another has begun."""

    def __init__(
        self, folder: RunFolder, shown: Progress, guard: RunGuard, *, no_workers: bool, apart: bool
    ) -> None:
        self._folder = folder
        self._shown = shown
        self._guard = guard
        self._no_workers = no_workers
        self._apart = apart

    async def run(self, again: str) -> dict[str, Any]:
        """The row of the run. again: the command that takes it up, where this is interrupted."""
        async with client_lock(self._folder.path.parent):
            async with opened(self._folder) as channel:
                state = await Control(channel.control).read()
            local = self._local(state)
            self._shown.begin(self._folder)
            interrupts = Interrupts(lambda: local, lambda goes_on: [again], self._shown.leave)
            return await interrupts.watch(self._collect(local))

    async def _collect(self, local: LocalRun) -> dict[str, Any]:
        await self._guard.hold(local.run(), lambda: local)
        row = record(self._folder)
        self._shown.end(row, fresh=True)
        self._guard.ended(row, self._folder)
        return row

    def _local(self, state: RunState) -> LocalRun:
        run = self._folder.read_run()
        # nobody needs workers for what was cancelled
        starts_none = self._no_workers or state.status is Status.CANCELLED
        hosts = Hosts(self._apart) if starts_none else None
        return LocalRun(self._folder, run.spec, remaining(run, state), hosts=hosts, listener=self._shown)
