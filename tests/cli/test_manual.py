"""Completion for shells, the manual page, and what `kon --version` and `kon doctor` say is installed."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kon.cli.commands import COMMANDS
from kon.cli.group import kon
from kon.core import distribution
from kon.core.distribution import extras, install

PROJECT = Path(__file__).parents[2]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(kon, arguments, prog_name="kon")


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o"), ("zsh", "#compdef kon"), ("fish", "complete --no-files")]
)
def test_completion(shell: str, words: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert words in result.stdout
    if shutil.which(shell):
        checked = subprocess.run(
            [shell, "-n"], input=result.stdout, text=True, capture_output=True, check=False
        )
        assert checked.stderr == ""


def test_what_a_shell_completes() -> None:
    environment = {"_KON_COMPLETE": "bash_complete", "COMP_WORDS": "kon comp", "COMP_CWORD": "1"}
    ended = subprocess.run(
        ["kon"], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["plain,compare", "plain,completion"]


def test_the_manual_page_has_every_command() -> None:
    page = invoke("man").stdout
    for name in COMMANDS:
        assert f".SS kon {name}\n" in page
    assert ".SS kon generate sleep\n" in page
    # a line that begins with a dot is a request of roff's own, and nothing else
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests == {".TH", ".SH", ".SS", ".B", ".nf", ".fi"}
    if shutil.which("groff"):
        shown = subprocess.run(
            ["groff", "-man", "-Tascii", "-ww"], input=page.encode(), capture_output=True, check=True
        )
        assert shown.stderr == b""
        assert b"--rerun-failed" in shown.stdout


def test_the_version_says_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    first, python, has = invoke("--version").stdout.splitlines()
    assert first == f"kon {importlib.metadata.version('cloudkon')}"
    assert python.startswith("Python 3.")
    assert "image" in has.partition(";")[0]
    _without(monkeypatch, "pillow")
    assert "image" not in invoke("--version").stdout.partition(";")[0]


def test_the_doctor_looks_at_every_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    known = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras().keys() == known.keys()
    _without(monkeypatch, "pillow")
    shown = invoke("doctor").stdout
    for extra in known:
        assert f"extra {extra} " in shown
    [line] = [line for line in shown.splitlines() if " extra image " in line]
    assert re.fullmatch(r"warn  extra image +lacks pillow", line)
    assert f"{'':24}{install('image')}\n" in shown


def _without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    installed = distribution._installed
    monkeypatch.setattr(
        distribution, "_installed", lambda name: None if name.lower() == package else installed(name)
    )
