"""The group of all commands: its help, what it refuses, and what it loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kon.cli.commands import COMMANDS, SECTIONS
from kon.cli.group import LazyGroup, kon
from tests.cli.given import invoke, process, write


def test_help_lists_every_command_and_loads_none() -> None:
    code = (
        "import sys, kon.cli.group as g\n"
        "try: g.kon(['--help'], prog_name='kon')\n"
        "except SystemExit: pass\n"
        "heavy = {'asyncio', 'pydantic', 'rich', 'yaml', 'tabulate', 'msgspec.json', 'kon.launch.campaign'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for name, lazy in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert lazy.help in done.stdout
    for hint in (*SECTIONS, "kon completion bash", "Exit codes"):
        assert hint in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_an_example(name: str) -> None:
    result = invoke(name, "-h")
    assert result.exit_code == 0
    _, body = result.stdout.split("\n\n", 1)
    assert f"  kon {name}" in body


def _valued(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    """Every option and argument below a command that takes a value, and the names of its command."""
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            part = command.get_command(click.Context(command), name)
            assert part is not None
            yield from _valued(part, *names, name)
        return
    for param in command.params:
        is_flag = isinstance(param, click.Option) and param.is_flag
        if names and not is_flag and param.type is not click.UNPROCESSED and param.name != "help":
            yield names, param


@pytest.mark.parametrize(
    ("names", "param"), [pytest.param(*each, id=f"{each[0]}-{each[1].name}") for each in _valued(kon)]
)
def test_an_empty_value_is_refused(
    names: tuple[str, ...], param: click.Parameter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--root "$ROOT"` where ROOT is not set: an empty path would be the current folder."""
    monkeypatch.chdir(tmp_path)
    if isinstance(param, click.Option):
        result = invoke(*names, param.opts[-1], *[""] * param.nargs, "x", "x")
        assert f"'{param.opts[-1]}': the value is empty; nothing was done" in result.stderr
    else:
        result = invoke(*names, *[""] * 3)
        assert "the value is empty; nothing was done" in result.stderr
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "param"), [pytest.param(*each, id=f"{each[0]}-{each[1].name}") for each in _valued(kon)]
)
def test_a_default_is_not_refused(names: tuple[str, ...], param: click.Parameter) -> None:
    """What is left out must not be told that it is empty."""
    default = param.get_default(click.Context(kon))
    assert default != ""
    assert not isinstance(default, list | tuple) or "" not in default


def _has_two_formats(name: str) -> bool:
    command = kon.get_command(click.Context(kon), name)
    return command is not None and {"as_json", "style"} <= {param.name for param in command.params}


@pytest.mark.parametrize("name", [name for name in COMMANDS if _has_two_formats(name)])
def test_two_formats_are_refused_before_anything_is_done(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON was printed, and the other format passed over."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").touch()
    result = invoke(name, "x", "--json", "--format", "csv")
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert "ask for two things; give one of them" in result.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_an_unknown_command_is_told_the_one_that_was_meant() -> None:
    result = invoke("stauts")
    assert result.exit_code == 2
    assert 'no command "stauts", did you mean "status"?' in result.stderr


@pytest.mark.parametrize(
    ("word", "hint"), [("help", "`kon --help`"), ("version", "`kon --version`"), ("ls", "`kon runs`")]
)
def test_a_word_of_other_programs_has_a_hint(word: str, hint: str) -> None:
    result = invoke(word)
    assert result.exit_code == 2
    assert f'no command "{word}"; ' in result.stderr
    assert hint in result.stderr


def test_an_unknown_option_is_a_usage_error() -> None:
    assert invoke("run", "x.yml", "--dryrun").exit_code == 2
    assert invoke("run").exit_code == 2


def test_the_version() -> None:
    result = invoke("--version")
    assert result.stdout.startswith("kon ")


def complete(words: str, cwd: Path) -> list[str]:
    """What a shell is offered for the last of these words."""
    env = {"_KON_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return [line.split(",")[1] for line in process(cwd=cwd, env=env).stdout.splitlines()]


def test_a_shell_is_offered_commands_and_runs(tmp_path: Path) -> None:
    assert "complete" in process(cwd=tmp_path, env={"_KON_COMPLETE": "bash_source"}).stdout
    assert complete("kon sta", tmp_path) == ["status"]
    assert invoke("run", write(tmp_path), "-q").exit_code == 0
    for command in ("results", "status", "collect"):
        assert complete(f"kon {command} sl", tmp_path) == ["sleeps-lease-w1-r1"]


def test_the_group_is_what_the_script_calls() -> None:
    assert isinstance(kon, LazyGroup)


def test_a_run_on_this_machine_and_a_look_at_it_load_nothing_of_amazons(tmp_path: Path) -> None:
    """botocore takes longer to load than all the rest of `kon run`."""
    write(tmp_path)
    code = (
        "import sys, kon.cli.results\nfrom kon.cli.group import kon\n"
        "try: kon(['run', 'exp.yml', '--quiet'], prog_name='kon')\n"
        "except SystemExit: pass\n"
        "print({'botocore', 'boto3', 'urllib3'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "sleeps-lease-w1-r1" in done.stdout
    assert done.stderr.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    "modules",
    [
        "kon.cli.join",
        "kon.launch.process",
        "kon.backends.aws, kon.fleet.thing",
        "kon.cli.worker, kon.cli.cancel",
    ],
)
def test_what_each_host_of_a_fleet_starts_loads_nothing_that_it_does_not_need(modules: str) -> None:
    """They read no experiment and draw no tables; a small host takes a second for each of these."""
    code = f"import sys, {modules}; print(*{{'pydantic', 'yaml', 'rich', 'boto3'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_look_at_a_run_reads_no_experiment() -> None:
    looks = ", ".join(f"kon.cli.{name}" for name in ("dead", "explain", "results", "status", "table", "top"))
    code = f"import sys, {looks}; print(*{{'pydantic', 'yaml'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
