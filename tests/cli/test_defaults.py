"""Defaults of a person and of a project: where they are from, which one holds, and what takes none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from kon.cli.commands import COMMANDS
from kon.cli.defaults import NEVER, NEVER_OPTIONS
from kon.cli.group import kon

EXPERIMENT = "name: x\nbackend: memory\nworkload: {kind: sleep, count: 2, seconds: 0}\n"


_TELLING = ("yes", "force", "delete", "remove", "with_objects")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(kon, arguments, prog_name="kon")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "config" / "kon").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path / "here")
    Path("x.yml").write_text(EXPERIMENT)
    return tmp_path


def in_force() -> dict[tuple[str, str], Any]:
    shown = json.loads(invoke("config", "--json").stdout)["defaults"]
    return {(each["command"], each["option"]): (each["value"], each["source"]) for each in shown}


def test_the_nearest_holds(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke("config").stderr.startswith("no defaults are set")
    person = place / "config" / "kon" / "kon.toml"
    person.write_text('[run]\nout = "of-the-person"\nlimit = 1\n')
    assert in_force()["run", "out"] == ("of-the-person", str(person))
    Path("pyproject.toml").write_text('[tool.kon.run]\nout = "of-the-project"\n')
    assert in_force()["run", "out"] == ("of-the-project", "pyproject.toml")
    assert in_force()["run", "limit"] == (1, str(person))
    monkeypatch.setenv("KON_RUN_OUT", "of-the-environment")
    assert in_force()["run", "out"] == ("of-the-environment", "KON_RUN_OUT")
    assert invoke("run", "x.yml", "--quiet").exit_code == 0
    assert (Path("of-the-environment") / "x-lease-w1-r1" / "summary.json").exists()
    assert invoke("run", "x.yml", "--quiet", "--out", "said").exit_code == 0
    summary = json.loads((Path("said") / "x-lease-w1-r1" / "summary.json").read_text())
    assert summary["tasks"] == 1  # --limit is still the person's


def test_lists_and_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("kon.toml").write_text('[run]\nset = ["workload.count=3", "seed=5"]\nquiet = true\n')
    monkeypatch.setenv("KON_RUN_DRY_RUN", "yes")
    result = invoke("run", "x.yml", "--json")
    assert result.exit_code == 0, result.output
    [run] = json.loads(result.stdout)["runs"]
    assert run["tasks"] == 3
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[run]\nouut = 1\n", 'kon.toml: `kon run` has no option "ouut", did you mean "out"?'),
        ("[plann]\nout = 1\n", 'kon.toml: there is no command "plann", did you mean "plan"?'),
        ("run = 1\n", "kon.toml: expected a table [run], found 1"),
        ("[run\n", "kon.toml: can't be read as TOML"),
        ('[run]\nlimit = "many"\n', "kon.toml: run.limit: Invalid value"),
        ("[run]\nrerun-failed = true\n", "takes no default; it stands on the command line each time"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(text: str, words: str) -> None:
    Path("kon.toml").write_text(text)
    result = invoke("run", "x.yml")
    assert result.exit_code == 2
    assert words in result.stderr
    assert not Path("results").exists()
    assert words in invoke("config").stderr


def test_a_variable_that_names_no_option_is_refused_and_others_are_let_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KON_RUN", "r1")
    monkeypatch.setenv("KON_TASK", "0")
    monkeypatch.setenv("KON_LOG_FORMAT", "text")
    assert in_force() == {}
    monkeypatch.setenv("KON_RUN_OUUT", "x")
    assert (
        'KON_RUN_OUUT: `kon run` has no option "ouut", did you mean "out"?' in invoke("run", "x.yml").stderr
    )


def test_two_files_of_one_project_are_refused() -> None:
    Path("kon.toml").write_text("[run]\nquiet = true\n")
    Path("pyproject.toml").write_text("[tool.kon.run]\nquiet = true\n")
    assert "keep one of them" in invoke("config").stderr
    Path("pyproject.toml").write_text("[tool.other]\nquiet = true\n")
    assert in_force() == {("run", "quiet"): (True, "kon.toml")}


@pytest.mark.parametrize("command", sorted(NEVER))
def test_what_removes_takes_no_defaults(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = kon.get_command(click.Context(kon), command)
    assert loaded is not None
    options = [param for param in loaded.params if isinstance(param, click.Option)]
    option = options[0].opts[-1].lstrip("-")
    Path("kon.toml").write_text(f"[{command}]\n{option} = true\n")
    assert "takes no default" in invoke("config").stderr


def test_every_option_that_saves_a_question_or_removes_more_is_excluded() -> None:
    for name in COMMANDS.keys() - NEVER:
        command = kon.get_command(click.Context(kon), name)
        assert command is not None
        for param in command.params:
            if any(word in (param.name or "") for word in _TELLING):
                assert param.name in NEVER_OPTIONS, f"kon {name} --{param.name}"


def test_a_file_that_is_wrong_does_not_disturb_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("kon.toml").write_text("[run\n")
    monkeypatch.setenv("_KON_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "kon run --lim")
    monkeypatch.setenv("COMP_CWORD", "2")
    ended = subprocess.run(["kon"], capture_output=True, text=True, check=False)
    assert (ended.stdout.split(), ended.stderr) == (["plain,--limit"], "")
