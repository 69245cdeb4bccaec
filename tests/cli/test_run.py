"""`kon run`: its output, its exit codes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from kon.backends.aws.backend import AwsBackend
from kon.core.errors import BackendDenied, BackendRefused, KonError, OverBudget, StoreError
from kon.launch.local import LocalRun
from kon.report.summary import CONTRACT
from tests.cli.given import SHELL, SLEEPS, files_in, invoke, process, rows, write


def test_the_object_of_json_is_all_there_is_on_stdout(tmp_path: Path) -> None:
    result = invoke("run", write(tmp_path), "--json", "--set", "strategies=[lease, none]")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert list(printed) == ["schema", "experiment", "runs"]
    assert (printed["schema"], printed["experiment"]) == (1, "sleeps")
    assert [run["run"] for run in printed["runs"]] == ["sleeps-lease-w1-r1", "sleeps-none-w1-r1"]
    for run in printed["runs"]:
        assert list(run)[: len(CONTRACT)] == list(CONTRACT)
        assert (run["tasks"], run["done"], run["lost"]) == (20, 20, 0)
        assert run["wall_s"] > 0
        assert run["efficiency"] is None
    assert "sleeps-lease-w1-r1: 20 of 20 done" in result.stderr


def test_without_json_the_table_is_on_stdout_and_talk_is_not(tmp_path: Path) -> None:
    result = invoke("run", write(tmp_path))
    assert result.stdout.startswith("sleeps: 20 x sleep on memory\n")
    assert "sleeps-lease-w1-r1" in result.stdout
    assert result.stderr == result.output.replace(result.stdout, "")


@pytest.mark.parametrize(("refused", "code"), [(BackendRefused("a quota"), 3), (StoreError("no room"), 2)])
def test_a_run_that_can_not_be_made_keeps_no_other_from_being_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: KonError, code: int
) -> None:
    local = LocalRun.run

    async def run(self: LocalRun) -> None:
        if "lease" in self.folder.path.name:
            raise refused
        await local(self)

    monkeypatch.setattr(LocalRun, "run", run)
    file = write(tmp_path)
    result = invoke("run", file, "--json", "--set", "strategies=[lease, none, result_once]")
    assert [row["run"] for row in rows(result)] == ["sleeps-none-w1-r1", "sleeps-result_once-w1-r1"]
    assert result.exit_code == code
    assert f"kon: {refused}" in result.stderr
    monkeypatch.undo()
    again = invoke("run", file, "--json", "--set", "strategies=[lease, none, result_once]")
    assert again.exit_code == 0
    assert len(rows(again)) == 3


def test_what_is_over_budget_begins_no_other_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[str]()

    async def run(self: LocalRun) -> None:
        begun.append(self.folder.path.name)
        raise OverBudget("that is enough")

    monkeypatch.setattr(LocalRun, "run", run)
    result = invoke("run", write(tmp_path), "--set", "strategies=[lease, none]")
    assert (result.exit_code, begun) == (OverBudget.exit_code, ["sleeps-lease-w1-r1"])


def test_quiet_says_nothing_on_stderr(tmp_path: Path) -> None:
    result = invoke("run", write(tmp_path), "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    assert invoke("run", write(tmp_path), "-q").stderr == ""


def test_a_second_time_nothing_is_run_and_the_same_is_printed(tmp_path: Path) -> None:
    first = invoke("run", write(tmp_path), "--json")
    before = {path: path.stat().st_mtime_ns for path in files_in(tmp_path / "results")}
    second = invoke("run", write(tmp_path), "--json")
    assert json.loads(second.stdout) == json.loads(first.stdout)
    assert "1 run is recorded already" in second.stderr
    after = {path: path.stat().st_mtime_ns for path in files_in(tmp_path / "results")}
    before.pop(tmp_path / "results" / "sleeps" / ".client.lock", None)
    after.pop(tmp_path / "results" / "sleeps" / ".client.lock", None)
    assert after == before


def test_failed_tasks_are_exit_code_1_and_run_again_when_asked(tmp_path: Path) -> None:
    file = write(tmp_path, SHELL)
    result = invoke("run", file, "--json")
    assert result.exit_code == 1
    assert (rows(result)[0]["done"], rows(result)[0]["failed"]) == (2, 1)
    assert "kon results shells-lease-w1-r1 --failed" in result.stderr
    assert invoke("run", file).exit_code == 1, "that is still so when nothing is run"
    again = invoke("run", file, "--rerun-failed", "--json")
    assert again.exit_code == 1
    assert "recorded already" not in again.stderr
    assert rows(again)[0]["duplicate_results"] == 0


def test_limit_and_set_reach_the_experiment(tmp_path: Path) -> None:
    result = invoke(
        *("run", write(tmp_path), "--limit", "5", "--set", "workers=[1, 3]", "--set", "bundle=2", "--json")
    )
    assert [(run["workers"], run["tasks"], run["bundle"]) for run in rows(result)] == [(1, 5, 2), (3, 5, 2)]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--limit", "0"], "--limit: expected a whole number of 1 or more"),
        (["--limit", "x"], "not a valid integer"),
        (["--set", "workers"], "--set workers: expected key=value"),
        (["--set", "wrokers=2"], 'unknown key "wrokers", did you mean "workers"?'),
        (["--set", "backend=sqlit"], 'did you mean "sqlite"?'),
    ],
)
def test_what_is_wrong_with_the_command_line_is_said_before_anything_is_written(
    tmp_path: Path, args: list[str], said: str
) -> None:
    result = invoke("run", write(tmp_path), *args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "results").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path)
    result = invoke("run", "epx.yml")
    assert result.exit_code == 2
    assert 'did you mean "exp.yml"?' in result.stderr


def test_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for out in ("out", "out/below"):
        result = invoke("run", write(tmp_path), "--out", out)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "out").read_text() == "mine"


def test_out_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    result = invoke("run", write(tmp_path), "--out", "out")
    assert result.exit_code == 2
    assert '"thesis.tex", which is not a run of kon\'s' in result.stderr
    assert files_in(tmp_path / "out") == {tmp_path / "out" / "thesis.tex"}


def test_out_that_holds_what_a_killed_run_began_to_write_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "sleeps-lease-w1-r1"
    folder.mkdir(parents=True)
    assert invoke("run", write(tmp_path), "--out", "out", "--dry-run").exit_code == 0
    (folder / "run.new").write_text('{"sche')
    assert invoke("run", write(tmp_path), "--out", "out").exit_code == 0
    (tmp_path / "out" / "other").mkdir()
    (tmp_path / "out" / "other" / "run.new.txt").touch()
    assert invoke("run", write(tmp_path), "--out", "out").exit_code == 2


def test_out_that_holds_runs_of_another_description(tmp_path: Path) -> None:
    assert invoke("run", write(tmp_path), "--out", "out").exit_code == 0
    before = files_in(tmp_path / "out")
    result = invoke("run", write(tmp_path, SLEEPS + "bundle: 2\n"), "--out", "out")
    assert result.exit_code == 2
    assert "of another description" in result.stderr
    assert files_in(tmp_path / "out") == before


def test_another_backend_than_the_files_has_a_folder_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert invoke("run", file).exit_code == 0
    for text in ("backend=sqlite", "sleeps:backend.name=sqlite"):
        ended = invoke("run", file, "--set", text, "--set", "workers=2")
        assert ended.exit_code == 0, ended.stderr
    assert Path("results/sleeps-sqlite/sleeps-lease-w2-r1/run.json").exists()
    assert not Path("results/sleeps/sleeps-lease-w2-r1").exists()
    assert invoke("run", file, "--set", "backend=memory", "--set", "workers=2").exit_code == 0
    assert Path("results/sleeps/sleeps-lease-w2-r1/run.json").exists(), "the file's own backend"
    refused = invoke("status", "sleeps-lease-w2-r1")
    assert "name one by its folder" in refused.stderr


@pytest.mark.parametrize(("region", "said"), [("eu-central-1", "no AWS credentials"), ("", "no AWS ")])
@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_run_for_which_nobody_was_asked_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, region: str, said: str
) -> None:
    """One that was left would need credentials to be given up, and make its name stand for two runs."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if region:  # without one, clients of some services can't be made, and others miss credentials first
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    file = write(tmp_path)
    assert invoke("run", file, "-q").exit_code == 0
    refused = invoke(command, file, "--set", "backend=aws")
    assert refused.exit_code == 3
    assert said in refused.stderr
    assert not Path("results/sleeps-aws/sleeps-lease-w1-r1").exists()
    assert invoke("results", "sleeps-lease-w1-r1").exit_code == 0


