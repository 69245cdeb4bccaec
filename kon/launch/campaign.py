"""A campaign: all runs of one or more experiments, one after another, each recorded once.

A run that is recorded as finished is not repeated; one that was interrupted is taken up where it
stood; one that was recorded under another description is never overwritten.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kon.core.errors import ConfigurationError, KonError, LeftBehind, each_of
from kon.core.lock import client_lock
from kon.core.plugins import backend_class, open_backend
from kon.engine.records.records import RunFolder
from kon.launch.client_run import ClientRun, RunListener
from kon.launch.guard import RunGuard
from kon.launch.joined import Hosts
from kon.launch.local import LocalRun
from kon.launch.simulated.run import SimulatedRun
from kon.report.summary import summarise

if TYPE_CHECKING:  # the experiment file's reader takes a tenth of a second to load, and `kon map` has none
    from kon.experiment import Cell, Experiment


class CampaignListener(RunListener):
    """Whom a campaign tells what happens. It does nothing by itself."""

    def begin(self, folder: RunFolder, number: int = 1, of: int = 1) -> None:
        """Hear that a run begins: which one of how many."""

    def end(self, row: dict[str, Any], fresh: bool) -> None:
        """Hear of a row of the result table, and whether it was made just now."""


class Campaign:
    """Runs the cells of experiments into one folder, `root`."""

    def __init__(
        self,
        experiments: Sequence[Experiment],
        root: Path,
        *,
        hosts: Hosts | None = None,
        rerun_failed: bool = False,
        about: Mapping[str, Any] | None = None,
        listener: CampaignListener | None = None,
        guard: RunGuard | None = None,
    ) -> None:
        """hosts: these start workers, where the backend has workers that are processes of their own.
        rerun_failed: of recorded runs, the tasks that are not done are run again.
        about: where the experiments come from, for the records.
        guard: sends word of each run that ends, or goes wrong and keeps no other from being run.
        """
        self.root = root
        self.cells = [cell for experiment in experiments for cell in experiment.cells()]
        self.current: ClientRun | None = None
        self.failures: list[KonError] = []
        """Why runs could not be submitted, the others were: to be told, with their exit codes."""
        self.left: list[LeftBehind] = []
        """What runs that are over have left at their backends: to be told, with exit code 5."""
        self._hosts = hosts
        self._rerun_failed = rerun_failed
        self._about = about
        self._listener = listener or CampaignListener()
        self._guard = guard or RunGuard()

    def check(self) -> None:
        """Raises ConfigurationError when the folder holds something else than records of these runs."""
        if self.root.exists() and not self.root.is_dir():
            raise ConfigurationError(f"--out {self.root} is a file; name a folder, which is made if need be")
        for cell in self.cells if self._hosts is not None and self._hosts.apart else []:
            check_reach(cell.spec.backend.name)
        for entry in sorted(self.root.iterdir()) if self.root.exists() else []:
            if entry.name.startswith(".") or RunFolder(entry).is_blank:
                continue
            if not RunFolder(entry).exists:
                raise ConfigurationError(
                    f'--out {self.root} exists and holds "{entry.name}", which is not a run of kon\'s; '
                    "nothing was written. Name a new folder"
                )
        for cell in self.cells:
            folder = self.folder(cell)
            if folder.exists and folder.read_run().key != cell.spec.key():
                raise ConfigurationError(
                    f"--out {self.root} holds a run {cell.spec.run} of another description (its experiment, "
                    "workload or an option has changed since); nothing was written. Name a new folder, "
                    f"such as --out {shlex.quote(f'{self.root}-2')}, or remove {folder.path}"
                )

    def folder(self, cell: Cell) -> RunFolder:
        return RunFolder(self.root / cell.spec.run)

    async def run(self) -> list[dict[str, Any]]:
        """Run what is not recorded yet; the rows of all runs. `failures` has what went wrong with others: one
        that its backend refuses keeps no other from being run. Call `check` first.

        Raises ConfigurationError when another client is at work in this folder, and what went wrong with the
        only run that there is.
        """
        async with client_lock(self.root):
            rows = await self._all()
        if len(self.cells) == len(self.failures) == 1:
            raise self.failures.pop()
        return rows

    async def _all(self) -> list[dict[str, Any]]:
        rows = []

        async def one(numbered: tuple[int, Cell]) -> None:
            number, cell = numbered
            folder = self.folder(cell)
            if folder.finished and self._rerun_failed and not is_whole(folder.read_summary()):
                folder.reopen()
            if folder.finished:
                row = folder.read_summary()
                self._listener.end(row, False)
                if folder.owes_deletion:
                    await self._clear_away(folder)
            else:
                self._listener.begin(folder, number, len(self.cells))
                row = await self._one(cell, folder)
                self._listener.end(row, True)
                self._guard.ended(row, folder)
            rows.append(row)

        def failed(numbered: tuple[int, Cell], error: KonError) -> None:
            self.current = None
            self._guard.broken_off(self.folder(numbered[1]), error)

        self.failures = await each_of(list(enumerate(self.cells, start=1)), one, "run", failed)
        return rows

    async def _one(self, cell: Cell, folder: RunFolder) -> dict[str, Any]:
        self.current = self._local(cell, folder)
        await self.current.run()
        self.current = None
        row = record(folder)
        await self._clear_away(folder)
        return row

    async def _clear_away(self, folder: RunFolder) -> None:
        """A run that can't be cleared away keeps no other from being run."""
        try:
            await clear_away(folder)
        except LeftBehind as error:
            self.left.append(error)

    async def submit(self) -> list[RunFolder]:
        """Queue the tasks of all runs that are not recorded, for workers and clients started later; the
        folders of those. `failures` has what went wrong with others. Call `check` first.

        Raises what went wrong with the only run that there was to submit.
        """
        folders = []

        async def one(numbered: tuple[int, Cell]) -> None:
            number, cell = numbered
            folder = self.folder(cell)
            self._listener.begin(folder, number, len(self.cells))
            await self._local(cell, folder).submit()
            folders.append(folder)

        async with client_lock(self.root):
            numbered = enumerate(self.cells, start=1)
            todo = [(number, cell) for number, cell in numbered if not self.folder(cell).finished]
            self.failures = await each_of(todo, one, "run")
        if len(todo) == len(self.failures) == 1:
            raise self.failures.pop()
        return folders

    def _local(self, cell: Cell, folder: RunFolder) -> ClientRun:
        backend = backend_class(cell.spec.backend.name)
        if backend.virtual_time:
            return SimulatedRun(folder, cell.spec, cell.workload, about=self._about, listener=self._listener)
        return LocalRun(
            folder,
            cell.spec,
            cell.workload,
            hosts=self._hosts if backend.processes else None,
            about=self._about,
            listener=self._listener,
        )


