"""`kon plan` and `kon calibrate`, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from kon.experiment.models import read_model
from tests.cli.given import invoke, write

TASKS = """\
name: planned
backend: sqlite
workload: {kind: sleep, count: 400, seconds: 0.1}
strategies: [lease]
workers: [1, 8]
"""


def test_a_plan_of_an_experiment_for_one_machine(tmp_path: Path) -> None:
    result = invoke("plan", write(tmp_path, TASKS), "--instance", "t3.micro,t4g.micro", "-q")
    assert result.exit_code == 0
    assert "planned: 400 x sleep, planned with the model aws-us-east-1" in result.stdout
    assert "the tasks themselves" in result.stdout
    assert "Recommended: " in result.stdout
    assert result.stdout.count("t3.micro") >= 2
    assert list(tmp_path.iterdir()) == [tmp_path / "exp.yml"]  # nothing is recorded


def test_a_plan_as_json(tmp_path: Path) -> None:
    result = invoke("plan", write(tmp_path, TASKS), "--workers", "1,2,4,...,16", "--json", "-q")
    [plan] = json.loads(result.stdout)["plans"]
    assert [each["setting"]["workers"] for each in plan["forecasts"]] == [1, 2, 4, 8, 16]
    times = [each["work_s"] for each in plan["forecasts"]]
    assert times == sorted(times, reverse=True)
    for each in plan["forecasts"]:
        assert each["usd"] == pytest.approx(sum(each["usd_by_service"].values()))
        assert each["efficiency"] == pytest.approx(40.0 / (each["work_s"] * each["setting"]["workers"]))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--deadline", "10m"], 0, "the cheapest that meets the deadline"),
        (["--deadline", "1s"], 4, "none meets the deadline; this is the fastest"),
        (["--budget", "5usd"], 0, "the fastest within the budget"),
        (["--budget", "0.0001usd"], 4, "none is within the budget; this is the cheapest"),
    ],
)
def test_deadlines_and_budgets(tmp_path: Path, options: list[str], code: int, words: str) -> None:
    result = invoke("plan", write(tmp_path, TASKS), "-q", *options)
    assert result.exit_code == code
    assert words in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "0"], "--workers: expected numbers"),
        (["--deadline", "soon"], "--deadline: expected a time"),
        (["--model", "aws-us-east-2"], 'did you mean "aws-us-east-1"?'),
        (["--instance", "t3.mikro"], 'did you mean "t3.micro"?'),
        (["--prices", "none.yml"], "none.yml: can't be read"),
    ],
)
def test_wrong_words(tmp_path: Path, options: list[str], words: str) -> None:
    result = invoke("plan", write(tmp_path, TASKS), "-q", *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_plan_of_real_work_asks_for_its_duration(tmp_path: Path) -> None:
    text = "name: real\nworkload: {kind: shell, command: 'true', items: [1, 2, 3]}\n"
    result = invoke("plan", write(tmp_path, text))
    assert result.exit_code == 2
    assert "kon calibrate" in result.stderr


@pytest.mark.long
def test_the_model_of_a_simulated_run_is_the_one_that_it_was_simulated_by(tmp_path: Path) -> None:
    text = TASKS.replace("sqlite", "{name: sim, table: warm}").replace("400", "4000").replace("[1, 8]", "[4]")
    text += "bundle: 1\n"
    assert invoke("run", write(tmp_path, text), "--out", tmp_path / "out", "-q").exit_code == 0
    made = tmp_path / "made.yml"
    assert invoke("calibrate", tmp_path / "out", "--out", made).exit_code == 0
    found, truth = read_model(made), read_model(Path("kon/backends/sim/models/aws-us-east-1.yml"))
    for call in ("queue.send", "ledger.insert_new", "ledger.replace"):
        measured, given = found.calls.by_name()[call], truth.calls.by_name()[call]
        items = 5.0 if call == "queue.send" else 1.0  # as most have here; of more nothing was learned
        # what was measured has the SDK's CPU time in it
        cpu_s = truth.hosts.cpu.call_us / 1e6
        assert measured.median_s + items * measured.per_item_s == pytest.approx(
            given.median_s + items * given.per_item_s + cpu_s, rel=0.25
        )
    assert "measured from planned" in made.read_text()
    # what the run did not show is as it was, with its source
    assert found.calls.by_name()["objects.get"] == truth.calls.by_name()["objects.get"]
    assert found.tables == truth.tables


@pytest.mark.long
def test_a_run_on_sqlite_is_predicted_within_a_fifth(tmp_path: Path) -> None:
    """The stated error: 20% of the makespan, on a machine that does other things beside."""
    text = TASKS.replace("400", "300").replace("0.1", "0.02").replace("[1, 8]", "[2]")
    file, made = write(tmp_path, text), tmp_path / "here.yml"
    assert invoke("run", file, "--out", tmp_path / "real", "-q").exit_code == 0
    assert invoke("calibrate", tmp_path / "real", "--out", made, "--root", tmp_path).exit_code == 0
    model = yaml.safe_load(made.read_text())
    assert list(model["tables"]) == ["measured"]  # Amazon's limits do not hold here
    simulated = invoke(
        *("run", file, "--out", tmp_path / "sim", "-q", "--json"),
        *("--set", "backend=sim", "--set", f"backend.latency={made}"),
    )
    [row] = json.loads(simulated.stdout)["runs"]
    [real] = [json.loads(path.read_text()) for path in (tmp_path / "real").glob("*/summary.json")]
    assert row["done"] == real["done"] == 300
    assert row["wall_s"] == pytest.approx(real["wall_s"], rel=0.2)


def test_real_work_can_be_simulated_once_it_was_measured(tmp_path: Path) -> None:
    workload = "{kind: python, function: 'math:sqrt', range: [0, 300]}"
    text = f"name: real\nbackend: memory\nprefetch: 0\nworkload: {workload}\n"
    file, made = write(tmp_path, text), tmp_path / "here.yml"
    assert invoke("run", file, "--out", tmp_path / "real", "-q").exit_code == 0
    assert invoke("calibrate", tmp_path / "real", "--out", made).exit_code == 0
    tasks = read_model(made).tasks
    assert tasks is not None
    assert 0.0 < tasks.median_s < 1.0
    result = invoke(
        "run", file, "--out", tmp_path / "sim", "-q", "--set", f"backend={{name: sim, latency: {made}}}"
    )
    assert result.exit_code == 0


def test_what_can_not_be_calibrated_by(tmp_path: Path) -> None:
    text = TASKS.replace("sqlite", "sim").replace("[1, 8]", "[1]").replace("400", "3")
    assert invoke("run", write(tmp_path, text), "--out", tmp_path / "out", "-q").exit_code == 0
    few = invoke("calibrate", tmp_path / "out")
    assert (few.exit_code, "take a run with more tasks" in few.stderr) == (2, True)
    (tmp_path / "there.yml").touch()
    there = invoke("calibrate", tmp_path / "out", "--out", tmp_path / "there.yml")
    assert (there.exit_code, "exists; it is left as it is" in there.stderr) == (2, True)
    for summary in (tmp_path / "out").glob("*/summary.json"):
        summary.unlink()
    unfinished = invoke("calibrate", tmp_path / "out")
    assert (unfinished.exit_code, "is not finished" in unfinished.stderr) == (2, True)
