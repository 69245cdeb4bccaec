"""A fleet's key on this machine: there whole, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.playbooks.plays import PROJECT

WRITE = """
import os, resource, sys
from pathlib import Path
from kon_fleet import Unfit, write_whole
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
if sys.argv[2] == "left":
    os.getpid = lambda: 7
    key = Path(sys.argv[1])
    key.with_name(f".{key.name}.7").write_text("sec")
try:
    write_whole(Path(sys.argv[1]), "secret")
except Unfit as error:
    sys.exit(str(error))
"""


def write(key: Path, disk: str) -> subprocess.CompletedProcess[str]:
    library = PROJECT / "playbooks/library"
    command = [sys.executable, "-c", WRITE, str(key), disk]
    return subprocess.run(command, cwd=library, capture_output=True, text=True, check=False)


def test_a_disk_that_is_full_leaves_no_part_of_a_key(tmp_path: Path) -> None:
    """A part would be taken for the key by every later call, and brought by none."""
    key = tmp_path / "keys/r1"
    ended = write(key, "full")
    assert ended.returncode == 1
    assert f"the fleet's key can't be written to {key}" in ended.stderr
    assert "-e ssh_key=... and KON_SSH_KEY" in ended.stderr
    assert list(key.parent.iterdir()) == []
    assert write(key, "well").returncode == 0
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("secret", 0o600)


def test_a_key_that_another_call_has_brought_stays(tmp_path: Path) -> None:
    key = tmp_path / "r1"
    key.write_text("theirs")
    assert write(key, "well").returncode == 0
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("r1", "theirs")]


def test_a_part_that_a_killed_call_has_left_keeps_no_key_from_coming(tmp_path: Path) -> None:
    """In a container, calls have one process number after the other's end."""
    key = tmp_path / "r1"
    assert write(key, "left").returncode == 0
    assert key.read_text() == "secret"
