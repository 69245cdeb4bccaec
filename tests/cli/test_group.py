"""The group of all commands: its help, its errors and its exit codes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kon.cli import fault, group
from kon.cli.group import COMMANDS, EXIT_FAULT, EXIT_PIPE, SECTIONS, kon
from kon.core.distribution import reports, version
from kon.core.errors import BackendUnavailable, ConfigurationError, KonError
from tests.cli.given import KON, invoke, process, write

PROJECT = Path(__file__).parents[2]


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


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has `kon schema` raise it."""

    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setattr(group.LazyGroup, "get_command", lambda *args: fails)


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
        group.main()
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
        group.main()
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
        group.main()
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
    assert isinstance(kon, group.LazyGroup)


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
