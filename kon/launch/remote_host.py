"""A host whose client is on another machine: both know of each other over the backend alone.

The client (`kon run --join --apart`) publishes what a run is in the run's own control table, once it is
there. A host needs no more than the names of the runs, and where their backend is.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from kon.core.backend import Backend, Channel
from kon.core.errors import BackendRefused, BackendUnavailable, StoreError
from kon.core.lock import host_lock
from kon.core.plugins import open_backend
from kon.core.spec import Plugin, RunSpec
from kon.engine.control import Control
from kon.engine.records.records import CLIENT_BEGAN, RunFolder
from kon.launch.crew import doomed, worker_names
from kon.launch.local import context
from kon.launch.supervise import WorkerProcesses

LOOK_S: Final = 1.0
"""Between two looks at whether a run has begun or is over, in seconds: each is a request or two."""

LONGEST_LOOK_S: Final = 2.0
"""The same, for runs that have not begun for long."""

LONGEST_FIND_S: Final = 10.0
"""The same, for a host that is there for whatever comes."""

EARLIER: Final = "earlier"
"""The folder, beside those of the runs, for what is left of earlier runs of the same names."""

AHEAD: Final = 2
"""Runs that are looked for each time; of the others one, in turn, as each look costs requests."""


class Awaited(msgspec.Struct, frozen=True):
    """A run by its name, and where it will be."""

    run: str
    backend: Plugin


Finder = Callable[[], Awaitable[list[Awaited]]]
"""What tells which runs there are by now."""


class ApartHost:
    """Host number `number`, from 1, of each of these runs that has so many workers.

    find: asked for further runs all the time; such a host works until it is told to stop.
    elastic: of the others too: such a host came to help.
    root: the folder of this machine's part of the records.
    """

    def __init__(
        self,
        runs: Sequence[Awaited],
        root: Path,
        number: int,
        *,
        elastic: bool = False,
        find: Finder | None = None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._runs = list(runs)
        self._root = root
        self._number = number
        self._elastic = elastic
        self._find = find
        self._on_note = on_note
        self._refused: dict[str, str] = {}
        self._told = asyncio.Event()

    def stop(self) -> None:
        """Have the workers drain, then return from `run`."""
        self._told.set()

    async def run(self) -> None:
        """Work on one run after the other, in whatever order the client makes them; return after `stop`, or
        when each has been worked on.

        Raises BackendRefused where the backend refuses, WorkersFailed when workers do not stay up.
        """
        async with host_lock(self._root, self._number):
            left, look_s = list(self._runs), LOOK_S
            for turn in itertools.count():
                if self._find is not None:
                    left = await self._found(self._find, left)
                likely = left[:AHEAD] + left[AHEAD:][turn % max(1, len(left) - AHEAD) :][:1]
                served = [each for each in likely if await self._serve(each)]
                left = [each for each in left if each not in served]
                if (not left and self._find is None) or self._told.is_set():
                    break
                longest_s = LONGEST_LOOK_S if self._find is None else LONGEST_FIND_S
                look_s = LOOK_S if served else min(look_s * 1.2, longest_s)
                await self._pause(look_s)
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
        backend = open_backend(awaited.backend, self._root)
        try:
            spec, channel = await self._begun(backend, awaited.run)
            if spec is None or channel is None:
                return False
            if self._elastic or self._number <= spec.workers:
                await self._work(spec, backend, Control(channel.control))
            return not self._told.is_set()
        except BackendUnavailable as error:
            self._on_note(f"{error}; looking again")
            return False
        finally:
            await backend.close()

    async def _begun(self, backend: Backend, run: str) -> tuple[RunSpec | None, Channel | None]:
        try:
            channel = await backend.open(run)
            control = Control(channel.control)
            if not await self._is_of_our_kon(run, control) or await control.is_over():
                return None, None
            return await control.published(), channel
        except BackendRefused:
            raise
        except StoreError:
            return None, None  # not made yet, or deleted as it is over

    async def _is_of_our_kon(self, run: str, control: Control) -> bool:
        """Whether its client has the kon that is installed here: another may mean something else by what it
        writes. Both sides say so."""
        theirs, ours = await control.published_by(), version("kon")
        if theirs in ("", ours):
            return theirs == ours
        if self._refused.get(run) != theirs:
            self._refused[run] = theirs
            self._on_note(
                f"{run}: its client has kon {theirs}, and this host {ours}: not worked on. "
                "Install the client's kon here, or begin the run with this one"
            )
        await control.refuse(self._number, ours, theirs)
        return False

    async def _work(self, spec: RunSpec, backend: Backend, control: Control) -> None:
        folder = RunFolder(self._root / spec.run)
        begun_s = await control.begun_s()
        put_aside(folder, begun_s)
        folder.write_run(spec, {**context(), CLIENT_BEGAN: begun_s})
        names = worker_names(spec, host=self._number)
        kills = {name: task for name, task in doomed(spec).items() if not folder.has_lived(name)}
        crew = WorkerProcesses(folder, names, kills)
        await control.host(self._number, at_work=True)
        self._on_note(f"{spec.run}: at work with {', '.join(names)}")
        async with asyncio.TaskGroup() as group:
            group.create_task(crew.run())
            await self._until_over(spec.run, backend, control)
            crew.stop()
        try:
            await control.host(self._number, at_work=False)
        except (StoreError, BackendUnavailable):
            pass  # its client has waited long enough, and deleted the run
        self._on_note(f"{spec.run}: over")

    async def _until_over(self, run: str, backend: Backend, control: Control) -> None:
        while not self._told.is_set():
            try:
                if await control.is_over():
                    return
            except BackendUnavailable:
                pass  # workers are patient too, for longer
            except StoreError:
                if not await _is_there(backend, run):
                    return
                raise
            await self._pause(LOOK_S)

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
    aside = folder.path.parent / EARLIER / f"{folder.path.name}-{earlier_s}"
    aside.parent.mkdir(exist_ok=True)
    folder.path.rename(aside)


async def _is_there(backend: Backend, run: str) -> bool:
    try:
        await backend.open(run)
    except BackendRefused:
        raise
    except StoreError:
        return False
    return True
