"""A host: the processes of one worker, run after run, for a client of this machine or of another one.

The client (`kon run --join`) publishes what a run is in the run's own control table. A host (`kon join`)
needs no more than the names of the runs, and where their backend is. On a backend that keeps files, client
and host share the folder of the runs; the client's lock there tells the host at once that the client is gone,
however it ended.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from kon.core.backend import Backend, Channel
from kon.core.clock import Clock
from kon.core.distribution import version
from kon.core.errors import (
    BackendRefused,
    BackendUnavailable,
    ClientGone,
    ConfigurationError,
    StoreError,
    StoreVersionError,
    WorkersDenied,
    first_cause,
)
from kon.core.lock import client_lock, host_lock
from kon.core.plugins import backend_class, open_backend
from kon.core.spec import Plugin, RunSpec
from kon.engine.control import Control, OtherKon, RightDenied
from kon.engine.records.records import CLIENT_BEGAN, RunFolder
from kon.launch.context import context
from kon.launch.crew import doomed, worker_names
from kon.launch.liveness import any_runs_here, left_running
from kon.launch.supervise import WorkerProcesses

SHARED_PAUSE_S: Final = 0.1
"""Between two looks at a run whose files are on this machine, in seconds: a look costs nothing there."""

PAUSE_S: Final = 1.0
"""Between two looks at whether a run elsewhere has begun or is over, in seconds: each is a request or two."""

LONGEST_PAUSE_S: Final = 2.0
"""Upper bound of that pause, for runs that have not begun for a long time."""

LONGEST_FIND_PAUSE_S: Final = 10.0
"""Upper bound of that pause for a host that waits for whatever run comes."""

HANDOVER_S: Final = 15.0
"""How long an earlier host of the same number may take to end, in seconds."""

PATIENCE_S: Final = 120.0
"""How long a host of this machine waits for its client, in seconds, unless it is told otherwise."""

RECORDED: Final = "left as recorded"
RUN_AGAIN: Final = "run again in part"
"""What would become of a run, as `kon run --dry-run` tells hosts, where it isn't made or taken up."""

EARLIER: Final = "earlier"
"""The folder, next to those of the runs, for what is left of earlier runs of the same names."""

AHEAD: Final = 2
"""Runs that are looked for each time; of the others one, in turn, as each look costs requests."""


class Awaited(msgspec.Struct, frozen=True):
    """A run by its name, and where it will be.

    again: it is recorded, and its tasks that are not done are to be run again.
    """

    run: str
    backend: Plugin
    again: bool = False


Finder = Callable[[], Awaitable[list[Awaited]]]
"""Tells which runs there are by now."""


