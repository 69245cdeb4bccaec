"""`kon cancel`"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from kon.cli.output import note
from kon.cli.runs import collect_command, find_run, root_option, run_argument
from kon.core.errors import ConfigurationError
from kon.core.lock import client_lock
from kon.launch.resume import cancel as cancel_run


@click.command()
@run_argument
@root_option
def cancel(run: str, root: Path) -> None:
    """Give up the tasks that RUN has not done yet. Running ones may end, and results are kept.

    \b
    Example:
      kon cancel exp-lease-w1-r1
    """
    folder = find_run(run, root)
    if folder.finished:
        raise ConfigurationError(f"{folder.path.name} is over already; nothing was cancelled")
    asyncio.run(cancel_run(folder))
    if client_lock(folder.path.parent).is_held():
        note(f"{folder.path.name} is cancelled; its client accounts for the rest")
    else:
        note(f"{folder.path.name} is cancelled; no client is there, so that its records end with")
        note(f"    {collect_command(folder)}")
