"""`kon gather`: what hosts have recorded is put with what the client has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kon.cli import gather
from kon.cli.group import kon
from kon.engine.records.records import CLIENT_BEGAN, RunFolder


def _run(out: Path, tmp_path: Path) -> RunFolder:
    """A run with duplicates, which are in the events of its workers alone."""
    file = tmp_path / "exp.yml"
    file.write_text(
        "name: g\nworkload: {kind: sleep, count: 60, seconds: 0.01}\n"
        "faults: {duplicate_rate: 0.5}\nworkers: 2\n"
    )
    ended = CliRunner().invoke(kon, ["run", str(file), "--out", str(out), "--quiet"])
    assert ended.exit_code == 0, ended.output
    return RunFolder(out / "g-lease-w2-r1")


def test_the_row_is_drawn_anew_with_what_hosts_know(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = _run(out, tmp_path)
    whole = folder.read_summary()
    parts = [tmp_path / "host1", tmp_path / "host2"]
    for number, part in enumerate(parts, start=1):  # as if each worker had been on a host of its own
        there = RunFolder(part / folder.path.name)
        there.events.mkdir(parents=True)
        there.run_file.write_bytes(folder.run_file.read_bytes())
        for file in sorted(folder.events.glob(f"w{number}.*")):
            file.rename(there.events / file.name)
    row = {**whole, "second_starts": 999}
    row.pop("schema")
    folder.write_summary(row)
    words = ["gather", str(out), *map(str, parts)]
    said = CliRunner().invoke(kon, words)
    assert (said.exit_code, "2 files of hosts came new" in said.stderr) == (0, True), said.output
    assert json.loads(folder.summary.read_text()) == whole
    again = CliRunner().invoke(kon, words)
    assert (again.exit_code, "has all of it already" in again.stderr) == (0, True)


def test_what_a_host_has_of_an_earlier_run_of_that_name_is_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = _run(out, tmp_path)
    whole = folder.read_summary()
    run = folder.read_run()
    there = RunFolder(tmp_path / "host" / folder.path.name)
    there.events.mkdir(parents=True)
    there.write_run(run.spec, {**run.context, CLIENT_BEGAN: 5.0})
    (there.events / "w1.000000.jsonl").write_text('{"t":6.0,"e":"start","i":[0]}\n')
    words = ["gather", str(out), str(tmp_path / "host")]
    said = CliRunner().invoke(kon, words)
    assert (said.exit_code, "has all of it already" in said.stderr) == (0, True), said.output
    assert not (folder.events / "w1.000000.jsonl").exists()
    assert folder.read_summary() == whole

    there.write_run(run.spec, {CLIENT_BEGAN: run.begun_s, "started_s": 5.0})
    said = CliRunner().invoke(kon, words)
    assert "1 file of hosts came new" in said.stderr, "the client's clock is what counts, not the host's own"


def test_a_run_that_is_opened_again_meanwhile_gets_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    folder = _run(out, tmp_path)
    there = RunFolder(tmp_path / "host" / folder.path.name)
    there.events.mkdir(parents=True)
    run = folder.read_run()
    there.write_run(run.spec, {CLIENT_BEGAN: run.begun_s})
    (there.events / "w9.000000.jsonl").write_text('{"t":6.0,"e":"start","i":[0]}\n')

    def summarise(_: RunFolder) -> dict[str, Any]:
        folder.reopen()
        return {}

    monkeypatch.setattr(gather, "summarise", summarise)
    said = CliRunner().invoke(kon, ["gather", str(out), str(tmp_path / "host")])
    assert (said.exit_code, folder.finished) == (0, False), said.output


def test_a_part_that_is_not_there_is_refused(tmp_path: Path) -> None:
    said = CliRunner().invoke(kon, ["gather", str(tmp_path), str(tmp_path / "nowhere")])
    assert (said.exit_code, "is not a folder" in said.stderr) == (2, True)
