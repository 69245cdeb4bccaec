"""Hosts that can be no workers, and those that are none: each is left out, and said so.

No image of Amazon Linux is to be had outside Amazon; what is said of the first is what tells it from Debian.
"""

from __future__ import annotations

import json
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab import servers
from tests.playbooks.plays import PROJECT, Ansible, Operator


@pytest.mark.parametrize(
    ("python", "packages", "said"),
    [
        ("3.9", [], "its python3 is 3.9, and kon needs 3.11 or newer: take another image"),
        ("3.11", ["ffmpeg", "jq"], "it has no apt, by which ffmpeg, jq would be installed"),
    ],
)
def test_a_host_of_another_distribution_is_left_out_with_the_reason(
    tmp_path: Path, ansible: Ansible, python: str, packages: list[str], said: str
) -> None:
    operator = Operator(tmp_path, {"PATH": str(_host(tmp_path / "bin", python))}, packages=packages)
    operator.inventory = str(_inventory(tmp_path, pc={}))
    operator.ansible = ansible
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


def _inventory(folder: Path, **hosts: dict[str, Any]) -> Path:
    here = {"ansible_connection": "local", "ansible_become": False}
    of_it = {name: here | variables for name, variables in hosts.items()}
    file = folder / "inventory.yml"
    file.write_text(json.dumps({"workers": {"children": {"run_r1": {"hosts": of_it}}}}))
    (folder / "group_vars").symlink_to(PROJECT / "inventory/group_vars")
    return file


@pytest.mark.parametrize(
    ("fewest", "said"),
    [
        (2, "1 of 2 hosts of the fleet r1 in us-east-1 are workers, and 2 have to be. Not: bare."),
        (1, "bare: no workers, and left out; `configure` says why"),
    ],
)
@pytest.mark.long
def test_a_run_counts_the_hosts_that_are_workers(
    tmp_path: Path, ansible: Ansible, fewest: int, said: str
) -> None:
    home = tmp_path / "opt"
    (home / "0123").mkdir(parents=True)
    (home / "0123/installed").touch()
    (home / "current").symlink_to("0123")
    nowhere = servers.variables("http://127.0.0.1:1")
    operator = Operator(tmp_path, nowhere, home=str(home), region="us-east-1")
    operator.inventory = str(_inventory(tmp_path, bare={"ansible_shell_executable": "/bin/false"}, well={}))
    operator.ansible = ansible
    play = operator.play("run", "--check", run="r1", min_workers=fewest, out=str(tmp_path / "out"))
    assert said in play.said, play.output
    assert ("Nothing was started" in play.said) == (fewest == 2)
