"""Measurements on an emulator. Each function is called in an interpreter of its own (`benchmarks.fresh`).

Each starts the emulator anew, so that none meets what another left, and keeps emulator, worker and client
to the same two cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.aws.usage import used_by_tasks, used_by_the_idle
from benchmarks.fresh import MeasurementFailed
from benchmarks.processes import cpu_s_of, share_cores
from benchmarks.records import ROOT
from benchmarks.runs import Sleeps, new_folder, spec_of
from kon.backends.emulator import Emulator, started
from kon.core.spec import Plugin, RunSpec
from kon.engine.tally import Tally
from kon.experiment.cells import tasks_per_row_for
from kon.launch.client_run import RunListener
from kon.launch.local import LocalRun
from kon.report.summary import summarise

PEERS: Final = ROOT / ".cache" / "bench-aws" / "bin" / "python"
"""The interpreter of the peers' own virtualenv."""

EMULATOR: Final = "BENCH_EMULATOR_PID"


@contextmanager
def emulator() -> Iterator[Emulator]:
    share_cores()
    with started("ministack") as server, server.in_use():
        yield server


def peer(name: str, **options: Any) -> dict[str, Any]:
    """Of one peer, by `benchmarks.peers.sqs` in the peers' virtualenv."""
    with emulator() as server:
        done = subprocess.run(
            [PEERS, "-m", "benchmarks.peers.sqs"],
            input=json.dumps({"name": name, **options}).encode(),
            env={**os.environ, EMULATOR: str(server.pid)},
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
    if done.returncode:
        raise MeasurementFailed(f"{name}: {done.stderr.decode(errors='replace').strip()[-2_000:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


class Watched(Sleeps, RunListener):
    """Tasks that note the emulator's CPU time when they begin to be submitted and when all are collected."""

    def __init__(self, tasks: int, seconds: float, pid: int) -> None:
        super().__init__(tasks, seconds)
        self._pid = pid
        self._before_s: float | None = None
        self.cpu_s: float | None = None

    def bodies(self, workers: int) -> Iterator[float]:
        self._before_s = cpu_s_of(self._pid)
        return super().bodies(workers)

    def update(self, tally: Tally) -> None:
        after_s = cpu_s_of(self._pid)
        if not tally.left and after_s is not None and self._before_s is not None:
            self.cpu_s = after_s - self._before_s


def kon(tasks: int, warm_up: int, strategy: str, seconds: float = 0.0, **settings: Any) -> dict[str, Any]:
    """A run of kon's, as users have it, after a smaller one that warms the emulator.

    options: of the backend, among the settings.
    """
    with emulator() as server:
        _run("warm-up", warm_up, strategy, 0.0, server, settings)
        return _run("bench", tasks, strategy, seconds, server, settings)


def _run(
    name: str, tasks: int, strategy: str, seconds: float, server: Emulator, settings: dict[str, Any]
) -> dict[str, Any]:
    backend = Plugin("aws", settings.get("options", {}))
    others = {key: value for key, value in settings.items() if key != "options"}
    others.setdefault("tasks_per_row", tasks_per_row_for(None, settings.get("bundle"), backend))
    spec: RunSpec = msgspec.structs.replace(
        spec_of(tasks, seconds, **others),
        run=name,
        backend=backend,
        strategy=Plugin(strategy),
    )
    source = Watched(tasks, seconds, server.pid)
    with new_folder() as folder:
        asyncio.run(LocalRun(folder, spec, source, listener=source).run())
        row = summarise(folder)
        used = used_by_tasks(folder)
    if row["done"] != tasks or row["duplicate_results"]:
        raise MeasurementFailed(f"a run that went wrong is no measurement: {row}")
    return {
        "tasks_per_s": row["tasks_per_s"],
        "took_s": row["wall_s"],
        "efficiency": row["efficiency"],
        "dollars_per_million_tasks": row.get("dollars_per_million_tasks"),
        "emulator_cpu_ms_per_task": None if source.cpu_s is None else source.cpu_s / tasks * 1e3,
        **used,
    }


def idle(seconds: float, strategy: str, workers: int) -> dict[str, Any]:
    """Workers beside one that has the only task, of so many seconds."""
    with emulator() as server:
        spec: RunSpec = msgspec.structs.replace(
            spec_of(1, seconds, workers=workers),
            run="idle",
            backend=Plugin("aws"),
            strategy=Plugin(strategy),
        )
        source = Watched(1, seconds, server.pid)
        with new_folder() as folder:
            asyncio.run(LocalRun(folder, spec, source).run())
            used = used_by_the_idle(folder)
    if used["idle_workers"] != workers - 1:
        raise MeasurementFailed(f"{used['idle_workers']} workers had nothing to do, not {workers - 1}")
    return used


def simulated(
    workers: int, tasks_each: int, seconds: float, strategy: str, **settings: Any
) -> dict[str, Any]:
    """The same worker and client on hosts that are simulated, over the model of SQS and DynamoDB."""
    from kon.experiment import loads
    from kon.launch.simulated.simulation import Simulation

    experiment = {
        "name": "bench",
        "backend": {"name": "sim", "latency": "aws-us-east-1", "table": "warm", "boot": False},
        "workload": {"kind": "sleep", "count": tasks_each, "seconds": seconds, "per": "worker"},
        "workers": workers,
        "strategies": strategy,
        **settings,
    }
    [cell] = loads(json.dumps(experiment), "benchmarks/aws/measure.py", Path())[0].cells()
    report = Simulation(cell.spec, cell.workload.bodies(workers)).run()
    return {"efficiency": tasks_each * seconds / report.wall_s, "took_s": report.wall_s}
