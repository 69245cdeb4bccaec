"""Hosts that kon can't be installed on, as another distribution's: each is left out, with the reason.

No image of Amazon Linux is to be had outside Amazon; this is what tells it from Debian.
"""

from __future__ import annotations

import json
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.playbooks.plays import PROJECT, Operator


@pytest.mark.parametrize(
    ("python", "packages", "said"),
    [
        ("3.9", [], "its python3 is 3.9, and kon needs 3.11 or newer: take another image"),
        ("3.11", ["ffmpeg", "jq"], "it has no apt, by which ffmpeg, jq would be installed"),
    ],
)
def test_a_host_of_another_distribution_is_left_out_with_the_reason(
    tmp_path: Path, python: str, packages: list[str], said: str
) -> None:
    operator = Operator(tmp_path, {"PATH": str(_host(tmp_path / "bin", python))}, packages=packages)
    operator.inventory = str(_inventory(tmp_path))
    play = operator.play("configure", run="r1")
    assert play.exit_code == 2, play.output
    assert f"pc is left out: {said}" in play.said, play.output
    assert "0 of 1 hosts of the fleet r1 are ready" in play.said
    assert "Traceback" not in play.output


def _host(folder: Path, python: str) -> Path:
    """Its programs: no package manager, and a python3 that says that it is of another version."""
    folder.mkdir()
    for name in ("env", "id", "sh", "ssh", "ssh-keygen"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    says = f"import sys; sys.version_info = {tuple(map(int, python.split('.')))}\n"
    start = folder / "python3"
    (folder / "as_another.py").write_text(f"{says}exec(sys.stdin.read())\n")
    start.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} {folder}/as_another.py "$@"\n')
    start.chmod(stat.S_IRWXU)
    return folder


def _inventory(folder: Path) -> Path:
    hosts: dict[str, Any] = {"pc": {"ansible_connection": "local", "ansible_become": False}}
    file = folder / "inventory.yml"
    file.write_text(json.dumps({"workers": {"children": {"run_r1": {"hosts": hosts}}}}))
    (folder / "group_vars").symlink_to(PROJECT / "inventory/group_vars")
    return file
