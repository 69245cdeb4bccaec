"""Every command on a page is run, or is declared in declared.py with the reason why not.

In ```console blocks, what follows `$ ` prints the lines below it; `...` there stands for anything within a
line, and a line of it alone for any lines. In ```sh blocks, and in indented ones that begin with a program,
each line is a command. A block whose first line is a comment with nothing but a name, `# mine.py`, is a file.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from kon.cli.group import kon
from tests.docs.blocks import PAGES, PROJECT, Block, Step, bare, blocks, prose, steps
from tests.docs.declared import ELSEWHERE, GIVEN, NOT_RUN, ON_AMAZON, SMALLER
from tests.loaded import python

IN_THE_PROJECT = ("workloads", "playbooks", "inventory")
"""Folders that commands name, as those who type them stand in the project."""


def reason_not_to_run(command: str) -> str | None:
    for reason, beginnings in NOT_RUN.items():
        if bare(command).startswith(beginnings):
            return reason
    return None


def reason_of(page: Path, step: Step) -> str | None:
    return ELSEWHERE.get(page.name) or reason_not_to_run(step.command)


def commands(page: Path) -> list[Step]:
    return [step for block in blocks(page) for step in steps(block)]


def matches(said: str, printed: str) -> bool:
    lines = said.splitlines(keepends=True)
    patterns = (".*".join(re.escape(piece) for piece in line.split("...")) for line in lines)
    pattern = "".join(
        r"(?:.*\n)*" if line == "...\n" else each for line, each in zip(lines, patterns, strict=True)
    )
    return re.fullmatch(pattern, printed) is not None


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of a shell in which kon is installed; what these tests are started from has no part in it.

    `kon` is a fork of a process that has loaded it.
    """
    programs, loaded = Path(sys.executable).parent, tmp_path_factory.mktemp("bin")
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    path = os.pathsep.join([str(loaded), str(programs), os.defpath])
    environment = {**kept, "PATH": path, "PYTHONWARNINGS": "error"}
    command = shlex.join([*python(environment), str(programs / "kon")])
    (loaded / "kon").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (loaded / "kon").chmod(0o755)
    return environment


@pytest.fixture
def amazon(request: pytest.FixtureRequest, environment: dict[str, str]) -> Mapping[str, str]:
    """What leads a page to the emulator, where it is about Amazon's services."""
    if request.node.callspec.params["page"].name not in ON_AMAZON:
        return {}
    request.getfixturevalue("on_ministack")
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def sh(command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
        timeout=100,
        check=False,
    )


def smaller(command: str) -> str:
    command = command.replace(" --emulator", "")
    return re.sub(
        "|".join(re.escape(each) for each in sorted(SMALLER, key=len, reverse=True)),
        lambda found: SMALLER[found[0]],
        command,
    )


def run_here(page: Path, block: Block) -> list[Step]:
    return [step for step in steps(block) if reason_of(page, step) is None]


with_commands = [page for page in PAGES if any(run_here(page, block) for block in blocks(page))]


