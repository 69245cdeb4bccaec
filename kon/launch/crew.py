"""The workers of a run that its client starts: in its own process here, as processes in
`kon.launch.supervise`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Protocol

from kon.core.backend import Backend, Channel
from kon.core.clock import Clock
from kon.core.journal import FileJournal
from kon.core.spec import RunSpec
from kon.engine.records.events import Life, Recorder, Watcher, spent
from kon.engine.records.records import RunFolder
from kon.engine.watchers.endpoint import asked_for, serving
from kon.engine.watchers.logs import logged
from kon.engine.watchers.meter import EventMeter
from kon.engine.worker import Worker
from kon.launch.process import make_kind, strategy_maker


class RunWorkers(Protocol):
    """The workers of a run, while it runs."""

    outlives: bool
    """Whether they can go on without this process."""

    async def run(self) -> None:
        """Keep them running until they have ended."""

    def stop(self) -> None:
        """Have them drain and end."""

    def detach(self) -> None:
        """Let them go on by themselves."""

    def kill(self) -> None:
        """End them at once."""

    async def ended(self) -> None:
        """Return when none is left, whatever became of `run`."""


class WorkersHere:
    """Workers in this process's own loop, for backends that live in its memory. Where the environment asks
    for metrics, they are served for all of them at one address."""

    outlives = False

    def __init__(self, folder: RunFolder, spec: RunSpec, backend: Backend, channel: Channel) -> None:
        self._over = asyncio.Event()
        clock = Clock.of_this_host()
        began_cpu_s = time.process_time()  # what this process has used for other things
        self._journals = []
        self._workers: list[Worker] = []
        self._serving: AbstractContextManager[None] = nullcontext()
        watches: list[Watcher] = []
        if address := asked_for():
            watches.append(meter := EventMeter())
            self._serving = serving(address, spec, meter, self._workers, backend)
        for number, name in enumerate(worker_names(spec)):
            journal = FileJournal(folder.events / f"{name}.jsonl")
            self._journals.append(journal)
            recorder = Recorder(journal, clock, watches=[*watches, *logged(spec.run, name)])
            life = Life(name, clock, recorder, random.Random(f"{spec.seed}:{name}"))
            if number == 0:  # they share one process, and what it used is told once
                life = replace(life, usage=lambda: spent(backend, time.process_time() - began_cpu_s))
            self._workers.append(Worker(life, spec, channel, strategy_maker(spec), make_kind(spec)))

    async def run(self) -> None:
        try:
            with self._serving:
                async with asyncio.TaskGroup() as group:
                    for worker in self._workers:
                        group.create_task(worker.run())
            for journal in self._journals:
                journal.close()
        finally:
            self._over.set()

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()

    def detach(self) -> None:
        """They end with this process; their tasks do too, as the memory that holds them."""

    def kill(self) -> None:
        """Cancelling `run` ends them."""

    async def ended(self) -> None:
        await self._over.wait()


class NothingToQueue:
    """The source of a run that was queued whole before, or whose tasks come one by one."""

    def bodies(self, workers: int) -> Iterable[Any]:
        return ()


def worker_names(spec: RunSpec, host: int | None = None) -> list[str]:
    """The names of a run's worker processes, of all its workers or of one."""
    hosts = range(1, spec.workers + 1) if host is None else [host]
    if spec.processes == 1:
        return [f"w{number}" for number in hosts]
    return [f"w{number}-{process}" for number in hosts for process in range(1, spec.processes + 1)]


def doomed(spec: RunSpec) -> dict[str, int]:
    """Which worker processes end by SIGKILL, and as which of their tasks starts: drawn from the seed,
    between a quarter and three quarters of their share."""
    rng = random.Random(f"{spec.seed}:kill")
    names = worker_names(spec)
    share = max(1, spec.tasks // len(names))
    victims = rng.sample(names, min(spec.faults.kill_workers, len(names)))
    return {name: rng.randint(max(1, share // 4), max(1, 3 * share // 4)) for name in victims}
