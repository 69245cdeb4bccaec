"""The page of `kon run --live`, in a process of its own: `python -m kon.launch.page FOLDER`.

A process, not a thread: a thread would take the interpreter's lock from the client as it takes in answers,
and, with the backend memory, from the workers too. It reads the run's records, as `kon serve` does, so that
the run knows nothing of it; and it runs at a lower priority, so that where processors are scarce the tasks
have them. It ends when its stdin does, which is when the run is over, or its process gone, by SIGKILL even.

From the page a run is cancelled, or its failed tasks are run again by a client of their own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from kon.core.errors import ConfigurationError, KonError
from kon.core.lock import client_lock
from kon.engine.records.records import RunFolder
from kon.experiment import load
from kon.launch.beside import Said
from kon.launch.campaign import record
from kon.launch.resume import Origin, cancel, origin
from kon.report.live.guard import Actions
from kon.report.live.server import serving

NICENESS: Final = 5

FAREWELL: Final = "kon run has ended, and this page's server with it. kon serve shows its records again."


def runs_in(root: Path) -> Sequence[RunFolder]:
    """Those that are there by now; none where the folder is not."""
    if not root.is_dir():
        return []
    folders = (RunFolder(each) for each in sorted(root.iterdir()) if not each.name.startswith("."))
    return [each for each in folders if each.exists]


async def _main(root: Path) -> None:
    async with serving(lambda: runs_in(root), farewell=FAREWELL, actions=Acts()) as server:
        _say(Said(link=server.link))
        await asyncio.to_thread(_until_stdin_ends)


def _until_stdin_ends() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass


def _say(said: Said) -> None:
    print(msgspec.json.encode(said).decode(), flush=True)


def main() -> None:
    os.nice(NICENESS)
    try:
        asyncio.run(_main(Path(sys.argv[1])))
    except KonError as error:
        _say(Said(problem=str(error)))


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
        async with client_lock(folder.path.parent):  # which its client takes over
            where = await asyncio.to_thread(_checked, folder)
            await asyncio.to_thread(_begin, folder, where)
        return f"What was not done runs again. {folder.path.parent / LOG} has what its client says."


def _checked(folder: RunFolder) -> Origin:
    """Where the run comes from. Raises ConfigurationError where it can't be run again from there."""
    name, run = folder.path.name, folder.read_run()
    if not folder.finished:
        raise ConfigurationError(f"{name} is still at work; nothing was begun")
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


def _begin(folder: RunFolder, where: Origin) -> None:
    """Have a client of its own run again what is not done. Raises OSError; then the run is over as before."""
    root = folder.path.parent
    words = ["--out", str(root.absolute()), *(word for text in where.set for word in ("--set", text))]
    if where.limit is not None:
        words += ["--limit", str(where.limit)]
    with (root / LOG).open("ab") as log:
        folder.reopen()
        try:
            # none of asyncio's, which would be killed once the loop of the page's server is gone
            client = subprocess.Popen(
                [sys.executable, "-m", "kon", "run", where.file, *words],
                cwd=where.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it goes on when the page's server ends
            )
        except OSError:
            record(folder)
            raise
    threading.Thread(target=client.wait, name=f"wait-{client.pid}", daemon=True).start()


if __name__ == "__main__":
    main()