LONG = frozenset(
    [
        "afternoon.md",
        "animoto.md",
        "aws.md",
        "cloudkon.md",
        "costs.md",
        "emulators.md",
        "live.md",
        "own-kind.md",
        "observability.md",
        "own-strategy.md",
        "reading-results.md",
        "strategies.md",
    ]
)
"""Pages whose commands take more than a few seconds."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[pytest.mark.long] if page.name in LONG else [])
        for page in with_commands
    ],
)
def test_commands_do_what_is_said(
    page: Path, tmp_path: Path, environment: dict[str, str], amazon: Mapping[str, str]
) -> None:
    here = {**environment, **amazon}
    for folder in IN_THE_PROJECT:
        (tmp_path / folder).symlink_to(PROJECT / folder)
    if page.name in GIVEN:
        made = sh(f"set -e\n{GIVEN[page.name]}", tmp_path, here)
        assert made.returncode == 0, made.stdout
    for block in blocks(page):
        if block.file is not None:
            file = tmp_path / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        for step in run_here(page, block):
            ended = sh(smaller(step.command), tmp_path, here)
            if step.output is None:
                assert ended.returncode == 0, f"$ {step.command}\n{ended.stdout}"
            else:
                assert matches(step.output, ended.stdout), f"$ {step.command}\n{ended.stdout}"


def test_commands_are_found() -> None:
    """A fence that is written in another way would have them all pass."""
    assert {"README.md", "kon-map.md", "own-strategy.md", "costs.md"} <= {page.name for page in with_commands}
    assert sum(len(run_here(page, block)) for page in with_commands for block in blocks(page)) > 60
    assert {page.name for page in with_commands} >= LONG


def test_what_is_not_run_is_declared_and_there() -> None:
    """`pytest -s` shows the list. No line of it, and no smaller command, is for what no page has."""
    unused = {beginning for beginnings in NOT_RUN.values() for beginning in beginnings} | set(SMALLER)
    for page in PAGES:
        for step in commands(page):
            unused -= {each for each in unused if step.command.startswith(each)}
            if (reason := reason_of(page, step)) is not None:
                print(f"{page.name}: {bare(step.command)}: not run: {reason}")
    assert unused == set()


# --- what is named in the text, or not run ------------------------------------------------------------


INLINE = re.compile(r"(?<!`)`((?:kon|make) [^`\n]+)`(?!`)")
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (PROJECT / "Makefile").read_text(), re.M))


def mentioned(page: Path) -> list[str]:
    """All commands of kon and make that a page names, in blocks and in the text."""
    return [*INLINE.findall(prose(page)), *(bare(step.command) for step in commands(page))]


def words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # half of a quotation
        return command.split()


def complaint(command: str) -> str | None:
    """What is wrong with commands of kon's or make's, by their words alone."""
    found = (complaint_about(words(each)) for each in re.split(r"&&|\||;", command))
    return next((each for each in found if each is not None), None)


def complaint_about(given: list[str]) -> str | None:
    if given[:1] == ["make"]:
        goals = [word for word in given[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
        return next((f"make has no target {goal}" for goal in goals if goal not in TARGETS), None)
    if given[:1] != ["kon"] or not re.fullmatch(r"[a-z]+", " ".join(given[1:2])):
        return None
    command: click.Command | None = kon
    rest = given[1:]
    name = "kon"
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name += f" {rest[0]}"
        command = command.get_command(click.Context(command), rest.pop(0))
        if command is None:
            return f"there is no {name}"
    assert command is not None
    flags = {
        opt: isinstance(each, click.Option) and each.is_flag for each in command.params for opt in each.opts
    }
    flags |= {opt: True for each in command.params for opt in each.secondary_opts}
    flags |= {"-h": True, "--help": True}
    while rest:
        option, _, value = rest.pop(0).partition("=")
        option = option.rstrip(",.;")
        if not re.fullmatch(r"--[a-z-]+|-[a-z0-9]", option):
            if name == "kon map":
                return None  # what follows is the items
        elif option not in flags:
            return f"{name} has no option {option}"
        elif not flags[option] and not value:
            del rest[:1]
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    found = {command: complaint(command) for command in mentioned(page)}
    assert {command: problem for command, problem in found.items() if problem is not None} == {}


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("kon run exp.yml --set workers=8", False),
        ("kon run exp.yml --sett workers=8", True),
        ("kon rum exp.yml", True),
        ("kon map -k --joblog FILE 'gzip -9 {}'", False),
        ("make bench ARGS=--write", False),
        ("kon map echo --y -x", False),
        ("kon generate sleep 10 --ms 5 --out a | head -n 1", False),
        ("kon generate sleep 10 --msec 5", True),
        ("make tea", True),
        ("true && make tea", True),
    ],
)
def test_a_command_that_is_not_there_is_found(command: str, wrong: bool) -> None:
    assert (complaint(command) is not None) == wrong


FILES = re.compile(r"(?<![\w./-])(?:workloads|playbooks|inventory)/[\w./-]+\.\w+")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_commands_name_are_there(page: Path) -> None:
    named = [name for step in commands(page) for name in FILES.findall(step.command)]
    assert [name for name in named if not (PROJECT / name).exists()] == []


@pytest.mark.parametrize(
    ("said", "printed", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("x ... z\n", "x y z\n", True),
        ("x ... z\n", "x y\n z\n", False),
        ("a\n...\nb\n", "a\nx\ny\nb\n", True),
        ("a\n...\nb\n", "a\nb\n", True),
        ("a\n...\nb\n", "a\nx\n", False),
    ],
)
def test_what_is_printed_is_compared(said: str, printed: str, same: bool) -> None:
    assert matches(said, printed) == same
