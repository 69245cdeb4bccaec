"""`kon map` where something that most have is missing: standard files, folders, room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.mapping import KON, Ended

pytestmark = pytest.mark.usefixtures("temporary")


def under(script: str, *words: str, cwd: Path | None = None) -> Ended:
    """`kon map` as a shell script's "$@"."""
    ended = subprocess.run(
        ["bash", "-c", script, "bash", *KON, *words],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=100, cwd=cwd, check=False,
    )  # fmt: skip
    return Ended(ended.returncode, ended.stdout, ended.stderr.decode())


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-"])
def test_without_stderr(closed: str) -> None:
    ended = under(f'"$@" {closed}', "-k", "echo {}; echo err >&2", ":::", "a", "b")
    assert (ended.code, ended.out) == (0, b"a\nb\n")


def test_what_kon_opens_does_not_become_a_standard_file() -> None:
    """A library that says something on stderr would say it into a database."""
    program = """
import os, sys
from kon.cli import program
program.kon = lambda **_: os.write(7, str(os.open("/", os.O_RDONLY)).encode()) and None
program.main()
"""
    line = 'exec 7>&1; exec "$@" <&- >&- 2>&-'
    ended = subprocess.run(
        ["bash", "-c", line, "bash", sys.executable, "-c", program], capture_output=True, check=True
    )
    assert int(ended.stdout) > 2


def test_stderr_on_a_full_disk() -> None:
    ended = under('"$@" 2>/dev/full', "echo {}; echo err >&2", ":::", "a")
    assert (ended.code, ended.out) == (2, b"a\n")


def test_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    ended = under('mkdir gone && cd gone && rmdir ../gone && "$@"', "printf", ":::", "a", cwd=tmp_path)
    assert (ended.code, ended.out) == (0, b"a")


@pytest.mark.parametrize("place", ["/nonexistent", "/dev/null"])
def test_temporary_files_that_lie_elsewhere_than_was_said(place: str) -> None:
    ended = under(f'TMPDIR={place} "$@"', "printf", ":::", "a")
    assert (ended.code, ended.out) == (0, b"a")
    assert f"TMPDIR names {place}, where nothing can be written: temporary files are in /" in ended.err


def test_no_place_for_temporary_files() -> None:
    ended = under('ulimit -f 0; "$@"', "printf", ":::", "a")
    assert (ended.code, ended.out) == (2, b"")
    assert ended.err.startswith("kon: no temporary file can be written: ")
    assert "Make room there, or name another place in TMPDIR" in ended.err
