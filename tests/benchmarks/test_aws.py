"""The benchmarks on Amazon's services: their arithmetic and drawing. No peer or emulator is started."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest

from benchmarks import records as kept
from benchmarks.__main__ import AWS
from benchmarks.aws import least
from benchmarks.aws.least import least_requests
from benchmarks.aws.throughput import TASKS, WARM_UP, named
from benchmarks.aws.usage import used_by_tasks, used_by_the_idle
from benchmarks.aws.versions import peers_installed
from benchmarks.experiment import Experiment, Point, Record, Section
from benchmarks.page import page, page_with_aws, text
from benchmarks.peers.sqs.marks import READY, Marks, Reader
from benchmarks.processes import cpu_s_of
from benchmarks.records import Records, here
from benchmarks.runs import spec_of
from kon.backends.aws import dynamodb, queue
from kon.engine.records.records import RunFolder
from kon.experiment import loads
from kon.launch.simulated.simulation import Simulation

FIGURES: dict[str, Any] = {
    "tasks_per_s": 1_000.0,
    "took_s": 2.0,
    "efficiency": 0.97,
    "dollars_per_million_tasks": 1.5,
    "emulator_cpu_ms_per_task": 0.5,
    "worker_cpu_ms_per_task": 0.2,
    "client_cpu_ms_per_task": 0.1,
    "requests_per_task": 0.4,
    "requests": {"client.sqs": 200.0, "worker.sqs": 300.0, "worker.dynamodb": 72.0, "client.dynamodb": 5.0},
    "idle_requests": {"sqs": 280.0, "dynamodb": 420.0},
    "idle_dollars": 0.0002,
    "idle_cpu_s": 3.0,
}


def made(experiment: Experiment, quick: bool, own: dict[str, dict[str, Any]] | None = None) -> list[Record]:
    """A record of each point; with figures of its own, the first in `own` whose name it begins with."""
    return [
        Record(experiment.name, point, _figures(point, own or {}), 0.5, "2030-01-01T00:00+00:00")
        for point in experiment.points(quick)
    ]


def _figures(point: Point, own: dict[str, dict[str, Any]]) -> dict[str, Any]:
    figures = {**FIGURES, **next((each for name, each in own.items() if point.what.startswith(name)), {})}
    if not point.function.endswith((":kon", ":idle")):  # no peer counts its requests
        figures = {name: figure for name, figure in figures.items() if "request" not in name}
    return figures


# --- the fewest requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "bundle", "strategy", "calls"),
    [
        # sends + receives + deletes, ledger, three for the answers
        (1_800, 1, "conditional_put", 3 * 180 + 72 + 3),
        (1_800, 1, "lease", 3 * 180 + 2 * 72 + 3),
        (1_800, 1, "none", 3 * 180 + 3),
        (1_800, 1, "result_once", 3 * 180 + 18 + 72 + 3),
        (18_000, 100, "conditional_put", 3 * 18 + 8 + 6),
        (18_000, 100, "lease", 3 * 18 + 2 * 8 + 6),
        (18_000, 1_000, "lease", 3 * 2 + 2 * 8 + 6),
        (18_000, 100, "fifo", 3 * 18 + 6),
        (1, 1, "lease", 3 + 2 + 3),
        (101, 100, "none", 3 + 3),
        (26, 1, "conditional_put", 3 * 3 + 2 + 3),
    ],
)
def test_the_fewest_requests(tasks: int, bundle: int, strategy: str, calls: int) -> None:
    assert least_requests(tasks, bundle, strategy).total == calls


def test_calls_carry_what_the_backend_puts_into_them() -> None:
    assert least.CALL_MESSAGES == queue.CALL_MESSAGES
    assert least.CALL_BYTES == queue.CALL_BYTES
    assert least.STATEMENTS == dynamodb.MAX_BATCH
    assert least.KEYS == dynamodb.MAX_KEYS


def test_there_is_a_fewest_for_every_strategy() -> None:
    assert {each.name for each in entry_points(group="kon.strategies")} <= set(least.LEDGER)


@pytest.mark.parametrize("bundle", [1, 100])
@pytest.mark.parametrize("strategy", [name for name in least.LEDGER if name != "fifo"])
def test_no_run_makes_fewer(strategy: str, bundle: int) -> None:
    experiment = {
        "name": "least",
        "backend": {"name": "sim", "boot": False},
        "workload": {"kind": "sleep", "count": 1_000, "seconds": 0.0},
        "strategies": strategy,
        "bundle": bundle,
        "prefetch": 1_000,
    }
    [cell] = loads(json.dumps(experiment), "test", Path())[0].cells()
    report = Simulation(cell.spec, cell.workload.bodies(1)).run()
    calls = {name: usage.calls for name, usage in report.requests.items()}
    fewest = least_requests(1_000, bundle, strategy)
    assert calls["tasks queue.send"] >= fewest.sends
    assert calls["tasks queue.receive"] >= fewest.receives
    assert calls["tasks queue.ack"] >= fewest.deletes
    assert sum(count for name, count in calls.items() if name.startswith("ledger")) >= fewest.ledger


# --- what a run used ---------------------------------------------------------------------------------------


def _folder(path: Path, lives: dict[str, list[dict[str, Any]]]) -> RunFolder:
    folder = RunFolder(path)
    folder.write_run(spec_of(10), {})
    folder.events.mkdir()
    for life, lines in lives.items():
        (folder.events / f"{life}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def _used(event: str, cpu_s: float, sqs: int, dynamodb: int = 0, at_s: float = 0.0) -> dict[str, Any]:
    billed = {"sqs.calls": sqs, "dynamodb.calls": dynamodb, "sqs.requests": 10 * sqs}
    return {"t": at_s, "e": event, "cpu_s": cpu_s, "requests": sqs + dynamodb, "billed": billed}


def test_what_was_used_before_the_first_submission_does_not_count(tmp_path: Path) -> None:
    folder = _folder(
        tmp_path / "run",
        {
            "client": [_used("open", 1.0, 30, 50), _used("close", 1.2, 35, 52)],
            "w1.a": [
                _used("up", 0.5, 3),
                {"t": 0.0, "e": "start", "r": [0, 10]},
                _used("usage", 0.6, 5, 1),
                _used("usage", 0.8, 6, 2),
            ],
            "w2.b": [_used("up", 0.5, 4), _used("usage", 0.6, 5, 1)],
        },
    )
    used = used_by_tasks(folder)
    assert used["requests_per_task"] == (5 + 2 + 3 + 2 + 1 + 1) / 10
    assert used["requests"] == {
        "client.sqs": 5,
        "client.dynamodb": 2,
        "worker.sqs": 4,
        "worker.dynamodb": 3,
    }
    assert math.isclose(used["worker_cpu_ms_per_task"], 40.0)
    assert math.isclose(used["client_cpu_ms_per_task"], 20.0)


def test_an_idle_hour_is_that_of_workers_without_a_task(tmp_path: Path) -> None:
    folder = _folder(
        tmp_path / "run",
        {
            "client": [_used("open", 1.0, 30, 50), _used("close", 9.0, 900, 900, at_s=100.0)],
            "w1.a": [
                _used("up", 0.5, 3),
                {"t": 1.0, "e": "deliver", "r": [0, 10]},
                _used("usage", 5.0, 500, 500, at_s=90.0),
            ],
            "w2.b": [_used("up", 0.5, 4), _used("usage", 0.6, 6, 2, at_s=36.0)],
            "w3.c": [_used("up", 0.5, 4), _used("usage", 0.7, 8, 3, at_s=72.0)],
        },
    )
    used = used_by_the_idle(folder)
    assert used["idle_workers"] == 2
    assert used["idle_s"] == 108.0
    assert used["idle_requests"] == pytest.approx({"sqs": 200.0, "dynamodb": 5 / 0.03})
    assert used["idle_cpu_s"] == pytest.approx(10.0)
    assert used["idle_dollars"] == pytest.approx(2_000 * 0.4e-6)


# --- drawing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
@pytest.mark.parametrize("experiment", AWS.values(), ids=lambda each: each.name)
def test_every_experiment_draws_what_it_measures(experiment: Experiment, quick: bool) -> None:
    points = experiment.points(quick)
    assert len({point.key() for point in points}) == len(points), "two points share a record"
    section = experiment.draw(made(experiment, quick))
    assert section.title in text(section)
    assert section.tables


def test_the_ratio_is_to_the_best_row_of_celery() -> None:
    """Also to one that is timed with a full queue, which favours it."""
    records = made(
        AWS["aws"],
        False,
        {
            "Celery, 4 threads, queue filled": {"tasks_per_s": 250.0},
            "Celery": {"tasks_per_s": 200.0},
            named("lease", 100): {"tasks_per_s": 3_000.0},
        },
    )
    findings = AWS["aws"].draw(records).findings
    assert findings[0].startswith("4.0x (4.0 to 4.0)")
    assert findings[1].startswith("12.0x (12.0 to 12.0)")


def test_requests_stand_beside_the_fewest() -> None:
    table = AWS["aws"].draw(made(AWS["aws"], False)).tables[1]
    [row] = [row for row in table.rows if row[0] == named("conditional_put", 1)]
    fewest = least_requests(TASKS, 1, "conditional_put").total / TASKS
    assert row[1:5] == ("0.400", f"{fewest:.3f}", f"{0.4 / fewest:.2f}", f"{200 / TASKS:.3f}")


def test_the_emulators_backlog_stays_small() -> None:
    """Its receive takes longer with each message that waits. A million tasks stand beside nobody's."""
    compared = [experiment for name, experiment in AWS.items() if name != "aws-million"]
    points = [point for experiment in compared for point in experiment.points(quick=False)]
    for point in [each for each in points if each.function.endswith((":kon", ":peer"))]:
        # None: kon chooses, and packs tasks of no length a hundred to a message
        tasks, bundle = point.options["tasks"], point.options.get("bundle", 1) or 100
        assert tasks / bundle + WARM_UP < 2_000


