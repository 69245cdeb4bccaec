"""`kon status`"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from kon.cli.output import json_option, note, print_json, table_width, wide_option
from kon.cli.runs import find_runs, root_option, runs_argument
from kon.core.errors import KonError
from kon.core.lock import client_lock
from kon.core.plugins import backend_class
from kon.core.task import FINAL, State
from kon.engine.control import Control, Status
from kon.engine.records.records import RunFolder
from kon.launch.liveness import runs_here
from kon.launch.resume import opened
from kon.report.read.tally import RunTally, add_states
from kon.report.tables import draw

_COLUMNS: Final = {
    "run": "run",
    "state": "state",
    "tasks": "tasks",
    "done": "done",
    "failed": "failed",
    "dead": "dead",
    "lost": "lost",
    "cancelled": "cancelled",
    "left": "left",
    "submitted": "submitted",
    "queued": "messages",
    "in_flight": "in flight",
    "workers": "workers",
}


@click.command()
@runs_argument
@root_option
@json_option
@wide_option
def status(runs: tuple[str, ...], root: Path, as_json: bool, wide: bool) -> None:
    """Show how far runs are: those named, those in a folder DIR, or all below --root.

    States: `finished`; `running`, its client is at work; `detached`, its workers go on without one;
    `stopped`, to be taken up by `kon run` or `kon collect`; `cancelled`. Columns: tasks by how they ended,
    and those left; tasks submitted so far; messages in the queue, each with one task or many, and messages
    that workers hold; live workers on this machine.

    \b
    Examples:
      kon status
      watch kon status exp-lease-w1-r1
    """
    lines = [asyncio.run(_line(folder)) for folder in find_runs(runs, root)]
    if as_json:
        print_json({"runs": lines})
    elif lines:
        shown = [key for key in _COLUMNS if key != "cancelled" or any(line[key] for line in lines)]
        body = [[_cell(line[key]) for key in shown] for line in lines]
        align = ["left", "left", *["right"] * (len(shown) - 2)]
        click.echo(draw(body, [_COLUMNS[key] for key in shown], align, width=table_width(wide)))
    else:
        note(f"no runs below {root}")


_ENDINGS: Final = (State.DONE, State.FAILED, State.DEAD, State.LOST, State.CANCELLED)


async def _line(folder: RunFolder) -> dict[str, Any]:
    spec = folder.read_run().spec
    states = add_states(RunTally(spec.tasks), folder).states()
    line: dict[str, Any] = {
        "run": spec.run,
        "folder": str(folder.path),
        "state": "finished",
        "tasks": spec.tasks,
        **{state.value: states[state] for state in _ENDINGS},
        "left": spec.tasks - sum(states[state] for state in FINAL),
        "submitted": None,
        "queued": None,
        "in_flight": None,
        "workers": None,
    }
    if not folder.finished:
        line["state"] = "running" if client_lock(folder.path.parent).is_held() else "stopped"
        if backend_class(spec.backend.name).processes:  # or it is in the memory of its client
            await _look_inside(folder, line)
    return line


async def _look_inside(folder: RunFolder, line: dict[str, Any]) -> None:
    """Add what only the run's queues and tables know."""
    try:
        async with opened(folder) as channel:
            control = Control(channel.control)
            depth = await channel.tasks.depth()
            workers = sum(map(runs_here, await control.workers()))
            state = await control.read()
            line |= {
                "submitted": state.submitted,
                "queued": depth.visible + depth.delayed,
                "in_flight": depth.in_flight,
                "workers": workers,
            }
            if state.status is Status.CANCELLED:
                line["state"] = "cancelled"
            elif workers and line["state"] == "stopped":
                line["state"] = "detached"
    except KonError as error:
        note(f"{error}")  # what is recorded is shown all the same


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
