"""`kon collect`"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from kon.campaign import conclude, is_whole
from kon.cli.inherited import metrics_option
from kon.cli.interrupts import Interrupts
from kon.cli.output import as_asked, format_option, json_option, note, print_result, quiet_option
from kon.cli.progress import Progress, progress
from kon.cli.runs import collect_command, find_run, root_option, run_argument
from kon.control import Control, Status
from kon.joining import client_lock
from kon.local import LocalRun
from kon.records import RunFolder
from kon.resume import go_where_it_began, opened, remaining


@click.command()
@run_argument
@click.option("--no-workers", is_flag=True, help="Start none; `kon worker` does.")
@metrics_option
@root_option
@json_option
@format_option
@quiet_option
@click.pass_context
def collect(
    ctx: click.Context, /, run: str, no_workers: bool, root: Path, as_json: bool, style: str, quiet: bool
) -> None:
    """Collect the results of RUN, which was begun earlier, until every task is accounted for.

    Workers that are missing are started. The table is printed at the end, as by `kon run`.

    \b
    Example:
      kon collect exp-lease-w1-r1
    """
    folder = find_run(run, root)
    if folder.finished:
        note(f"{folder.path.name} is recorded already")
        row = folder.read_summary()
    else:
        go_where_it_began(folder.read_run())
        with progress(quiet) as shown:
            row = asyncio.run(_collect(folder, no_workers, shown))
    print_result([row], as_asked(style, as_json), row["experiment"])
    ctx.exit(0 if is_whole(row) else 1)


async def _collect(folder: RunFolder, no_workers: bool, shown: Progress) -> dict[str, Any]:
    async with client_lock(folder.path.parent):
        async with opened(folder) as channel:
            state = await Control(channel.control).read()
        run = folder.read_run()
        local = LocalRun(
            folder,
            run.spec,
            remaining(run, state),
            # nobody needs workers for what was cancelled
            join=no_workers or state.status is Status.CANCELLED,
            on_progress=shown.update,
            on_note=shown.note,
        )

        async def work() -> dict[str, Any]:
            await local.run()
            row = await conclude(folder)
            shown.end(row, fresh=True)
            return row

        shown.begin(folder)
        return await Interrupts(lambda: local, lambda goes_on: [collect_command(folder)], shown.leave).watch(
            work()
        )
