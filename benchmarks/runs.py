"""Runs of kon's, measured. Each function here is called in an interpreter of its own; see `benchmarks.fresh`.

They are runs as users have them: client, worker processes, event and result journals, durable tables.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peak_memory import PeakMemory, own_peak_mb
from kon.core.spec import Plugin, RunSpec
from kon.engine.records.records import RunFolder
from kon.launch.local import LocalRun
from kon.report.summary import summarise


class Sleeps:
    """Tasks that all sleep as long."""

    def __init__(self, tasks: int, seconds: float) -> None:
        self._tasks = tasks
        self._seconds = seconds

    def bodies(self, workers: int) -> Iterator[float]:
        return itertools.repeat(self._seconds, self._tasks)


def spec_of(tasks: int, seconds: float = 0.0, durability: str | None = None, **settings: Any) -> RunSpec:
    settings = {"bundle": None, "prefetch": None, **settings}
    backend = Plugin(settings.pop("backend", "sqlite"), {"durability": durability} if durability else {})
    return RunSpec(
        run="bench",
        experiment="bench",
        backend=backend,
        strategy=Plugin("conditional_put"),
        kind=Plugin("sleep"),
        tasks=tasks,
        ideal_s=tasks * seconds,
        **settings,
    )


@contextmanager
def new_folder() -> Iterator[RunFolder]:
    with tempfile.TemporaryDirectory() as folder:
        yield RunFolder(Path(folder) / "bench")


def run(tasks: int, seconds: float = 0.0, **settings: Any) -> dict[str, Any]:
    """The row of a run, its time counted from the first submission to the last outcome.

    cpu_us_per_task: of client and workers, from their start to their end.
    """
    spec = spec_of(tasks, seconds, **settings)
    with new_folder() as folder:
        used_s = cpu_s()
        asyncio.run(LocalRun(folder, spec, Sleeps(tasks, seconds)).run())
        used_s = cpu_s() - used_s
        row = summarise(folder)
    if row["done"] != tasks or row["duplicate_starts"]:
        raise AssertionError(f"a run that went wrong is no measurement: {row}")
    return {**row, "cpu_us_per_task": used_s / tasks * 1e6}


def footprint(tasks: int, **settings: Any) -> dict[str, float]:
    """The peaks of memory of a run's client and of the largest of its workers."""
    with new_folder() as folder, PeakMemory() as workers:
        asyncio.run(LocalRun(folder, spec_of(tasks, **settings), Sleeps(tasks, 0.0)).run())
        return {"worker_peak_mb": workers.largest_mb(), "client_peak_mb": own_peak_mb()}


def submit(tasks: int, **settings: Any) -> dict[str, float]:
    """What it takes to queue tasks that nobody works on yet."""
    with new_folder() as folder:
        local = LocalRun(folder, spec_of(tasks, **settings), Sleeps(tasks, 0.0))
        began_s = time.perf_counter()
        asyncio.run(local.submit())
        took_s = time.perf_counter() - began_s
    return {"us_per_task": took_s / tasks * 1e6, "peak_mb": own_peak_mb()}


def idle(seconds: float) -> dict[str, float]:
    """The share of a core that a worker takes which waits for tasks, its heartbeat included."""
    beat_s = 1.0
    spec = spec_of(1, visibility_s=3 * beat_s)
    with new_folder() as folder:
        asyncio.run(LocalRun(folder, spec, Sleeps(0, 0.0)).submit())
        worker = subprocess.Popen([sys.executable, "-m", "kon.launch.process", str(folder.path), "w1"])
        try:
            time.sleep(seconds + 2 * beat_s)
        finally:
            worker.terminate()
            worker.wait()
        used = [line for _, line in folder.event_lines() if line["e"] == "usage"]
    first, last = used[0], used[-2]  # the one after that is told at the end
    return {"core_share": (last["cpu_s"] - first["cpu_s"]) / (last["t"] - first["t"])}


def commit_to_disk(commits: int = 100) -> dict[str, float]:
    """How long this disk takes to keep 4 KiB for good, as each commit with `durability: full` has it."""
    with tempfile.TemporaryFile() as file:
        began_s = time.perf_counter()
        for _ in range(commits):
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        return {"fsync_us": (time.perf_counter() - began_s) / commits * 1e6}


def cpu_s() -> float:
    """CPU time of this process and of those that it has started and seen end."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
