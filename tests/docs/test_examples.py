"""Examples on pages run, and do what is said of them.

The ```python blocks of a page make one script, but for those that are a whole one themselves. In
```console blocks, what follows `$ ` is run by sh, in one folder for the whole page, and prints the lines
below it; `...` there stands for anything within a line, and a line of it alone for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def scripts(blocks: list[str]) -> list[str]:
    whole = [block for block in blocks if '__name__ == "__main__"' in block]
    return [*whole, "\n".join(block for block in blocks if block not in whole)]


class Step(NamedTuple):
    """A command, and what it is said to print."""

    command: str
    output: str


def steps(block: str) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield Step(command, output)


def matches(said: str, printed: str) -> bool:
    lines = said.splitlines(keepends=True)
    patterns = (".*".join(re.escape(piece) for piece in line.split("...")) for line in lines)
    pattern = "".join(
        r"(?:.*\n)*" if line == "...\n" else each for line, each in zip(lines, patterns, strict=True)
    )
    return re.fullmatch(pattern, printed) is not None


@pytest.fixture
def environment() -> dict[str, str]:
    """That of a shell in which kon is installed; what these tests are started from has no part in it."""
    programs = Path(sys.executable).parent
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": f"{programs}{os.pathsep}{os.defpath}", "PYTHONWARNINGS": "error"}


with_python = [page for page in PAGES if blocks(page, "python")]
with_console = [page for page in PAGES if blocks(page, "console")]


@pytest.mark.parametrize("page", with_python, ids=lambda page: page.name)
def test_python(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    for number, text in enumerate(scripts(blocks(page, "python"))):
        script = tmp_path / f"script_{number}.py"
        script.write_text(text)
        ended = subprocess.run(
            [sys.executable, script.name],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=100,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, ""), text


@pytest.mark.parametrize("page", with_console, ids=lambda page: page.name)
def test_console(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    for step in (step for block in blocks(page, "console") for step in steps(block)):
        ended = subprocess.run(
            ["sh", "-c", step.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=100,
            check=False,
        )
        assert matches(step.output, ended.stdout), f"$ {step.command}\n{ended.stdout}"


def test_there_are_examples() -> None:
    """A fence that is written in another way would have them all pass."""
    assert {"README.md", "python-api.md"} <= {page.name for page in with_python}
    assert "kon-map.md" in {page.name for page in with_console}


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