class Host:
    """Host number `number`, from 1, of each of these runs that has at least as many workers.

    root: where the backend keeps files, the folder of the runs, the client's `--out`; elsewhere the folder
        for this machine's part of the records.
    find: asked for further runs all the time; such a host works until it is told to stop.
    elastic: it also works on runs that have fewer workers.
    patience_s: how long it waits for a client, in seconds; None for `PATIENCE_S` where they share a folder,
        and for ever where they do not.
    """

    def __init__(
        self,
        runs: Sequence[Awaited],
        root: Path,
        number: int,
        *,
        elastic: bool = False,
        find: Finder | None = None,
        patience_s: float | None = None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._runs = list(runs)
        self._root = root
        self._number = number
        self._elastic = elastic
        self._find = find
        self._on_note = on_note
        self._shares_folder = any(backend_class(each.backend.name).keeps_files for each in runs)
        self._client = client_lock(root)
        self._client_seen = False
        usual_s = PATIENCE_S if self._shares_folder else math.inf
        self._patience_s = usual_s if patience_s is None else patience_s
        self._give_up_s = math.inf
        again = [self._folder(each.run) for each in runs if each.again]
        self._rows_before = {each.path.name: _row(each) for each in again if not _is_whole(each)}
        self._refused: dict[str, str] = {}
        self._told = asyncio.Event()

    def stop(self) -> None:
        """Have the workers drain, then return from `run`."""
        self._told.set()

    async def run(self) -> None:
        """Work on one run after the other, in whatever order the client makes them; return after `stop`, or
        when each has been worked on.

        Raises ClientGone when no client came or it has gone, BackendRefused where the backend refuses,
        WorkersFailed when workers do not stay up, ConfigurationError when another host has this number.
        """
        async with host_lock(self._root, self._number, HANDOVER_S):
            self._give_up_s = asyncio.get_running_loop().time() + self._patience_s
            shortest_s = SHARED_PAUSE_S if self._shares_folder else PAUSE_S
            left, pause_s = list(self._runs), shortest_s
            for turn in itertools.count():
                # first, as whatever a client did that is gone, it did before this look
                held, seen = self._client.is_held(), self._client_seen
                if self._find is not None:
                    left = await self._found(self._find, left)
                likely = left[:AHEAD] + left[AHEAD:][turn % max(1, len(left) - AHEAD) :][:1]
                served = [each for each in likely if await self._serve(each)]
                left = [each for each in left if each not in served]
                if (not left and self._find is None) or self._told.is_set():
                    break
                self._check_client(held, seen)
                longest_s = LONGEST_PAUSE_S if self._find is None else LONGEST_FIND_PAUSE_S
                pause_s = shortest_s if served or self._shares_folder else min(pause_s * 1.2, longest_s)
                await self._pause(pause_s)
        told = left or self._find is not None
        self._on_note("told to stop: its workers have ended" if told else "every run is over")

    async def _found(self, find: Finder, before: list[Awaited]) -> list[Awaited]:
        try:
            return await find()
        except BackendUnavailable as error:
            self._on_note(f"{error}; looking again")
            return before

    async def _serve(self, awaited: Awaited) -> bool:
        """Work on a run until it is over, if it has begun; whether it needs no more looking at."""
        if self._told.is_set():
            return False
        if self._is_recorded(awaited):
            self._on_note(f"{awaited.run}: recorded already")
            return True
        backend = open_backend(awaited.backend, self._root)
        try:
            spec, channel = await self._begun(backend, awaited.run)
            if spec is None or channel is None:
                return False
            if not self._shares_folder:
                self._give_up_s = math.inf  # the client has come; nobody here sees it go
            if self._elastic or self._number <= spec.workers:
                await self._work(spec, backend, Control(channel.control))
            return not self._told.is_set()
        except BackendUnavailable as error:
            self._on_note(f"{error}; looking again")
            return False
        finally:
            await backend.close()

    def _is_recorded(self, awaited: Awaited) -> bool:
        """Whether the run is over, by a row that it did not have when it was to be run again."""
        row = _row(self._folder(awaited.run))
        return row is not None and row != self._rows_before.get(awaited.run)

    async def _begun(self, backend: Backend, run: str) -> tuple[RunSpec | None, Channel | None]:
        try:
            channel = await backend.open(run)
            control = Control(channel.control)
            if not await self._is_of_our_kon(run, control) or await control.is_over():
                return None, None
            return await control.published(), channel
        except (BackendRefused, StoreVersionError):
            raise
        except StoreError:
            return None, None  # not made yet, or deleted as it is over

    async def _is_of_our_kon(self, run: str, control: Control) -> bool:
        """Whether its client has the kon that is installed here: another may mean something else by what it
        writes. Both sides say so."""
        theirs, ours = await control.published_by(), version()
        if theirs in ("", ours):
            return theirs == ours
        if self._refused.get(run) != theirs:
            self._refused[run] = theirs
            self._on_note(
                f"{run}: its client has kon {theirs}, and this host {ours}: not worked on. "
                "Install the client's kon here, or begin the run with this one"
            )
        await control.refuse(OtherKon(self._number, ours, theirs))
        return False

    async def _work(self, spec: RunSpec, backend: Backend, control: Control) -> None:
        folder = self._folder(spec.run)
        if not _is_clients(folder):
            self._record(spec, folder, await control.begun_s())
        if not backend.keeps_files:
            await control.host(self._number, at_work=True)
        denied = ""
        try:
            await self._crew(spec, folder, backend, control)
        except BaseExceptionGroup as group:
            if isinstance(cause := first_cause(group), WorkersDenied):
                denied = str(cause)
            raise
        finally:
            with suppress(StoreError, BackendUnavailable):  # its client has waited, and deleted the run
                if denied:
                    now_s = Clock.of_this_host().now_s()
                    await control.refuse(RightDenied(self._number, version(), denied, now_s))
                elif not backend.keeps_files:
                    await control.host(self._number, at_work=False)
        if not self._told.is_set():
            self._on_note(f"{spec.run}: over")

    def _record(self, spec: RunSpec, folder: RunFolder, begun_s: float | None) -> None:
        """Begin this machine's own part of the records."""
        if self._shares_folder:
            raise ConfigurationError(
                f"{folder.path} has no records of the run, though its queue is there: a host of the client's "
                "own machine works in the client's folder. Name that one with --out"
            )
        put_aside(folder, begun_s)
        folder.write_run(spec, {**context(), CLIENT_BEGAN: begun_s})

    async def _crew(self, spec: RunSpec, folder: RunFolder, backend: Backend, control: Control) -> None:
        """Keep this host's workers running until the run is over, its client has gone, or `stop`."""
        names = worker_names(spec, host=self._number)
        lived = {name for name in names if folder.has_lived(name)}
        # an earlier host of this number may have left workers; the look is a request, spared at first
        left = await left_running(control) if lived else {}
        crew = WorkerProcesses(
            folder,
            names,
            {name: task for name, task in doomed(spec).items() if name not in lived},
            left={name: partial(any_runs_here, each) for name, each in left.items()},
        )
        self._on_note(f"{spec.run}: at work with {', '.join(names)}")
        gone: ClientGone | None = None
        async with asyncio.TaskGroup() as group:
            group.create_task(crew.run())
            try:
                await self._until_over(spec.run, backend, control)
            except ClientGone as error:
                gone = error  # raised once the workers have drained
            crew.stop()
        if gone is not None:
            raise gone

    async def _until_over(self, run: str, backend: Backend, control: Control) -> None:
        while not self._told.is_set():
            held, seen = self._client.is_held(), self._client_seen
            try:
                if await control.is_over():
                    return
            except BackendUnavailable:
                pass  # workers are patient too, for longer
            except StoreError:
                if not await _is_there(backend, run):
                    return
                raise
            self._check_client(held, seen)
            await self._pause(SHARED_PAUSE_S if self._shares_folder else PAUSE_S)

    def _check_client(self, held: bool, seen: bool) -> None:
        """Raises ClientGone where a client was here and is not any more, or none has come.

        seen: whether one had been here before the look. That is old where a run was worked on since: one that
        an earlier client began is there before the client is.
        """
        if held:
            self._client_seen = True
        elif seen:
            raise ClientGone(
                "the client has gone before every run was over; what is recorded stays, and what is queued "
                "goes on when both are started again"
            )
        elif not self._client_seen and asyncio.get_running_loop().time() > self._give_up_s:
            where = f" and --out {self._root}" if self._shares_folder else ""
            raise ClientGone(
                f"no client came within {self._patience_s:g} s: start one with `kon run --join`, the "
                f"experiment of the plan{where}"
            )

    def _folder(self, run: str) -> RunFolder:
        return RunFolder(self._root / run)

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._told.wait()
        except TimeoutError:
            pass


def put_aside(folder: RunFolder, begun_s: float | None) -> None:
    """Move away what this host has recorded of an earlier run of that name: it is none of this one's."""
    if not folder.exists or (earlier_s := folder.read_run().begun_s) == begun_s:
        return
    place, name = folder.path.parent / EARLIER, f"{folder.path.name}-{earlier_s}"
    place.mkdir(exist_ok=True)
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    folder.path.rename(next(aside for each in names if not os.path.lexists(aside := place / each)))


def _is_clients(folder: RunFolder) -> bool:
    """Whether the records there are the client's own, and no host's part of them."""
    return folder.exists and CLIENT_BEGAN not in folder.read_run().context


def _row(folder: RunFolder) -> int | None:
    """Identifies a run's row: a later row of the run has another value. None before there is one."""
    try:
        return folder.summary.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _is_whole(folder: RunFolder) -> bool:
    """Whether a run is recorded with every task done: nothing of it is run again."""
    if not folder.finished:
        return False
    row = folder.read_summary()
    return bool(row["done"] == row["tasks"])


async def _is_there(backend: Backend, run: str) -> bool:
    try:
        await backend.open(run)
    except BackendRefused:
        raise
    except StoreError:
        return False
    return True
