"""The page of `kon run --live`, in a process of its own: `python -m kon.launch.page FOLDER`.

A process, not a thread: a thread would take the interpreter's lock from the client as it takes in answers,
and, with the backend memory, from the workers too. It reads the run's records, as `kon serve` does, so that
the run knows nothing of it; and it runs at a lower priority, so that where processors are scarce the tasks
have them. It ends when its stdin does, which is when the run is over, or its process gone, by SIGKILL even.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from kon.core.errors import KonError
from kon.engine.records.records import RunFolder
from kon.launch.acts import Acts
from kon.launch.beside import Said
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


if __name__ == "__main__":
    main()
