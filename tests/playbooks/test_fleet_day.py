"""A fleet's day on real hosts, run by `make test-fleet` in the lab: made, run, disturbed, gone."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from kon.engine.records.records import RunFolder
from tests.lab.addresses import API_URL, DATA_URL
from tests.lab.reconciler import SPOT_ACTION
from tests.lab.rights import HOSTS, OPERATOR, denied
from tests.playbooks.plays import Operator, Play

pytestmark = pytest.mark.fleet

EXPERIMENT = """\
name: day
workload: {kind: sleep, count: 60, seconds: 0.05, per: worker}
strategies: [lease, result_once]
workers: 3
visibility_s: 4
"""

DISTURBED = """\
name: disturbed
workload: {kind: sleep, count: 200, seconds: 0.1, per: worker}
workers: 3
visibility_s: 4
"""


def until(come: Callable[[], Any], within_s: float = 120.0) -> Any:
    give_up_s = time.monotonic() + within_s
    while not (it := come()):
        assert time.monotonic() < give_up_s
        time.sleep(0.2)
    return it


class Day:
    """A fleet of three hosts."""

    def __init__(self, folder: Path) -> None:
        aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        self.folder = folder
        (folder / "day.yml").write_text(EXPERIMENT)
        (folder / "disturbed.yml").write_text(DISTURBED)
        key = folder / "keys/key"
        self.operator = Operator(
            folder,
            {**aws, "AWS_ACCESS_KEY_ID": OPERATOR, "KON_ADDRESS": "private", "KON_SSH_KEY": str(key)},
            run="day1",
            workers=3,
            min_workers=1,
            own_network=True,
            ssh_from="10.77.0.1",
            packages=[],
            expiry_check_s=2,
            experiment=str(folder / "day.yml"),
            out=str(folder / "out"),
        )
        self.ec2 = boto3.client("ec2")
        self._is_there = False

    def play(self, playbook: str, *options: str, **variables: Any) -> Play:
        self._is_there |= playbook != "teardown"
        play = self.operator.play(playbook, *options, **variables)
        assert play.exit_code == 0, play.output
        self._is_there &= playbook != "teardown"
        return play

    def hosts(self) -> list[dict[str, Any]]:
        """Those that are running."""
        filters = [
            {"Name": "tag:Run", "Values": ["day1"]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
        found = self.ec2.describe_instances(Filters=filters)["Reservations"]
        hosts = [each for reservation in found for each in reservation["Instances"]]
        return sorted(hosts, key=lambda each: str(each["InstanceId"]))

    def ssh(self, host: dict[str, Any], command: str) -> subprocess.CompletedProcess[str]:
        known = f"UserKnownHostsFile={self.folder / 'known'}"
        options = ["StrictHostKeyChecking=accept-new", known, "BatchMode=yes", "LogLevel=ERROR"]
        words = [word for option in options for word in ("-o", option)]
        place = f"admin@{host['PrivateIpAddress']}"
        key = str(self.folder / "keys/key")
        return subprocess.run(
            ["ssh", "-i", key, *words, place, command], capture_output=True, text=True, check=False
        )

    def clear(self) -> None:
        """Leave nothing to the next test."""
        if self._is_there:
            self.operator.play("teardown")
        self.ec2.close()

    def units(self, host: dict[str, Any]) -> str:
        return self.ssh(host, "systemctl is-active kon-worker@day1").stdout.strip()


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    day = Day(tmp_path)
    yield day
    day.clear()


def test_a_fleets_day(day: Day) -> None:
    day.play("provision")
    assert len(day.hosts()) == 3
    again = day.play("provision")
    assert again.changes == [], "a second time, nothing is changed"

    day.play("configure")
    again = day.play("configure")
    assert again.changes == []
    for host in day.hosts():
        assert (
            day.ssh(host, "systemctl is-active kon-notice kon-expiry.timer").stdout.split() == ["active"] * 2
        )
        assert day.ssh(host, "stat -c %U /var/lib/kon").stdout.strip() == "kon", "workers are not root"

    day.play("run")
    rows = [
        RunFolder(day.folder / "out" / f"day-{name}-w3-r1").read_summary()
        for name in ("lease", "result_once")
    ]
    assert [(row["done"], row["lost"]) for row in rows] == [(180, 0)] * 2
    lives = list((day.folder / "out/day-lease-w3-r1/events").glob("w*.jsonl"))
    assert len({life.name.split(".")[0] for life in lives}) == 3, "each host has recorded its part"
    assert day.play("run").changes == [], "what is recorded is not run again"

    _disturb(day)
    _end_by_itself(day)

    gone = day.play("teardown")
    assert "Remove it" in " ".join(gone.changes)
    assert day.hosts() == []
    assert json.loads(day.operator.kon("sweep", "--json").stdout)["left"] == []
    assert day.play("teardown").changes == [], "a second time, nothing is changed"
    _check_rights()


def _check_rights() -> None:
    """Nothing was refused, as all who take part have the rights that they need; the servers do refuse."""
    assert [each for url in (API_URL, DATA_URL) for each in denied(url)] == []
    for key_id in (OPERATOR, HOSTS):
        other = boto3.Session(aws_access_key_id=key_id, aws_secret_access_key="-")
        for service, call, given in (
            ("sqs", "create_queue", {"QueueName": "foreign"}),
            ("sns", "create_topic", {"Name": "foreign"}),
        ):
            with contextlib.closing(other.client(service)) as client, pytest.raises(ClientError) as refused:
                getattr(client, call)(**given)
            assert "Denied" in refused.value.response["Error"]["Code"]


def _disturb(day: Day) -> None:
    """One host is killed, one gets a notice, one powers itself off and is replaced; nothing is lost."""
    log = day.folder / "disturbed.log"
    variables = {"experiment": str(day.folder / "disturbed.yml"), "out": str(day.folder / "disturbed")}
    killed, noticed, off = day.hosts()
    run = RunFolder(day.folder / "disturbed/disturbed-lease-w3-r1")
    play = day.operator.begin("run", log, **variables)
    until(lambda: run.results.exists() and sum(1 for _ in run.outcomes()) > 60)

    day.ec2.terminate_instances(InstanceIds=[killed["InstanceId"]])
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=2)
    notice = {"action": "terminate", "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    place = Path(os.environ["KON_LAB_HOSTS"]) / noticed["InstanceId"]
    (place / SPOT_ACTION).write_text(json.dumps(notice))
    until(lambda: day.units(noticed) == "inactive")
    assert day.units(off) == "active", "only the host that is taken back drains"
    (place / SPOT_ACTION).unlink()
    assert day.ssh(noticed, "sudo systemctl start kon-worker@day1").returncode == 0

    day.ssh(off, "sudo systemctl poweroff")
    until(lambda: off["InstanceId"] not in [host["InstanceId"] for host in day.hosts()])
    play.wait()
    row = run.read_summary()
    assert (row["tasks"], row["done"], row["lost"], row["dead"]) == (600, 600, 0, 0), log.read_text()
    assert [host["InstanceId"] for host in day.hosts()] == [noticed["InstanceId"]]


def _end_by_itself(day: Day) -> None:
    """The last host, when its time has come: without a controller. Till then its timer has let it be."""
    [host] = day.hosts()
    past = [{"Key": "ExpiresAt", "Value": "2020-01-01T00:00:00Z"}]
    day.ec2.create_tags(Resources=[host["InstanceId"]], Tags=past)
    until(lambda: not day.hosts())
