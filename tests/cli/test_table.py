"""`kon table`: formats, views, and records of other versions."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.given import invoke, rows, write

TWO = """\
name: short
backend: memory
workload: {kind: sleep, count: 20, seconds: 0}
---
name: long
backend: memory
workload: {kind: sleep, count: 4, seconds: 0.01}
"""


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("style", ["plain", "github", "latex", "csv", "json"])
def test_a_run_prints_what_the_table_prints_later(tmp_path: Path, style: str) -> None:
    drawn = invoke("run", write(tmp_path), "--format", style)
    assert invoke("table", "--format", style).stdout == drawn.stdout


def test_a_width_is_kept_off_a_terminal_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = invoke("run", write(tmp_path)).stdout
    assert max(map(len, whole.splitlines())) > 60
    narrow = invoke("table", "--width", "60").stdout
    assert max(map(len, narrow.splitlines())) <= 60
    assert "Not shown" in narrow
    monkeypatch.setenv("KON_TABLE_WIDTH", "60")
    assert invoke("table").stdout == narrow, "so that a playbook's table fits its terminal"
    assert invoke("table", "--wide").stdout == whole


def test_csv_has_a_line_for_each_run(tmp_path: Path) -> None:
    invoke("run", write(tmp_path), "--set", "workers=[1, 2]")
    lines = list(csv.DictReader(io.StringIO(invoke("table", "--format", "csv").stdout)))
    assert [(line["run"], line["done"]) for line in lines] == [
        ("sleeps-lease-w1-r1", "20"),
        ("sleeps-lease-w2-r1", "20"),
    ]
    assert all(float(line["latency_p99_s"]) >= float(line["latency_p50_s"]) > 0 for line in lines)


def test_lengths_of_tasks_stand_below_the_strategies(tmp_path: Path) -> None:
    invoke("run", write(tmp_path, TWO))
    assert "lease on memory, by length of task" in invoke("table").stdout
    assert "by length of task" not in invoke("table", "--view", "strategies").stdout
    alone = invoke("table", "--view", "lengths").stdout
    assert alone.startswith("lease on memory, by length of task")
    assert invoke("table", "--view", "minutes").stdout.startswith("sleep: minutes by workers")


def test_a_row_that_an_older_kon_wrote_gets_what_rows_have_by_now(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    file = tmp_path / "results/sleeps/sleeps-lease-w1-r1/summary.json"
    fresh = json.loads(file.read_text())
    older = {key: value for key, value in fresh.items() if not key.startswith("latency")}
    file.write_text(json.dumps(older))
    [row] = rows(invoke("table", "--json"))
    assert row["latency_p99_s"] == fresh["latency_p99_s"]


@pytest.mark.parametrize("name", ["summary.json", "run.json"])
def test_records_of_a_newer_kon_are_refused(tmp_path: Path, name: str) -> None:
    invoke("run", write(tmp_path))
    file = tmp_path / "results/sleeps/sleeps-lease-w1-r1" / name
    change(file, schema=2)
    refused = invoke(*(["table"] if name == "summary.json" else ["status"]))
    assert refused.exit_code == 2
    assert "written by a newer kon (records of version 2, this one reads up to 1)" in refused.stderr


def test_a_summary_that_is_none_is_named(tmp_path: Path) -> None:
    invoke("run", write(tmp_path))
    file = tmp_path / "results/sleeps/sleeps-lease-w1-r1/summary.json"
    file.write_text("{")
    refused = invoke("table")
    assert refused.exit_code == 2
    assert "summary.json: is not a row of kon's" in refused.stderr
