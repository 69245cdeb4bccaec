"""`kon explain`, on runs of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.given import SHELL, invoke, write

TWICE = """\
name: twice
backend: memory
bundle: 1
workload: {kind: sleep, count: 20, seconds: 0}
strategies: [conditional_put]
faults: {duplicate_rate: 0.5}
"""


def test_a_task_is_named_by_its_id_or_by_run_and_index(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    by_id = invoke("explain", "sleeps-lease-w1-r1/7")
    assert by_id.exit_code == 0
    assert by_id.stdout.startswith("sleeps-lease-w1-r1/7: done, attempt 1, by w1 (lease on memory)\n")
    assert invoke("explain", "sleeps-lease-w1-r1", "7").stdout == by_id.stdout
    assert invoke("explain", "results/sleeps/sleeps-lease-w1-r1/7").stdout == by_id.stdout
    assert "delivered once, started once, a result kept once, answered once" in by_id.stdout


def test_json(tmp_path: Path) -> None:
    invoke("run", write(tmp_path, SHELL))
    story = json.loads(invoke("explain", "shells-lease-w1-r1/1", "--json").stdout)
    assert (story["schema"], story["id"], story["index"]) == (1, "shells-lease-w1-r1/1", 1)
    assert [each["event"] for each in story["moments"]][:4] == ["submit", "deliver", "claim", "start"]
    [outcome] = story["outcomes"]
    assert (outcome["state"], outcome["worker"]) == ("failed", "w1")


def test_what_came_twice_is_listed(tmp_path: Path) -> None:
    invoke("run", write(tmp_path, TWICE))
    [row] = json.loads(invoke("table", "--json").stdout)["runs"]
    assert row["duplicate_deliveries"] > 0
    listed = invoke("explain", "--duplicates", "twice-conditional_put-w1-r1")
    lines = listed.stdout.splitlines()
    assert len(lines) == row["duplicate_deliveries"], "each twice at most, so that each has a line"
    assert listed.stderr == f"{len(lines)} of 20 tasks were met more than once\n"
    first = lines[0].split("\t")
    assert first[1:] == ["delivered 2", "started 1", "kept 1", "answered 1"]
    assert "turned away: a repeat avoided" in invoke("explain", first[0]).stdout
    found = json.loads(invoke("explain", "--duplicates", "twice-conditional_put-w1-r1", "--json").stdout)
    assert [each["id"] for each in found["duplicates"]] == [line.split("\t")[0] for line in lines]


def test_a_run_without_repeats(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    listed = invoke("explain", "--duplicates", "sleeps-lease-w1-r1")
    assert (listed.stdout, listed.stderr) == ("", "no task of sleeps-lease-w1-r1 was met twice\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sleeps-lease-w1-r1"], 'expected a task\'s id, RUN/INDEX, found "sleeps-lease-w1-r1"'),
        (["sleeps-lease-w1-r1/20"], "has no task 20; it has 20, numbered from 0 to 19"),
        (["sleeps-lease-w1-r2/1"], 'no run "sleeps-lease-w1-r2" below results, did you mean'),
        (["--duplicates", "sleeps-lease-w1-r1", "3"], "leave out the task's index"),
    ],
)
def test_what_can_not_be_explained(tmp_path: Path, args: list[str], says: str) -> None:
    invoke("run", write(tmp_path))
    refused = invoke("explain", *args)
    assert refused.exit_code == 2
    assert says in refused.stderr


def test_what_a_command_has_used_is_in_its_story_and_in_the_table(tmp_path: Path) -> None:
    file = write(tmp_path, SHELL)
    [row] = json.loads(invoke("run", file, "--json").stdout)["runs"]
    story = json.loads(invoke("explain", "shells-lease-w1-r1/1", "--json").stdout)
    [spent] = [each for each in story["moments"] if each["event"] == "spent"]
    assert re.fullmatch(
        r"its processes used [\d.e-]+ s of CPU time(, [\d.]+ MB of memory at most)?", spent["words"]
    )
    assert row["task_cpu_s"] > 0
    assert "task_peak_bytes" in row
    assert "CPU s" in invoke("table", "results/shells").stdout