def test_a_run_that_a_backend_was_asked_about_keeps_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something of it may be there, and `kon down` finds it by this."""

    async def create(self: AwsBackend, run: str, options: object) -> None:
        self._count.operations["sqs", "CreateQueue"] = 1
        raise BackendDenied("no more")

    monkeypatch.setattr(AwsBackend, "create", create)
    assert invoke("run", write(tmp_path), "--set", "backend=aws").exit_code == 3
    assert Path("results/sleeps-aws/sleeps-lease-w1-r1/run.json").exists()


def test_out_that_is_an_empty_folder_or_has_other_runs_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert invoke("run", write(tmp_path), "--out", "out").exit_code == 0
    other = write(tmp_path, SLEEPS.replace("sleeps", "others"))
    assert invoke("run", other, "--out", "out").exit_code == 0


def test_a_dry_run_lists_the_runs_and_writes_nothing(tmp_path: Path) -> None:
    file = write(tmp_path)
    before = files_in(tmp_path)
    result = invoke("run", file, "--dry-run", "--set", "workers=[1, 2]")
    assert result.exit_code == 0
    assert "2 of 2 runs would be made, 40 tasks, in results/sleeps/" in result.stdout
    assert files_in(tmp_path) == before
    assert invoke("run", file, "-q").exit_code == 0
    runs = rows(invoke("run", file, "--dry-run", "--json", "--set", "workers=[1, 2]"))
    assert [(run["run"], run["would"]) for run in runs] == [
        ("sleeps-lease-w1-r1", "left as recorded"),
        ("sleeps-lease-w2-r1", "made"),
    ]


def test_a_dry_run_checks_what_a_run_would(tmp_path: Path) -> None:
    assert invoke("run", write(tmp_path, "name: x\n"), "--dry-run").exit_code == 2
    (tmp_path / "out").write_text("mine")
    assert invoke("run", write(tmp_path), "--dry-run", "--out", "out").exit_code == 2


def test_a_dry_run_says_which_runs_would_be_run_again(tmp_path: Path) -> None:
    file = write(tmp_path, SHELL)
    invoke("run", file, "-q")
    assert rows(invoke("run", file, "--dry-run", "--json"))[0]["would"] == "left as recorded"
    again = rows(invoke("run", file, "--dry-run", "--rerun-failed", "--json"))
    assert again[0]["would"] == "run again in part"


def test_workers_in_this_process_are_not_charged_for_what_it_did_before(tmp_path: Path) -> None:
    before_s = time.process_time()
    [row] = rows(invoke("run", write(tmp_path), "--json"))
    used_s = time.process_time() - before_s
    assert 0 < row["worker_cpu_us_per_task"] * row["tasks"] / 1e6 <= used_s < before_s


def test_many_runs_leave_no_file_open(tmp_path: Path) -> None:
    invoke("run", write(tmp_path), "-q")  # what is opened once and for all
    before = len(list(Path("/dev/fd").iterdir()))
    assert len(rows(invoke("run", write(tmp_path), "--set", "repeats=6", "--json", "-q"))) == 6
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_worker_processes_do_the_same(tmp_path: Path) -> None:
    """Duplicates and a killed worker on sqlite: counted from the events of processes."""
    text = """\
name: killed
workload: {kind: sleep, count: 60, seconds: 0.02}
strategies: [{name: lease, lease_s: 1, skew_s: 0.1}]
workers: [2]
visibility_s: 1
bundle: 1  # in a few messages of many tasks none may come twice
faults: {duplicate_rate: 0.2, kill_workers: 1}
"""
    done = process("run", write(tmp_path, text), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [run] = json.loads(done.stdout)["runs"]
    assert (run["done"], run["lost"], run["duplicate_results"]) == (60, 0, 0)
    assert run["worker_lives"] == 3
    assert run["duplicate_deliveries"] >= run["duplicates_avoided"] > 0
    assert 0 < run["efficiency"] < 1
    assert run["worker_cpu_us_per_task"] > 0
    assert not list((tmp_path / "results").rglob("*.db"))
