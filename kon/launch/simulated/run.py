"""A simulated run on this machine, recorded as any other run is.

The simulation has a thread of its own, because its loop and that of the program can't share one.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

import msgspec

from kon.core.errors import ConfigurationError
from kon.core.journal import FileJournal
from kon.core.spec import RunSpec
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.launch.client_run import BodySource, RunListener
from kon.launch.context import context
from kon.launch.simulated.host import BlockJournal
from kon.launch.simulated.simulation import Journals, Report, Simulation

WORKERS: Final = "workers"
"""The name of the one file of events that all simulated workers share."""

REPORT: Final = "simulation.json"
"""In the run's folder: what the simulation knows beyond the records of any run."""

PROGRESS_PAUSE_S: Final = 0.1
"""Between two looks at how far the simulation is, in real seconds."""


class SimulatedRun:
    """One run in virtual time. One that was interrupted begins again: nothing real has been done yet.

    about: where the run comes from, for its records.
    """

    join: Final = False
    """Its workers are this process's own, whoever asked for others."""

    billed: Final[Mapping[str, float]] = {}
    """Nothing: no provider has a part in it."""

    def __init__(
        self,
        folder: RunFolder,
        spec: RunSpec,
        source: BodySource,
        *,
        about: Mapping[str, Any] | None = None,
        listener: RunListener | None = None,
    ) -> None:
        self.folder = folder
        self.spec = spec
        self._source = source
        self._about = about or {}
        self._listener = listener or RunListener()

    async def run(self) -> Tally:
        """Simulate it to the end. Records are in the folder, and say that their clock is virtual."""
        stopping = threading.Event()
        self._prepare()
        with closing(self._journal("client")) as client_events, closing(self._journal(WORKERS)) as events:
            with closing(BlockJournal(FileJournal(self.folder.results))) as results:
                simulation = Simulation(
                    self.folder.read_run().worker_spec,
                    self._source.bodies(self.spec.workers),
                    Journals(events, client_events, results),
                    recorded=list(self.folder.packets()),
                    first_attempt=self.folder.read_run().attempts_before + 1,
                    stop=stopping.is_set,
                )
                report = await self._watch(simulation, stopping)
        body = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
        (self.folder.path / REPORT).write_bytes(body)
        assert simulation.tally is not None  # it came to its end
        return simulation.tally

    async def _watch(self, simulation: Simulation, stopping: threading.Event) -> Report:
        """Have a thread simulate it, and tell how far it is."""
        thread = asyncio.get_running_loop().run_in_executor(None, simulation.run)
        try:
            while not (await asyncio.wait({thread}, timeout=PROGRESS_PAUSE_S))[0]:
                if simulation.tally is not None:
                    self._listener.update(simulation.tally)
        finally:
            stopping.set()
            await asyncio.wait({thread})
            thread.exception()  # looked at, where this was cancelled and nobody asks for it
        report = thread.result()
        if simulation.tally is not None:
            self._listener.update(simulation.tally)
        return report

    def _prepare(self) -> None:
        """Have the folder describe the run, and hold nothing of a simulation that was interrupted."""
        folder = self.folder
        if folder.exists and not folder.read_run().attempts_before:
            shutil.rmtree(folder.events, ignore_errors=True)
            folder.results.unlink(missing_ok=True)
        if not folder.exists:
            folder.write_run(self.spec, {**context(), "clock": "virtual", **self._about})

    def _journal(self, name: str) -> BlockJournal:
        return BlockJournal(FileJournal(self.folder.events / f"{name}.jsonl"))

    async def submit(self) -> None:
        """Raises ConfigurationError."""
        raise ConfigurationError(
            f"the backend {self.spec.backend.name} simulates, and what is submitted would end with this "
            "process; use `kon run`"
        )

    def detach(self) -> bool:
        """Return False: nothing goes on without this process."""
        return False

    def stop_workers(self) -> None:
        """Do nothing: cancelling `run` ends the simulation with its workers."""

    def kill_workers(self) -> None:
        """Do nothing, as `stop_workers`."""

    async def workers_ended(self) -> None:
        """Return at once."""
