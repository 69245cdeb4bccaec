"""`kon prove`"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from kon.trials.prove.classes import fault_classes, registered_strategies
from tests.cli.given import invoke, process

MISTAKES = "tests.trials.prove.mistakes"


def prove(*args: str) -> Result:
    return invoke("prove", *args, *([] if "--seed" in args else ["--jobs", "1"]))


def breaks(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["breaks"]
    return found


# --- a search ----------------------------------------------------------------------------------------


def test_a_promise_that_holds_is_held_and_a_non_promise_breaks_without_harm() -> None:
    result = prove("lease", "--fault", "crash", "--seeds", "10")
    assert result.exit_code == 0
    line = next(line for line in result.stdout.splitlines() if line.startswith("crash"))
    assert "held" in line
    assert "broke " in line
    assert "BROKE" not in line
    assert re.fullmatch(r"lease: 10 schedules\n10 schedules in \d+\.\d s, [\d,]+ a second\n", result.stderr)
    assert "by seed" not in result.stdout


@pytest.mark.long
def test_every_strategy_is_tried_under_every_fault() -> None:
    result = prove("--seeds", "1", "--quiet")
    assert result.exit_code == 0
    assert result.stderr == ""
    labels = [each.label for each in registered_strategies()]
    assert {"none", "read_then_write(record=before)", "conditional_put", "fifo", "lease"} <= set(labels)
    for label in labels:
        assert f"\n{label}\n\n" in f"\n{result.stdout}"
    assert result.stdout.count("\nstale_ack_agrees ") == len(labels)
    assert f"is not promised, and was not broken in {len(fault_classes())} schedules" in result.stdout


@pytest.mark.long
def test_alone_a_fault_gets_a_share_of_the_schedules() -> None:
    result = prove("none", "--seeds", "40", "--json")
    found = {each["fault"]: each["schedules"] for each in json.loads(result.stdout)["searched"]}
    assert (found["all"], found["none"], found["crash"]) == (40, 2, 2)


def test_a_broken_promise_is_an_error_with_a_seed_and_a_story() -> None:
    result = prove(f"{MISTAKES}:NoTokenCompare", "--fault", "write_reply_lost", "--seeds", "20")
    assert result.exit_code == 1
    assert '"lost by outage only" is PROMISED, and broken under write_reply_lost by seed' in result.stdout
    assert f"kon prove {MISTAKES}:NoTokenCompare --fault write_reply_lost --seed" in result.stdout
    assert "!! the reply is lost (w1 inserts task 0)" in result.stdout
    assert re.search(r"BROKE [1-9]", result.stdout)


@pytest.mark.long
def test_stories_can_be_left_out_and_asked_for() -> None:
    asked = ("conditional_put", "--fault", "crash", "--seeds", "5")
    assert "starts task 0" not in prove(*asked).stdout
    result = prove(*asked, "--story")
    assert result.exit_code == 0
    assert '"nothing lost" is not promised, and broken under crash' in result.stdout
    assert "starts task 0" in result.stdout
    wrong = (f"{MISTAKES}:NoTokenCompare", "--fault", "write_reply_lost", "--seeds", "5", "--no-story")
    assert "time s" not in prove(*wrong).stdout


def test_a_strategy_that_raises_is_an_error_with_the_seed() -> None:
    result = prove(f"{MISTAKES}:Faulty", "--fault", "none", "--fault", "crash", "--seeds", "2")
    assert result.exit_code == 1
    assert "seed 0 raises ZeroDivisionError: a fault of the strategy's own" in result.stderr
    assert f"kon prove {MISTAKES}:Faulty --fault none --seed 0" in result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith(("none ", "crash "))]
    assert len(lines) == 2
    for line in lines:
        assert "raises" in line
        assert "held" not in line


def test_json_has_the_findings_and_the_breaks() -> None:
    result = prove("lease", "lease_s=10", "--fault", "crash", "--seeds", "10", "--json", "--story")
    shown = json.loads(result.stdout)
    (searched,) = shown["searched"]
    assert searched["strategy"] == {"name": "lease", "options": {"lease_s": 10}}
    assert {each["invariant"] for each in searched["findings"] if not each["promised"]} == {"one start"}
    (found,) = shown["breaks"]
    assert found["replay"].startswith("kon prove lease lease_s=10 --fault crash --seed ")
    assert "starts task 0" in found["story"]


# --- one seed ----------------------------------------------------------------------------------------


def test_the_seed_that_a_search_names_breaks_it_again() -> None:
    searched = prove("lease", "--fault", "crash", "--seeds", "10", "--json", "--story", "--tasks", "4")
    (found,) = breaks(searched)
    args = found["replay"].split()[2:]
    assert args[-2:] == ["--tasks", "4"]
    again = prove(*args)
    assert again.exit_code == 0
    assert f'"one start" is not promised, and broken under crash by seed {found["seed"]}' in again.stdout
    assert "BROKEN: one start" in again.stdout


def test_a_seed_that_breaks_nothing_says_so() -> None:
    result = prove("lease", "--seed", "17", "--fault", "none")
    assert result.exit_code == 0
    assert result.stdout == "lease, none: seed 17 does not break it (any more)\n"
    assert breaks(prove("lease", "--seed", "17", "--fault", "none", "--json")) == []


def test_a_seed_that_breaks_a_promise_is_an_error() -> None:
    args = (f"{MISTAKES}:NoTokenCompare", "--fault", "write_reply_lost")
    (first,) = [each for each in breaks(prove(*args, "--seeds", "20", "--json")) if each["promised"]]
    result = prove(*args, "--seed", str(first["seed"]), "--json", "--no-story")
    assert result.exit_code == 1
    found = breaks(result)
    assert found[0]["promised"]
    assert {each["story"] for each in found} == {None}


def test_a_seed_under_which_a_strategy_raises_shows_the_traceback() -> None:
    result = prove(f"{MISTAKES}:Faulty", "--fault", "none", "--seed", "3")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "none: seed 3 raises ZeroDivisionError" in result.stderr


# --- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["leas"], 'unknown strategy "leas", did you mean "lease"?'),
        (["lease", "--fault", "crsh"], 'no fault "crsh", did you mean "crash"?'),
        (["lease", "lease_s"], 'expected OPTION=VALUE, such as lease_s=60, found "lease_s"'),
        (["lease", "lease_s=[1"], 'expected OPTION=VALUE, such as lease_s=60, found "lease_s=[1"'),
        (["lease", "leases=1"], 'no option "leases", did you mean "lease_s"?'),
        (["--seeds", "0"], "0 is not in the range x>=1"),
        (["nowhere:Strategy"], 'there is no module "nowhere"'),
        (["--exhaustive", "--seeds", "9"], "--seeds has no meaning with --exhaustive; leave one of them out"),
        (["--exhaustive", "--workers", "3"], "--workers has no meaning with --exhaustive"),
        (["--exhaustive", "--tasks", "3"], "has 1 task, or 2 of one page"),
        (["--preemptions", "2"], "--preemptions is about --exhaustive"),
        (["--seed", "1", "--seeds", "9"], "--seeds has no meaning with --seed"),
        (["--seed", "1", "--jobs", "2"], "--jobs has no meaning with --seed"),
    ],
)
def test_bad_input_is_refused(args: list[str], said: str) -> None:
    result = prove(*args)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("tasks", "said"), [([], "2 workers, 1 task"), (["--tasks", "2"], "2 workers, 2 tasks")]
)
def test_the_small_model_has_one_task_or_two(tasks: list[str], said: str) -> None:
    result = prove("lease", "--exhaustive", "--preemptions", "0", "--fault", "ack_failed", *tasks)
    assert result.exit_code == 0, result.output
    assert f"lease, {said}" in result.stdout
    assert f"lease: {said}" in result.stderr


def test_processes_find_a_strategy_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from kon.strategies.none import NoDeduplication as Mine\n")
    done = process("prove", "mine:Mine", "--seeds", "25", "--fault", "crash", "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mine:Mine" in done.stdout
