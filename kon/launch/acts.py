"""What the live page has done: a run cancelled, and its failed tasks run again by a client of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from kon.core.errors import ConfigurationError
from kon.core.lock import client_lock
from kon.engine.records.records import RunFolder
from kon.experiment import load
from kon.launch.resume import Origin, cancel, origin
from kon.report.live.actions import Actions

LOG = ".retry.log"
"""What the client that runs tasks again says, in the folder of the runs."""


class Acts(Actions):
    """What `kon cancel` and `kon run` do, for the page."""

    async def cancel(self, folder: RunFolder) -> str:
        if folder.finished:
            raise ConfigurationError(f"{folder.path.name} is over already; nothing was cancelled")
        await cancel(folder)
        return f"{folder.path.name} is cancelled. What runs may end; results so far are kept."

    async def retry(self, folder: RunFolder) -> str:
        where, root = await asyncio.to_thread(_checked, folder), folder.path.parent
        folder.reopen()
        words = ["--out", str(root.absolute()), *(word for text in where.set for word in ("--set", text))]
        if where.limit is not None:
            words += ["--limit", str(where.limit)]
        with (root / LOG).open("ab") as log:
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "kon", "run", where.file, *words),
                cwd=where.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it goes on when the page's server ends
            )
        return f"What was not done runs again. {root / LOG} has what its client says."


def _checked(folder: RunFolder) -> Origin:
    """Where the run comes from. Raises ConfigurationError where it can't be run again from there."""
    name, run = folder.path.name, folder.read_run()
    if not folder.finished or client_lock(folder.path.parent).is_held():
        raise ConfigurationError(f"{name}, or its client, is still at work; nothing was begun")
    row = folder.read_summary()
    if row["done"] == row["tasks"]:
        raise ConfigurationError(f"every task of {name} is done; nothing was begun")
    where = origin(run)
    if where is None or not Path(where.cwd).is_dir():
        raise ConfigurationError(f"{name} was begun without a file, or its folder is gone; nothing was begun")
    cells = [cell for each in load(Path(where.file), where.set, where.limit) for cell in each.cells()]
    if all(cell.spec.key() != run.key for cell in cells):
        raise ConfigurationError(f"{where.file} has changed since {name} was begun; nothing was begun")
    return where
