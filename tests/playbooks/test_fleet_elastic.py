"""Real hosts that come and go: by a playbook, then by a policy. Part of `make test-fleet ARGS='-m fleet'`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from kon.engine.records.records import RunFolder
from tests.playbooks.plays import PROJECT, Operator, Play
from tests.playbooks.test_fleet_day import until

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

EXPERIMENT = """\
name: flex
workload: {kind: sleep, count: 400, seconds: 0.3}
visibility_s: 4
"""

POLICY = """\
max_hosts: 3
target_s: 20
up_cooldown_s: 0
down_after_s: 4
down_cooldown_s: 0
look_s: 2
drain_s: 60
configure_s: 300
"""


class Flex:
    """A fleet whose hosts come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        self.file = folder / "flex.yml"
        self.file.write_text(EXPERIMENT)
        self.policy = folder / "policy.yml"
        self.policy.write_text(POLICY)
        self.operator = Operator(
            folder,
            {**aws, "KON_ADDRESS": "private", "KON_SSH_KEY": str(folder / "keys/key")},
            run="flex",
            workers=1,
            own_network=True,
            ssh_from="10.77.0.1",
            packages=[],
            experiment=str(self.file),
        )
        self.ec2 = boto3.client("ec2")

    def play(self, playbook: str, **variables: Any) -> Play:
        play = self.operator.play(playbook, **variables)
        assert play.exit_code == 0, play.output
        return play

    def hosts(self) -> list[dict[str, Any]]:
        filters = [
            {"Name": "tag:Run", "Values": ["flex"]},
            {"Name": "instance-state-name", "Values": ["pending", "running"]},
        ]
        found = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return [host for each in found for host in each["Instances"]]

    def begin(self, *words: str) -> subprocess.Popen[str]:
        kon = str(Path(sys.executable).with_name("kon"))
        return subprocess.Popen(
            [kon, *words],
            cwd=PROJECT,
            env=self.operator.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def flex(tmp_path: Path) -> Iterator[Flex]:
    flex = Flex(tmp_path)
    yield flex
    flex.operator.play("teardown")
    flex.ec2.close()


def test_by_a_playbook_and_by_a_policy(flex: Flex) -> None:
    flex.play("provision")
    flex.play("configure")
    assert flex.play("configure").changes == [], "what hosts need is kept in the bucket once"
    flex.play("scale", workers=2, elastic=True)
    assert len(flex.hosts()) == 2
    flex.play("scale", workers=1)
    assert len(flex.hosts()) == 1

    scaling = flex.begin("autoscale", "flex", "--policy", str(flex.policy), "--json")
    out = flex.folder / "out"
    backend = ["backend.name=aws", "backend.prefix=konf-flex", "backend.region=us-east-1"]
    words = [word for each in [*backend, "backend.expires_h=4"] for word in ("--set", each)]
    running = flex.begin("run", str(flex.file), *words, "--out", str(out), "--join", "--apart", "--json")
    said, trouble = running.communicate(timeout=240)
    [row] = json.loads(said)["runs"]
    assert (row["done"], row["lost"], row["dead"], running.returncode) == (400, 0, 0, 0), trouble
    until(lambda: flex.hosts() == [])
    scaling.send_signal(signal.SIGTERM)
    looks, notes = scaling.communicate(timeout=30)
    assert scaling.returncode == 0, notes
    decisions = [json.loads(line) for line in looks.splitlines()]
    assert sum(len(each["made"]) for each in decisions) == 2, looks
    assert sum(len(each["drained"]) for each in decisions) == 3, looks
    assert [each["notes"] for each in decisions if each["notes"]] == []
    assert max(each["hosts"] for each in decisions) == 3
    workers = {answers.worker.partition(".")[0] for answers in RunFolder(out / "flex-lease-w1-r1").packets()}
    assert {"w500", "w1001", "w1002"} <= workers, "those that came have worked"
    flex.play("teardown")
    assert json.loads(flex.operator.kon("sweep", "--json").stdout)["left"] == []
