"""Real processes, real SIGKILLs: what `lease` promises holds, and what other strategies lose is counted."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from kon.backends.emulator import Emulator
from kon.core.clock import Clock
from kon.core.journal import FileJournal
from kon.core.plugins import open_backend
from kon.core.spec import Plugin, RunSpec
from kon.core.task import State
from kon.engine.client import Client, Listener
from kon.engine.records.records import RunFolder
from kon.engine.tally import Tally
from kon.launch.crew import worker_names
from kon.launch.supervise import WorkerProcesses

MANY_KILLS: Final = 30  # of so many, some hit a task that has started and is not committed

SQLITE: Final = Plugin("sqlite")
AWS: Final = Plugin("aws", {"prefix": "killed", "depth_lag_s": 1.0})

EACH: Final = pytest.param(1, 1, id="a message each")
BUNDLES: Final = pytest.param(10, 25, id="bundles")
"""Messages that have parts of rows, too."""


def spec_of(
    strategy: str,
    tasks: int,
    backend: Plugin = SQLITE,
    visibility_s: float = 1.0,
    bundle: int = 1,
    tasks_per_row: int = 1,
    **strategy_options: Any,
) -> RunSpec:
    return RunSpec(
        run="killed",
        experiment="killed",
        backend=backend,
        strategy=Plugin(strategy, strategy_options),
        kind=Plugin("sleep"),
        tasks=tasks,
        workers=4,
        prefetch=20,
        bundle=bundle,
        tasks_per_row=tasks_per_row,
        visibility_s=visibility_s,
        max_receives=50,
    )


class Run:
    """A run whose workers are killed over and over while the client collects."""

    def __init__(self, path: Path, spec: RunSpec) -> None:
        self.folder = RunFolder(path / spec.run)
        self.spec = spec
        self.kills = 0
        self.tally = Tally(0)

    async def run(self, seconds: float, kills: int, every_s: float) -> None:
        self.folder.write_run(self.spec, {})
        backend = open_backend(self.spec.backend, self.folder.path.parent)
        await backend.create(self.spec.run, self.spec.channel_options)
        channel = await backend.open(self.spec.run)
        crew = WorkerProcesses(self.folder, worker_names(self.spec))
        listener = Listener(FileJournal(self.folder.results))
        client = Client(self.spec, channel, listener, Clock.of_this_host(), random.Random(1))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(crew.run())
                killing = group.create_task(self._kill(crew, kills, every_s))
                self.tally = await client.run(seconds for _ in range(self.spec.tasks))
                killing.cancel()
                await client.close()
                crew.stop()
        finally:
            crew.kill()
            await crew.ended()
            await backend.delete(self.spec.run)
            await backend.close()

    async def _kill(self, crew: WorkerProcesses, kills: int, every_s: float) -> None:
        rng = random.Random(2)
        while self.kills < kills:
            await asyncio.sleep(every_s * rng.uniform(0.5, 1.5))
            pids = sorted(crew.pids().values())
            if pids:
                os.kill(rng.choice(pids), signal.SIGKILL)
                self.kills += 1

    def times(self, event: str) -> Counter[int]:
        """How often each task had this event."""
        return Counter(index for line in self._lines(event) for index in _tasks_of(line))

    def answers(self) -> Counter[int]:
        return Counter(o.index for packet in self.folder.packets() for o in packet.outcomes)

    def _lines(self, event: str) -> Iterator[dict[str, Any]]:
        return (line for _, line in self.folder.event_lines() if line["e"] == event)


def _tasks_of(line: dict[str, Any]) -> list[int]:
    first, count = line.get("r", (0, 0))
    tasks: list[int] = line.get("i") or list(range(first, first + count))
    return tasks


@pytest.mark.parametrize(("kills", "tasks"), [(12, 5_000), pytest.param(50, 20_000, marks=pytest.mark.slow)])
def test_with_lease_killed_workers_lose_nothing_and_no_result_counts_twice(
    tmp_path: Path, kills: int, tasks: int
) -> None:
    run = Run(tmp_path, spec_of("lease", tasks, lease_s=1.0, skew_s=0.1))
    asyncio.run(run.run(seconds=0.002, kills=kills, every_s=0.2))
    assert run.kills == kills
    all_done_once(run, tasks)


@pytest.mark.slow
@pytest.mark.parametrize(("bundle", "tasks_per_row"), [EACH, BUNDLES])
def test_on_sqs_and_dynamodb_thirty_killed_workers_lose_nothing_either(
    tmp_path: Path, on_ministack: Emulator, bundle: int, tasks_per_row: int
) -> None:
    run = Run(tmp_path, spec_of("lease", 10_000, AWS, 2.0, bundle, tasks_per_row, lease_s=2.0, skew_s=0.1))
    asyncio.run(run.run(seconds=0.002, kills=30, every_s=0.4))
    assert run.kills == 30
    all_done_once(run, 10_000)


@pytest.mark.parametrize(("bundle", "tasks_per_row"), [BUNDLES])
def test_on_sqs_and_dynamodb_killed_workers_lose_nothing(
    tmp_path: Path, on_ministack: Emulator, bundle: int, tasks_per_row: int
) -> None:
    run = Run(tmp_path, spec_of("lease", 1_500, AWS, 2.0, bundle, tasks_per_row, lease_s=2.0, skew_s=0.1))
    asyncio.run(run.run(seconds=0.004, kills=4, every_s=0.6))
    assert run.kills == 4
    all_done_once(run, 1_500)


def all_done_once(run: Run, tasks: int) -> None:
    assert run.tally.counts[State.DONE] == tasks
    assert run.answers() == Counter(range(tasks)), "each answered, and recorded once"
    kept = run.times("keep")
    assert set(kept.values()) == {1}, "no result was kept twice"
    started = run.times("start")
    assert set(started) == set(range(tasks))
    if run.kills >= MANY_KILLS:
        assert sum(started.values()) > tasks, "the kills did hit running tasks"


@pytest.mark.long
def test_with_conditional_put_no_task_starts_twice_and_what_the_killed_held_is_lost(tmp_path: Path) -> None:
    run = Run(tmp_path, spec_of("conditional_put", 8_000))
    asyncio.run(run.run(seconds=0.002, kills=8, every_s=0.6))
    assert set(run.times("start").values()) == {1}
    assert run.tally.counts[State.LOST] > 0
    assert run.tally.counts[State.DONE] + run.tally.counts[State.LOST] == 8_000
