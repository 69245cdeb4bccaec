"""Standard input that is closed, or can't be read: a command that needs it says so in a line, and no other
notices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.given import KON, process, write
from tests.loaded import python

RUN = "sleeps-lease-w1-r1"

NOBODY = "nothing was removed: name --yes where nobody can be asked"
UNREAD = "standard input: can't be read, or not be kept in a temporary file: Bad file descriptor"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    write(tmp_path)
    assert process("run", "exp.yml", "-q", cwd=tmp_path).returncode == 0
    return tmp_path


@pytest.mark.parametrize("stdin", ["<&-", "0>f"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (f"rm {RUN}", NOBODY),
        ("map cat :::: -", UNREAD),
        ("map -a - cat", UNREAD),
        ("map -n 2 -a - cat", UNREAD),
        ("join --out o -", "-: can't be read: "),
    ],
)
def test_what_needs_it_says_so(words: str, says: str, stdin: str, recorded: Path) -> None:
    line = " ".join([*python(), "-m", "kon", words, stdin])
    ended = subprocess.run(
        ["sh", "-c", line], cwd=recorded, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2, ended
    assert says in ended.stderr.splitlines()[-1]
    assert (recorded / "results" / "sleeps" / RUN).exists()


def test_without_it_no_items_are_asked_for(tmp_path: Path) -> None:
    line = " ".join([*python(), "-m", "kon", "map", "cat", "<&-"])
    ended = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "no items: name them after :::" in ended.stderr


@pytest.mark.long
def test_kon_top_is_drawn_without_it(recorded: Path) -> None:
    """On a terminal: there it reads keys."""
    line = f"timeout 5 {' '.join(KON)} top {RUN} <&-"
    ended = subprocess.run(
        ["script", "-qec", line, "/dev/null"],
        cwd=recorded, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 124, ended
    assert RUN in ended.stdout
    assert sys.executable not in ended.stdout
