"""How a client and the hosts that join it know of each other, on one machine: each holds a lock in the
folder of the runs, which the kernel lets go of however its holder ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from kon.errors import WorkersFailed
from kon.lock import FolderLock

LOOK_S: Final = 0.5
"""Between two looks at who is there, in seconds."""

FIRST_S: Final = 60.0
"""How long a client waits for the first host, in seconds."""

RETURN_S: Final = 30.0
"""How long it waits for one to come again, once all have gone, in seconds."""


def client_lock(root: Path) -> FolderLock:
    """Held by the one client of a folder of runs."""
    return FolderLock(root, "client")


def host_lock(root: Path, number: int, wait_s: float = 0.5) -> FolderLock:
    """Held by the host of that number, from 1, as long as it works there."""
    return FolderLock(root, f"host-{number}", wait_s=wait_s)


async def watch_hosts(root: Path, hosts: int, any_worker_left: Callable[[], Awaitable[bool]]) -> None:
    """Return never: raise WorkersFailed when no host and no worker is there any more to work on a run."""
    locks = [host_lock(root, number) for number in range(1, hosts + 1)]
    now_s = asyncio.get_running_loop().time
    give_up_s, wait_s = now_s() + FIRST_S, FIRST_S
    while now_s() < give_up_s:
        if any(lock.is_held() for lock in locks) or await any_worker_left():
            give_up_s, wait_s = now_s() + RETURN_S, RETURN_S
        await asyncio.sleep(LOOK_S)
    raise WorkersFailed(
        f"no host has been at work for {wait_s:.0f} s, and without one nothing goes on. What is recorded "
        "stays, and what is queued goes on when `kon run --join` and `kon host` are started again"
    )
