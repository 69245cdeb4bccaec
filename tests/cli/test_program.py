"""What stands around a command: how errors and faults are told, and with which exit codes kon ends."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import click
import pytest

from kon.cli import fault, program
from kon.cli.group import EXIT_PIPE, LazyGroup
from kon.cli.program import EXIT_FAULT
from kon.core.distribution import reports, version
from kon.core.errors import BackendUnavailable, ConfigurationError, KonError
from tests.cli.given import KON, invoke, process, write

PROJECT = Path(__file__).parents[2]


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has `kon schema` raise it."""

    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setattr(LazyGroup, "get_command", lambda *args: fails)


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ConfigurationError("no such thing"), 2),
        (BackendUnavailable("no such thing"), 3),
        (KonError("no such thing"), 1),
        (BaseExceptionGroup("tasks", [ExceptionGroup("inner", [ConfigurationError("no such thing")])]), 2),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    error: BaseException, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(error, monkeypatch)
    result = invoke("schema")
    assert (result.exit_code, result.stdout, result.stderr) == (exit_code, "", "kon: no such thing\n")


def test_several_problems_stand_on_lines_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(ConfigurationError("x.yml:1:1: one\nx.yml:2:1: two"), monkeypatch)
    assert invoke("schema").stderr == "kon: 2 problems\nx.yml:1:1: one\nx.yml:2:1: two\n"


def test_ctrl_c_while_nothing_runs_yet_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(KeyboardInterrupt(), monkeypatch)
    result = invoke("schema")
    assert (result.exit_code, result.stderr) == (130, "kon: interrupted\n")


@pytest.mark.parametrize("error", [RuntimeError("oh"), ExceptionGroup("tasks", [RuntimeError("oh")])])
def test_a_fault_of_kons_own_keeps_its_traceback_and_says_where_to_report_it(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["kon", "schema"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == EXIT_FAULT
    stderr = capsys.readouterr().err
    assert "Traceback" in stderr
    [kept] = tmp_path.glob("kon-fault-*.txt")
    told = stderr.splitlines()[-1]
    assert f"{kept} has the traceback and the versions" in told
    for needed in (f"kon {version()}", "Traceback", "oh", "command: kon schema"):
        assert needed in kept.read_text()
    assert fault.PAGE in told
    assert "\n## A fault of kon's own\n" in (PROJECT / fault.PAGE).read_text()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")], ids=str)
def test_a_limit_of_this_place_is_no_fault_of_kons_own(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["kon", "schema"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("kon: kon ")
    assert "raise the limit (ulimit -" in line


def test_a_fault_on_a_full_disk_is_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(RuntimeError("oh"), monkeypatch)
    monkeypatch.setattr(sys, "argv", ["kon", "schema"])
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == EXIT_FAULT
    assert "Keep the lines above; no file could be written" in capsys.readouterr().err


def test_the_address_for_reports_is_that_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is made up: what is told is what pyproject.toml says."""
    about = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert reports() == about.get("urls", {}).get("Issues", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fault, "reports", lambda: "https://example.com/issues")
    assert "Report it at https://example.com/issues; docs/" in fault.told(RuntimeError())


def test_whoever_reads_stdout_may_go_away(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*KON, "generate", "sleep", "500000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == b"sleep 10\n"
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=20) == EXIT_PIPE


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["map", "--help"]])
def test_whoever_reads_a_help_may_go_away(words: list[str], tmp_path: Path) -> None:
    line = " ".join([*KON, *words, "| true; exit ${PIPESTATUS[0]}"])
    ended = subprocess.run(["bash", "-c", line], cwd=tmp_path, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (EXIT_PIPE, b"")


def test_a_warning_is_one_line(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert process("run", file, "-q", cwd=tmp_path).returncode == 0
    run = tmp_path / "results" / "sleeps" / "sleeps-lease-w1-r1"
    with (run / "results.jsonl").open("ab") as results:
        results.write(b'["w1",[[0,1,"do')
    done = process("results", run, cwd=tmp_path)
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert line.startswith("kon: ")
    assert "half a line" in line
