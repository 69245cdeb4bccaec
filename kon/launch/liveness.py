"""Which of a run's workers are live processes of this machine, by what they say of themselves."""

from __future__ import annotations

import asyncio
import functools
import os
import platform
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from kon.core.errors import BackendUnavailable
from kon.engine.control import Control, Holder, WorkerState

ENDED_PAUSE_S: Final = 0.02
"""Between two looks at whether they have ended, in seconds."""

GOING_S: Final = 5.0
"""How long workers of other processes may take to notice that a run is over, in seconds."""

NOT_ENDED: Final = "not all workers have ended; what they used is not in the table"
"""What a client says of a run where `all_gone` has given up."""


def this_client() -> Holder:
    """This process, as the client of a run from now on."""
    return Holder(platform.node(), os.getpid(), _place(), time.time())


def client_lives(client: Holder) -> bool | None:
    """Whether the process of a client lives; None for one of another host or container."""
    if client.place != _place():
        return None
    try:
        os.kill(client.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@functools.cache
def _place() -> str:
    """Tells this host, since its start, and this container from others of the same name."""
    found = [platform.node()]
    for file in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        path = Path(file)
        with suppress(OSError):
            found.append(str(path.readlink()) if path.is_symlink() else path.read_text().strip())
    return " ".join(found)


def runs_here(worker: WorkerState) -> bool:
    """Whether the worker is a live process of this machine."""
    pid = worker.details.get("pid")
    if worker.details.get("host") != platform.node() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _is_worker(pid)


def _is_worker(pid: int) -> bool:
    """Whether the id has not passed on to another program, where the system can tell."""
    try:
        # of a process that has ended, and that nobody has asked about yet, this is empty
        return b"kon.launch.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self/cmdline").exists()


def any_runs_here(workers: Iterable[WorkerState]) -> bool:
    return any(map(runs_here, workers))


async def left_running(control: Control) -> dict[str, list[WorkerState]]:
    """The workers of a run that are at work here, by name: an earlier client or host has left them."""
    left: dict[str, list[WorkerState]] = {}
    for worker in await control.workers():
        if runs_here(worker):
            left.setdefault(worker.name.rpartition(".")[0], []).append(worker)
    return left


async def all_gone(control: Control, drain_s: float) -> bool:
    """Wait until no worker of a run that is over is left here; False where they take longer than they may."""
    give_up_s = asyncio.get_running_loop().time() + drain_s + GOING_S
    while asyncio.get_running_loop().time() <= give_up_s:
        with suppress(BackendUnavailable):  # the run is over, whoever can tell
            if not any_runs_here(await control.workers()):
                return True
        await asyncio.sleep(ENDED_PAUSE_S)
    return False


def signal_workers(workers: Iterable[WorkerState], number: signal.Signals) -> None:
    """Send it to those that are live processes of this machine."""
    for worker in workers:
        if runs_here(worker):
            with suppress(ProcessLookupError):
                os.kill(worker.details["pid"], number)
