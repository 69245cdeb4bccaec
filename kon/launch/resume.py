"""Taking up a run from its records alone, in whatever folder that is asked for."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from kon.core.backend import Channel
from kon.core.errors import ConfigurationError
from kon.core.plugins import open_backend
from kon.engine.control import Control, RunState, Status
from kon.engine.records.records import RunFile, RunFolder
from kon.launch.client_run import BodySource
from kon.launch.crew import NothingToQueue
from kon.launch.liveness import signal_workers


class Origin(msgspec.Struct, frozen=True):
    """Where a run comes from, as the context of its records says it.

    file: the experiment file. set, limit: what changed it. cwd: the folder in which it was begun, and
    which commands and functions of its tasks go by.
    """

    file: str
    cwd: str
    set: list[str] = []
    limit: int | None = None


def origin(run: RunFile) -> Origin | None:
    """None for a run that comes from no file."""
    return msgspec.convert(run.context, Origin) if "file" in run.context else None


@asynccontextmanager
async def opened(folder: RunFolder) -> AsyncIterator[Channel]:
    """The queues and tables of a run. Raises ConfigurationError where they were in the memory of another
    process, StoreError where they are gone."""
    spec = folder.read_run().spec
    backend = open_backend(spec.backend, folder.path.parent)
    try:
        if not backend.processes:
            raise ConfigurationError(
                f"run {spec.run}: the backend {spec.backend.name} lives in the process of `kon run`, which "
                "no other command can reach; use sqlite"
            )
        yield await backend.open(spec.run)
    finally:
        await backend.close()


async def cancel(folder: RunFolder) -> None:
    """Give up what has not been done. Workers here drain at once, others when their heart beats; the run's
    client, this one or the next, accounts for the rest."""
    async with opened(folder) as channel:
        control = Control(channel.control)
        await control.close(Status.CANCELLED)
        signal_workers(await control.workers(), signal.SIGTERM)


async def pause(folder: RunFolder, *, tell: bool = True) -> None:
    """Have workers stop, wherever they are, and give back what they have not done. The next client opens the
    run again.

    tell: those here are told at once; otherwise all see it when their heart beats.
    """
    async with opened(folder) as channel:
        control = Control(channel.control)
        await control.close(Status.PAUSED)
        if tell:
            signal_workers(await control.workers(), signal.SIGTERM)


def remaining(run: RunFile, state: RunState) -> BodySource:
    """The source of a run that was begun earlier, for what is still to be queued.

    Raises ConfigurationError where there is something, and it can't be had.
    """
    spec, where = run.spec, origin(run)
    if state.submitted >= spec.tasks or state.status not in (Status.OPEN, Status.PAUSED):
        return NothingToQueue()
    left = f"run {spec.run}: {state.submitted:,} of its {spec.tasks:,} tasks are queued"
    if where is None:
        raise ConfigurationError(
            f"{left}, and its records do not say where the others come from; repeat the command that began it"
        )
    from kon.experiment import load  # for a look at a run, pydantic would be half of the time

    cells = [cell for each in load(Path(where.file), where.set, where.limit) for cell in each.cells()]
    found = next((cell for cell in cells if cell.spec.key() == run.key), None)
    if found is None:
        raise ConfigurationError(
            f"{left}, and {where.file}, where the others come from, has changed since; put it back as it "
            "was, or give the run up with `kon cancel`"
        )
    return found.workload


def go_where_it_began(run: RunFile) -> None:
    """Make the folder in which the run was begun the current one, as its tasks may go by it.

    Raises ConfigurationError where it is gone.
    """
    where = origin(run)
    if where is None:
        return
    try:
        os.chdir(where.cwd)
    except OSError as error:
        raise ConfigurationError(
            f"run {run.spec.run} was begun in {where.cwd}, which its tasks may go by: {error.strerror}"
        ) from error
