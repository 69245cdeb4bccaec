"""A host: the worker processes of one worker, run after run of a campaign.

The client (`kon run --join`) makes the runs and collects their answers. A host finds the same runs in
the same experiment file, waits for each to be made, and has its share of the workers work on it until
it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from kon.core.backend import Backend, Channel
from kon.core.errors import ClientGone, ConfigurationError, StoreError, StoreVersionError
from kon.core.lock import client_lock, host_lock
from kon.core.plugins import backend_class, open_backend
from kon.engine.control import Control
from kon.engine.records.records import RunFolder
from kon.experiment import Cell
from kon.launch.campaign import Campaign, is_whole
from kon.launch.crew import doomed, worker_names
from kon.launch.liveness import any_runs_here, left_running
from kon.launch.supervise import WorkerProcesses

POLL_S: Final = 0.1
"""Between two looks at what the client is doing."""

MAKING_S: Final = 30.0
"""How long the client may take from naming a run to having made its queues, in seconds."""

HANDOVER_S: Final = 15.0
"""How long an earlier host of the same number may take to end, in seconds."""


class Host:
    """Host number `number` of a campaign, counted from 1: worker `w<number>` of each run that has so many.

    rerun_failed: as the client has it: the tasks of recorded runs that are not done are run again.
    patience_s: how long it waits for a client to begin, in seconds.
    """

    def __init__(
        self,
        campaign: Campaign,
        number: int,
        *,
        rerun_failed: bool = False,
        patience_s: float = 120.0,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._campaign = campaign
        self._number = number
        self._rerun_failed = rerun_failed
        self._patience_s = patience_s
        self._on_note = on_note
        self._client = client_lock(campaign.root)
        self._client_seen = False
        self._give_up_s = 0.0
        self._stopping = False

    def stop(self) -> None:
        """Have the workers drain, then return from `run`."""
        self._stopping = True

    async def run(self) -> None:
        """Return when every run is over, or after `stop`.

        Raises ClientGone when none came or it has gone, WorkersFailed when workers do not stay up,
        ConfigurationError when another host has this number, or the client runs something else.
        """
        most = max(_hosts(cell) for cell in self._campaign.cells)
        if self._number > most:
            self._on_note(
                f"nothing to do: no run has work for more than {most} host{'' if most == 1 else 's'}"
            )
            return
        mine = [cell for cell in self._campaign.cells if _hosts(cell) >= self._number]
        async with host_lock(self._campaign.root, self._number, HANDOVER_S):
            self._give_up_s = asyncio.get_running_loop().time() + self._patience_s
            for cell in mine:
                folder = self._campaign.folder(cell)
                if folder.finished and not self._is_run_again(folder):
                    self._on_note(f"{cell.spec.run}: recorded already")
                elif await self._until(partial(_is_made, folder, _row(folder))):
                    await self._serve(cell, folder)
                if self._stopping:
                    self._on_note("told to stop: its workers have ended")
                    return

    def _is_run_again(self, folder: RunFolder) -> bool:
        return self._rerun_failed and not is_whole(folder.read_summary())

    async def _serve(self, cell: Cell, folder: RunFolder) -> None:
        if folder.read_run().key != cell.spec.key():
            raise ConfigurationError(
                f"the client's run {cell.spec.run} has another description than this host's; give both "
                "the same file and the same --set"
            )
        backend = open_backend(cell.spec.backend, folder.path.parent)
        try:
            channel = await self._channel(backend, cell, folder)
            if channel is not None:
                await self._work(cell, folder, Control(channel.control))
        finally:
            await backend.close()

    async def _channel(self, backend: Backend, cell: Cell, folder: RunFolder) -> Channel | None:
        """What the client makes right after the run's folder; None where the run is over already."""
        give_up_s = asyncio.get_running_loop().time() + MAKING_S
        while not folder.finished and not self._stopping:
            try:
                return await backend.open(cell.spec.run)
            except StoreVersionError:
                raise
            except StoreError:
                self._check_client(self._client.is_held())
                if asyncio.get_running_loop().time() > give_up_s:
                    raise
            await asyncio.sleep(POLL_S)
        return None

    async def _work(self, cell: Cell, folder: RunFolder, control: Control) -> None:
        """Keep this host's workers running until the run is over or this host is told to stop."""
        names = worker_names(cell.spec, host=self._number)
        kills = {name: task for name, task in doomed(cell.spec).items() if not folder.has_lived(name)}
        left = {name: partial(any_runs_here, each) for name, each in (await left_running(control)).items()}
        crew = WorkerProcesses(folder, names, kills, left=left)
        self._on_note(f"{cell.spec.run}: at work with {', '.join(names)}")
        gone: ClientGone | None = None
        async with asyncio.TaskGroup() as group:
            group.create_task(crew.run())
            try:
                await self._until(partial(_is_over, folder, control))
            except ClientGone as error:
                gone = error  # after the workers have drained
            crew.stop()
        if gone is not None:
            raise gone
        if not self._stopping:
            self._on_note(f"{cell.spec.run}: over")

    async def _until(self, come: Callable[[], Awaitable[bool]]) -> bool:
        """Wait until it has come; False when this host is told to stop before that."""
        while not self._stopping:
            # looked at first: what a client that is gone has done, it did before that
            held = self._client.is_held()
            if await come():
                return True
            self._check_client(held)
            await asyncio.sleep(POLL_S)
        return False

    def _check_client(self, is_there: bool) -> None:
        if is_there:
            self._client_seen = True
        elif self._client_seen:
            raise ClientGone(
                "the client has gone before every run was over; what is recorded stays, and what is queued "
                "goes on when both are started again"
            )
        elif asyncio.get_running_loop().time() > self._give_up_s:
            raise ClientGone(
                f"no client came within {self._patience_s:g} s: start one with `kon run --join`, the same "
                f"file and --out {self._campaign.root}"
            )


def _hosts(cell: Cell) -> int:
    """How many hosts a run has work for: none, where its workers live in the client's memory."""
    return cell.spec.workers if backend_class(cell.spec.backend.name).processes else 0


async def _is_made(folder: RunFolder, row_before: int | None) -> bool:
    """Whether the client has begun it, or, where there was a row in the table, begun it again."""
    return folder.exists and (row_before is None or _row(folder) != row_before)


def _row(folder: RunFolder) -> int | None:
    """What tells a run's row from the one that it may have later."""
    try:
        return folder.summary.stat().st_mtime_ns
    except FileNotFoundError:
        return None


async def _is_over(folder: RunFolder, control: Control) -> bool:
    return folder.finished or await control.is_over()
