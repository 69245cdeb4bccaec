"""`kon.submit`, `kon.gather`, `kon.open_run` and what a `Run` can do."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, cast

import pytest

import kon
from kon.api.background import Background
from kon.core.errors import StoreError
from kon.core.spec import Plugin, RunSpec
from kon.engine.records.records import RunFolder
from kon.launch.crew import NothingToQueue
from kon.launch.local import LocalRun
from tests.api.functions import double, fail_on_odd, wait_for

HERE: dict[str, Any] = {"backend": "memory", "workers": 1}


class Gate:
    """Files that tasks wait for."""

    def __init__(self, folder: Path, count: int) -> None:
        self.paths = [folder / f"gate-{number}" for number in range(count)]
        self.items = [str(path) for path in self.paths]

    def open(self, *numbers: int) -> None:
        for number in numbers:
            self.paths[number].touch()


def test_it_returns_at_once_and_goes_on(tmp_path: Path) -> None:
    gate = Gate(tmp_path, 2)
    run = kon.submit(wait_for, gate.items, **HERE)
    assert run.status() == kon.RunStatus("running", 2, 0, 0, 0, 0, 0, left=2)
    assert (run.id, run.tasks) == ("wait_for", 2)
    gate.open(0, 1)
    assert kon.gather(run) == gate.items
    assert run.status() == kon.RunStatus("finished", 2, 2, 0, 0, 0, 0, left=0)


def test_items_are_taken_as_they_are_at_the_call() -> None:
    items = [[1], [2]]
    run = kon.submit(double_first, items, **HERE)
    items[0][0] = 100
    items.append([3])
    assert kon.gather(run) == [2, 4]


def double_first(item: list[int]) -> int:
    return 2 * item[0]


def test_results_as_they_come(tmp_path: Path) -> None:
    gate = Gate(tmp_path, 3)
    run = kon.submit(wait_for, gate.items, slots=3, **HERE)
    results = run.results()
    for number in (2, 0, 1):
        gate.open(number)
        outcome = next(results)
        assert (outcome.index, outcome.state) == (number, kon.State.DONE)
        assert outcome.result == gate.items[number]
    assert list(results) == []
    assert sorted(outcome.index for outcome in run.results()) == [0, 1, 2]


def test_several_runs_at_once() -> None:
    runs = [kon.submit(double, [number], **HERE) for number in range(3)]
    assert kon.gather(runs) == [[0], [2], [4]]


def test_failures() -> None:
    run = kon.submit(fail_on_odd, [0, 1], attempts=1, **HERE)
    with pytest.raises(kon.TaskFailed, match="task 1 failed: ValueError: 1 is odd"):
        kon.gather(run)
    assert kon.gather(run, return_exceptions=True)[0] == 0


def test_patience_ends_before_the_run_does(tmp_path: Path) -> None:
    gate = Gate(tmp_path, 1)
    run = kon.submit(wait_for, gate.items, **HERE)
    with pytest.raises(TimeoutError, match=r"1 of 1 tasks to do; it goes on"):
        kon.gather(run, timeout_s=0.05)
    gate.open(0)
    assert kon.gather([run], timeout_s=60) == [gate.items]


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_cancel(tmp_path: Path, backend: str) -> None:
    gate = Gate(tmp_path, 3)
    gate.open(0)
    run = kon.submit(wait_for, gate.items, backend=backend, workers=1, drain_s=0, attempts=2)
    next(run.results())
    run.cancel()
    status = run.status()
    assert (status.state, status.done, status.cancelled) == ("finished", 1, 2)
    with pytest.raises(kon.TaskFailed, match="task 1 was cancelled"):
        kon.gather(run)


def test_cancel_before_a_worker_is_there() -> None:
    run = kon.submit(double, range(100_000), workers=1)
    run.cancel()
    assert run.status().left == 0


def test_cancel_lets_what_runs_end(tmp_path: Path) -> None:
    gate = Gate(tmp_path, 2)
    begun = tmp_path / "begun"
    command = f"touch {begun}; until test -e {{}}; do sleep 0.02; done"
    run = kon.submit(command, gate.items, drain_s=60, **HERE)
    while not begun.exists():
        threading.Event().wait(0.01)
    cancelling = threading.Thread(target=run.cancel)
    cancelling.start()
    gate.open(0)
    cancelling.join(60)
    status = run.status()
    assert (status.done, status.cancelled) == (1, 1)


def test_a_run_that_is_over_can_be_cancelled() -> None:
    run = kon.submit(double, [1], **HERE)
    kon.gather(run)
    run.cancel()
    assert run.status().done == 1


def test_open_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kon.map(double, [1, 2], out=tmp_path / "results" / "one", **HERE)
    kon.map(fail_on_odd, [2], out=tmp_path / "results" / "two", **HERE)
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "results" / "one" / "double", "results/one", "double"):
        assert kon.gather(kon.open_run(place)) == [2, 4]
    kon.map(double, [1, 2], out=tmp_path / "results" / "three", **HERE)
    with pytest.raises(kon.ConfigurationError, match="double may be any of several runs"):
        kon.open_run("double")
    with pytest.raises(kon.ConfigurationError, match=r'no records of a run in .*oen, did you mean "one"\?'):
        kon.open_run("results/oen")


def test_the_same_call_again_joins_the_run_that_is_on(tmp_path: Path) -> None:
    gate = Gate(tmp_path, 2)
    first = kon.submit(wait_for, gate.items, out=tmp_path / "out", **HERE)
    second = kon.submit(wait_for, gate.items, out=tmp_path / "out", **HERE)
    third = kon.open_run(tmp_path / "out")
    with pytest.raises(kon.ConfigurationError, match="differs in its items"):
        kon.submit(wait_for, gate.items[:1], out=tmp_path / "out", **HERE)
    gate.open(0, 1)
    assert kon.gather([first, second, third]) == [gate.items] * 3


def program(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(text)
    return subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=True
    )


COMMAND = "until test -e {}; do sleep 0.02; done"


class TestEndOfProgram:
    """What becomes of a run whose program ends before it."""

    def test_a_run_with_records_goes_on_without_it(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path, 3)
        program(
            tmp_path,
            f"import kon; print(kon.submit({COMMAND!r}, {gate.items!r}, out='out', workers=2, idle_s=5))",
        )
        run = kon.open_run(tmp_path / "out")
        assert run.status().state == "left"
        gate.open(0, 1, 2)
        assert [each["exit"] for each in kon.gather(run)] == [0, 0, 0]
        assert run.status().state == "finished"

    def test_a_run_that_is_over_is_concluded(self, tmp_path: Path) -> None:
        program(tmp_path, "import kon; list(kon.submit('true', [1], out='out', workers=1).results())")
        assert (tmp_path / "out" / "true" / "summary.json").exists()
        assert not (tmp_path / "out" / "true" / "kon.db").exists()

    def test_a_run_without_records_is_waited_for(self, tmp_path: Path) -> None:
        program(tmp_path, "import kon; kon.submit('sleep 0.3; touch {}', ['a', 'b', 'c'], workers=1)")
        assert {each.name for each in tmp_path.iterdir()} == {"a", "b", "c", "script.py"}

    def test_workers_that_were_left_are_stopped_with_their_run(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path, 2)
        program(
            tmp_path, f"import kon; kon.submit({COMMAND!r}, {gate.items!r}, out='out', workers=1, drain_s=0)"
        )
        run = kon.open_run(tmp_path / "out")
        run.cancel()
        assert run.status().left == 0
        running = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True)
        assert str(run.path) not in running.stdout

    def test_a_program_at_work_is_not_disturbed(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path, 1)
        script = tmp_path / "script.py"
        script.write_text(
            f"import kon; print(kon.map({COMMAND!r}, {gate.items!r}, out='out', workers=1)[0]['exit'])"
        )
        with subprocess.Popen([sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE) as other:
            try:
                while not (tmp_path / "out" / "until" / "events" / "client.jsonl").exists():
                    threading.Event().wait(0.02)
                run = kon.open_run(tmp_path / "out")
                assert run.status().state == "running"
                with pytest.raises(kon.ConfigurationError, match="another program is at work on the run"):
                    kon.map(COMMAND, gate.items, out=tmp_path / "out", workers=1)
            finally:
                gate.open(0)
            assert kon.gather(run)[0]["exit"] == 0
            assert other.communicate()[0] == b"0\n"


def test_a_program_that_starts_runs_as_a_worker_imports_it_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KON_LOADING", "mine.py")
    with pytest.raises(kon.ConfigurationError, match=r"imports mine.py .* starts a run"):
        kon.submit(double, [1], **HERE)


def test_a_run_that_is_called_off_as_it_ends_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The store may be closed by then, and nothing is left to be cancelled."""
    for _ in range(5):
        run = kon.submit(["true"], range(2), workers=1)
        for _ in run.results():
            run.call_off()
        run.discard()
    gc.collect()
    assert caplog.records == []


def test_a_run_that_cant_be_left_to_its_workers_says_what_becomes_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Damaged:
        async def submitted(self) -> None:
            raise StoreError("kon.db: can't be read: Input/output error")

    spec = RunSpec("r", "r", Plugin("sqlite"), Plugin("lease"), Plugin("sleep"), 1, 1)
    background = Background(RunFolder(tmp_path / "r"), spec, NothingToQueue())
    background._local = cast(LocalRun, Damaged())
    asyncio.run(background._leave())
    assert (
        "Input/output error. So r can't be left to its workers: this program ends with the run" in caplog.text
    )
    assert "the same call with the same `out` goes on with it" in caplog.text
