"""`kon results`: a line a task."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.given import invoke, write

MIXED = """\
name: mixed
backend: memory
workload: {kind: shell, command: 'printf "%s\\n" {}; test {} != b', items: [a, b, "c,\\td"]}
attempts: 1
"""

RUN = "mixed-lease-w1-r1"


@pytest.fixture(autouse=True)
def _run(tmp_path: Path, _here: None) -> None:
    assert invoke("run", write(tmp_path, MIXED), "-q").exit_code == 1


def test_text_has_a_line_for_each_task_with_tabs_between_the_columns() -> None:
    lines = [line.split("\t") for line in invoke("results", RUN).stdout.splitlines()]
    assert [line[:3] for line in lines] == [
        [f"{RUN}/0", "done", "1"],
        [f"{RUN}/1", "failed", "1"],
        [f"{RUN}/2", "done", "1"],
    ]
    assert {len(line) for line in lines} == {6}
    assert json.loads(lines[0][4])["stdout"] == "a\n"
    assert lines[1][5]


def test_json_lines() -> None:
    for args in (["--json"], ["--format", "jsonl"]):
        lines = [json.loads(line) for line in invoke("results", RUN, *args).stdout.splitlines()]
        assert [line["index"] for line in lines] == [0, 1, 2]
        assert list(lines[2]) == [
            *("index", "id", "state", "attempt", "worker", "result", "error", "started_s", "ended_s"),
        ]
        assert lines[2]["result"]["stdout"] == "c,\td\n"
        assert lines[2]["ended_s"] >= lines[2]["started_s"] > 1e9


def test_csv() -> None:
    header, *lines = list(csv.reader(io.StringIO(invoke("results", RUN, "--format", "csv").stdout)))
    columns = ["id", "state", "attempt", "worker", "result", "error", "index", "started_s", "ended_s"]
    assert header == columns
    assert [line[1] for line in lines] == ["done", "failed", "done"]
    assert json.loads(lines[2][4])["exit"] == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--stdout", "--json"],
        ["--stdout", "--format", "csv"],
        ["--links", "--json"],
        ["--objects", "--stdout"],
        ["--objects", "--failed"],
        ["--json", "--format", "csv"],
    ],
)
def test_of_two_wishes_none_is_passed_over(words: list[str]) -> None:
    refused = invoke("results", RUN, *words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "ask for two things; give one of them" in refused.stderr
    assert invoke("results", RUN, "--json", "--format", "jsonl").exit_code == 0


def test_failed_leaves_out_what_is_done() -> None:
    [line] = invoke("results", RUN, "--failed").stdout.splitlines()
    assert line.startswith(f"{RUN}/1\tfailed")


def test_stdout_is_what_the_tasks_wrote_and_nothing_else() -> None:
    result = invoke("results", RUN, "--stdout")
    assert (result.stdout, result.stderr) == ("a\nb\nc,\td\n", "")


def test_tasks_without_output_are_counted_on_stderr(tmp_path: Path) -> None:
    invoke("run", write(tmp_path), "-q")
    result = invoke("results", "sleeps-lease-w1-r1", "--stdout")
    assert result.stdout == ""
    assert result.stderr.startswith("20 tasks without output")


def test_a_run_by_its_folder() -> None:
    assert invoke("results", Path("results") / "mixed" / RUN).exit_code == 0


@pytest.mark.parametrize("text", ["", '{"schema": 1'])
def test_a_run_whose_description_is_cut_off_is_left_and_says_what_helps(text: str) -> None:
    (path,) = Path.cwd().rglob("run.json")
    path.write_text(text)
    result = invoke("results", RUN)
    assert result.exit_code == 2
    assert f"or move {path.parent} away and run the same command again" in result.stderr
    assert path.read_text() == text


def test_a_folder_that_is_no_run() -> None:
    refused = invoke("results", "results")
    assert refused.exit_code == 2
    assert "is a folder, but not that of a run" in refused.stderr


def test_the_same_name_in_two_folders_has_to_be_told_apart(tmp_path: Path) -> None:
    invoke("run", write(tmp_path, MIXED), "-q", "--out", "results/again")
    refused = invoke("results", RUN)
    assert refused.exit_code == 2
    assert f"results/again/{RUN}" in refused.stderr


def test_stdout_is_whole_where_it_was_kept(tmp_path: Path) -> None:
    command = "seq 100000; printf %s {}"
    assert invoke("map", "--out", str(tmp_path / "kept"), command, ":::", "\udcff").exit_code == 0
    [run] = (tmp_path / "kept").glob("seq*")
    result = invoke("results", str(run), "--stdout")
    assert result.stderr == ""
    assert result.stdout_bytes == b"".join(b"%d\n" % number for number in range(1, 100_001)) + b"\xff"
