"""The day of docs/first-fleet.md, to the letter, in the lab; and a second operator, at another machine.

A machine is a folder here: a copy of the project whose defaults say what is the lab's own (image, network).
Each has keys, records and results of its own, and none has the other's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.lab.rights import OPERATOR
from tests.playbooks.plays import IMAGE, PROJECT

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(1800)]

COPIED = ("ansible.cfg", "inventory", "playbooks", "workloads")
SHARED = (
    *(".cache", "kon", "strategies", "pyproject.toml", "README.md", "LICENSE"),
    *("requirements.lock", "requirements-dev.lock"),
)

THE_LABS = {"image_id": IMAGE, "own_network": True, "ssh_from": "10.77.0.1", "packages": []}


class Place:
    """One operator's machine."""

    def __init__(self, folder: Path, **defaults: object) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700)
        for name in COPIED:
            place = PROJECT / name
            (shutil.copytree if place.is_dir() else shutil.copyfile)(place, folder / name)
        for name in SHARED:
            (folder / name).symlink_to(PROJECT / name)
        workload = folder / "workloads/sleep-1s.yml"  # of 200 s, here 20
        workload.write_text(workload.read_text().replace("count: 100", "count: 10"))
        variables = folder / "inventory/group_vars"
        (variables / "all.yml").rename(folder / "defaults.yml")
        (variables / "all").mkdir()
        (folder / "defaults.yml").rename(variables / "all/0-defaults.yml")
        (variables / "all/1-lab.yml").write_text(yaml.safe_dump({**THE_LABS, **defaults}))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        self.environment = {
            **kept,
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
            "AWS_ACCESS_KEY_ID": OPERATOR,
            "KON_ADDRESS": "private",
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # . .venv/bin/activate
        }

    def calls(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            line,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def commands() -> list[str]:
    """Those of the page, as they stand there."""
    page = (PROJECT / "docs/first-fleet.md").read_text()
    _, _, section = page.partition("## The day, in commands\n")
    return [line.strip() for line in re.findall(r"(?m)^    \S.*$", section.partition("\n## ")[0])]


def test_the_day_of_the_page_and_a_second_operator(tmp_path: Path) -> None:
    day = commands()
    plays = [re.findall(r"playbooks/(\w+)\.yml", line)[0] for line in day]
    assert plays == ["validate", "provision", "configure", "run", "teardown", "sweep"]
    first, second = Place(tmp_path / "first"), Place(tmp_path / "second")
    try:
        for line in day[:4]:
            ended = first.calls(line)
            assert ended.returncode == 0, ended.stdout
        _second(second)
        for line in day[4:]:  # what the first one made, the second one removes
            ended = second.calls(line)
            assert ended.returncode == 0, ended.stdout
        assert second.calls("kon sweep --fleet r1").returncode == 0
    finally:
        first.calls("kon sweep --fleet r1 --yes")


def _second(second: Place) -> None:
    """Looks, fetches and goes on, with rights in the account and nothing of the first operator's."""
    looked = second.calls("kon sweep --fleet r1")
    assert (looked.returncode, "instance" in looked.stdout) == (5, True)
    fleet = "-i inventory/kon.aws_ec2.yml"
    fetched = second.calls(f"ansible-playbook {fleet} playbooks/fetch.yml -e run=r1")
    assert fetched.returncode == 0, fetched.stdout
    assert len(list((second.folder / ".kon/fetched/r1").glob("i-*.tgz"))) == 2
    key = second.folder / ".kon/keys/r1"
    assert key.stat().st_mode & 0o777 == 0o600
    again = second.calls("ansible-playbook playbooks/provision.yml -e run=r1 -e experiment=")
    assert (again.returncode, "changed=0" in again.stdout) == (0, True), again.stdout
    ready = second.calls(f"ansible-playbook {fleet} playbooks/configure.yml -e run=r1")
    assert ready.returncode == 0, ready.stdout
