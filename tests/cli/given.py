"""What tests of the command share: files, and kon as a process and in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from kon.cli.group import kon
from tests import loaded

KON = [sys.executable, "-m", "kon"]

SLEEPS = """\
name: sleeps
backend: memory
workload: {kind: sleep, count: 20, seconds: 0}
"""

SHELL = """\
name: shells
backend: memory
workload: {kind: shell, command: 'test {} != 2 && echo item {}', items: [1, 2, 3]}
attempts: 1
"""


def write(folder: Path, text: str = SLEEPS, name: str = "exp.yml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def invoke(*args: str | Path) -> Result:
    """kon in this process. An exception that it does not expect is raised."""
    result = CliRunner().invoke(kon, [str(arg) for arg in args], prog_name="kon", catch_exceptions=False)
    return result


def process(
    *args: str | Path, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """kon as a process of its own, forked from one that has loaded it."""
    command = [*loaded.python(), "-m", "kon", *map(str, args)]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def rows(result: Result) -> list[dict[str, Any]]:
    """The rows of --json."""
    found: list[dict[str, Any]] = json.loads(result.stdout)["runs"]
    return found


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
