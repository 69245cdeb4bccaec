"""table, validate, generate, schema and doctor."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from kon.backends.sqlite import schema as sqlite_schema
from kon.cli import checkup
from kon.cli.checkup import Level, examine
from kon.report.summary import CONTRACT
from tests.cli.given import SLEEPS, files_in, invoke, rows, write


def test_tables_are_drawn_again_from_the_records_alone(tmp_path: Path) -> None:
    drawn = invoke("run", write(tmp_path), "--set", "strategies=[none, lease]", "--set", "workers=[1, 2]")
    for path in files_in(tmp_path / "results"):
        if path.name != "summary.json" and path.name != "run.json":
            path.unlink()
    for args in (["table"], ["table", "results/sleeps"], ["table", "results"]):
        assert invoke(*args).stdout == drawn.stdout
    one = invoke("table", "sleeps-none-w2-r1", "--json")
    assert [row["run"] for row in rows(one)] == ["sleeps-none-w2-r1"]
    assert list(rows(one)[0])[: len(CONTRACT)] == list(CONTRACT)


def test_each_folder_has_tables_of_its_own(tmp_path: Path) -> None:
    for out in ("results/a", "results/b"):
        invoke("run", write(tmp_path), "--out", out)
    assert invoke("table").stdout.count("20 x sleep on memory") == 2
    assert "median" not in invoke("table").stdout


def test_runs_that_are_not_finished_are_left_out_by_name(tmp_path: Path) -> None:
    invoke("run", write(tmp_path), "--set", "workers=[1, 2]")
    (tmp_path / "results/sleeps/sleeps-lease-w2-r1/summary.json").unlink()
    result = invoke("table")
    assert result.exit_code == 0
    assert result.stderr == "left out, as not finished: sleeps-lease-w2-r1\n"


def test_a_table_of_nothing(tmp_path: Path) -> None:
    refused = invoke("table")
    assert (refused.exit_code, refused.stderr) == (2, "kon: no finished run below results\n")


def test_validate_checks_every_file_and_says_all_that_is_wrong(tmp_path: Path) -> None:
    good = write(tmp_path, SLEEPS, "good.yml")
    bad = write(tmp_path, SLEEPS + "wrokers: 1\nslots: 0\n", "bad.yml")
    result = invoke("validate", good, bad, "missing.yml")
    assert result.exit_code == 2
    assert result.stdout == f"{good}: 1 run, 20 tasks\n"
    assert len(result.stderr.splitlines()) == 3
    assert f"{bad}:4:1: unknown key" in result.stderr
    checked = json.loads(invoke("validate", good, bad, "--json").stdout)["files"]
    assert [(each["ok"], len(each["problems"])) for each in checked] == [(True, 0), (False, 2)]
    assert invoke("validate", good).exit_code == 0
    assert not (tmp_path / "results").exists()


def test_generated_files_are_workloads(tmp_path: Path) -> None:
    made = invoke("generate", "sleep", "7", "--ms", "0.5", "--out", "sleep.txt")
    assert (made.exit_code, made.stdout, made.stderr) == (0, "", "sleep.txt: 7 lines\n")
    invoke("generate", "stats", "3", "--length", "4", "--between", "-5", "5", "--out", "stats.txt")
    for text, tasks in (("{file: sleep.txt}", 7), ("{kind: stats, file: stats.txt}", 3)):
        file = write(tmp_path, f"name: from-file\nbackend: memory\nworkload: {text}\n")
        [row] = rows(invoke("run", file, "--json", "--out", f"out{tasks}"))
        assert row["done"] == tasks


def test_generated_lines_go_to_stdout_and_are_the_same_for_the_same_seed() -> None:
    args = ["generate", "sleep", "3", "--ms", "{uniform: [1, 100]}"]
    first = invoke(*args, "--seed", "5").stdout
    assert len(first.splitlines()) == 3
    assert all(line.startswith("sleep ") for line in first.splitlines())
    assert invoke(*args, "--seed", "5").stdout == first
    assert invoke(*args, "--seed", "6").stdout != first


@pytest.mark.parametrize("ms", ["x", "-1", "{uniform: [2, 1]}", "[", "nan"])
def test_what_is_no_duration_is_refused(ms: str) -> None:
    refused = invoke("generate", "sleep", "3", "--ms", ms)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"kon: --ms {ms}: ")


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path, "mine", "sleep.txt")
    assert invoke("generate", "sleep", "3", "--out", "sleep.txt").exit_code == 2
    assert (tmp_path / "sleep.txt").read_text() == "mine"


def test_the_schema_is_json() -> None:
    assert json.loads(invoke("schema").stdout)["title"]


def test_doctor_says_what_it_found_a_line_each() -> None:
    result = invoke("doctor")
    assert result.exit_code == 0
    for check in (
        "python",
        "sqlite",
        "results",
        "clock",
        "open files",
        "ansible-playbook",
        "ffmpeg",
        "strategies",
    ):
        assert f" {check} " in result.stdout
    assert "lease" in result.stdout
    found = json.loads(invoke("doctor", "--json").stdout)
    assert found["ok"] is True
    assert {each["level"] for each in found["checks"]} <= {"ok", "warn"}


def test_doctor_fails_where_nothing_can_be_recorded(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    result = invoke("doctor")
    assert result.exit_code == 2
    assert "fail  results" in result.stdout
    assert "name another folder with --out" in result.stdout
    assert json.loads(invoke("doctor", "--json").stdout)["ok"] is False


def test_what_the_doctor_finds_wanting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "SQLITE", (99,))
    monkeypatch.setattr(checkup, "LITTLE_BYTES", 1 << 62)
    monkeypatch.setattr(checkup, "FEW_FILES", 1 << 62)
    monkeypatch.setattr(checkup, "_file_system", lambda place: "nfs4")
    monkeypatch.setattr(shutil, "which", lambda program, path: None)
    monkeypatch.setattr(checkup, "names", lambda group: [])
    levels = {finding.check: finding.level for finding in examine(tmp_path)}
    assert levels["sqlite"] is Level.FAIL
    assert levels["results"] is Level.WARN
    assert levels["disk"] is Level.FAIL
    assert levels["ffmpeg"] is Level.WARN
    assert levels["strategies"] is Level.FAIL
    assert all(finding.mend for finding in examine(tmp_path) if finding.level is not Level.OK)


def scratch(monkeypatch: pytest.MonkeyPatch, folder: Path | str) -> tuple[Level, str]:
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    [found] = [each for each in examine(Path.cwd()) if each.check == "scratch"]
    return found.level, found.found


def test_the_doctor_tells_where_temporary_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python falls back to another folder, which may be small, without a word."""
    level, found = scratch(monkeypatch, tmp_path)
    assert (level, found.partition(":")[0]) == (Level.OK, str(tmp_path))
    level, found = scratch(monkeypatch, tmp_path / "gone")
    assert (level, "gone can't be written" in found) == (Level.WARN, True)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    level, found = scratch(monkeypatch, tmp_path)
    assert (level, found.startswith("No usable temporary directory")) == (Level.FAIL, True)


def test_the_doctor_knows_what_the_backend_needs() -> None:
    assert checkup.SQLITE == sqlite_schema._OLDEST_SQLITE


def test_doctor_tells_of_missing_collections_and_of_old_prices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkup, "OLD_PRICES_DAYS", 1_000_000)
    found = {each.check: each for each in examine(tmp_path)}
    assert found["prices"].level is Level.OK
    monkeypatch.setattr(checkup, "OLD_PRICES_DAYS", 1)
    (tmp_path / "playbooks").mkdir()
    monkeypatch.setattr(checkup, "__file__", str(tmp_path / "kon/cli/checkup.py"))
    (tmp_path / "kon/cli").mkdir(parents=True)
    (tmp_path / "kon/cli/checkup.py").touch()
    found = {each.check: each for each in examine(tmp_path)}
    assert (found["prices"].level, found["collections"].level) == (Level.WARN, Level.WARN)
    assert "us-east-1-2026.yml" in found["prices"].mend
    assert "make collections" in found["collections"].mend