def check_reach(backend: str) -> None:
    """Raises ConfigurationError for a backend that no other machine can reach."""
    kind = backend_class(backend)
    if not kind.processes or kind.keeps_files or kind.virtual_time:
        raise ConfigurationError(
            f"the backend {backend} is of this machine alone, and hosts of other machines can't join it; "
            "--set backend=aws"
        )


def is_whole(row: dict[str, Any]) -> bool:
    """Whether every task of a run is done."""
    return bool(row["done"] == row["tasks"])


def record(folder: RunFolder) -> dict[str, Any]:
    """Write the row of a run whose tasks are all accounted for; the row. `clear_away` has to follow, by
    whoever takes it up at the latest."""
    row = summarise(folder)
    folder.owe_deletion()
    folder.write_summary(row)
    return row


async def clear_away(folder: RunFolder) -> None:
    """Delete the queues and tables of a run that is over. What its kind has stored stays for its results.

    Raises LeftBehind where not all of it goes; the folder then still says that it is to go.
    """
    spec = folder.read_run().spec
    backend = open_backend(spec.backend, folder.path.parent)
    try:
        await backend.delete(spec.run, keep_objects=True)
    except KonError as error:
        raise LeftBehind(
            f"the run {spec.run} is over and recorded, but not all of it is deleted: {error}. The same "
            "command goes on with the deletion alone"
        ) from error
    finally:
        await backend.close()
    folder.settle_deletion()