def test_each_part_of_the_page_is_rewritten_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    first, aws = Records.of(here()), Records.of(here({"celery": "5"}), "aws")
    experiment = AWS["aws"]
    for records in (first, aws):
        [point, *_] = experiment.points(True)
        records.add(experiment.name, point, FIGURES, 1.0)
    alone = page_with_aws([Section("Amazon")], aws, "")
    assert "## Amazon" in alone
    whole = page([Section("Here")], first, alone)
    assert whole.index("## Here") < whole.index("## Amazon")
    again = page_with_aws([Section("Amazon, anew")], aws, whole)
    assert "## Here" in again
    assert "## Amazon, anew" in again
    assert "## Amazon\n" not in again
    assert page([Section("Here")], first, again) == again
    latest = Records.latest("aws")
    assert latest is not None
    assert latest.context.peers == {"celery": "5"}
    assert Records.latest() is not None


def test_peers_that_are_not_installed_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"not installed \(celery, .*make bench-aws"):
        peers_installed(tmp_path / "bin" / "python")


# --- what peers tell ---------------------------------------------------------------------------------------


@pytest.fixture
def living() -> Any:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_a_worker_tells_when_it_has_run_so_many_tasks(tmp_path: Path, living: Any) -> None:
    reader = Reader(tmp_path, (2, 3))
    environment = reader.environment
    assert environment["BENCH_MARKS_AT"] == "2,3"
    marks = Marks(Path(environment["BENCH_MARKS"]), frozenset({2, 3}))
    marks.tell(READY)
    before_s = time.monotonic()
    for task in (7, 7, 8):  # a task that comes twice counts once
        marks.ran(task)
    reader.wait(READY, living)
    assert reader.wait(2, living)["t"] >= before_s
    later = threading.Thread(target=marks.ran, args=[9])
    later.start()
    assert reader.wait(3, living)["cpu_s"] > 0
    later.join()
    reader.close()


def test_a_worker_that_ends_is_not_waited_for(tmp_path: Path, living: Any) -> None:
    reader = Reader(tmp_path, (1,))
    living.kill()
    with pytest.raises(RuntimeError, match="the worker ended with exit code -9"):
        reader.wait(1, living)
    reader.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_cpu_time_of_a_process() -> None:
    before_s = cpu_s_of(os.getpid())
    until_s = time.process_time() + 0.1
    while time.process_time() < until_s:
        pass
    after_s = cpu_s_of(os.getpid())
    assert before_s is not None
    assert after_s is not None
    assert after_s - before_s >= 0.05
    assert cpu_s_of(2**30) is None
