"""`kon autoscale` on a bare moto: which hosts it makes, drains and ends, and which it leaves alone."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from botocore.client import BaseClient
from click.testing import CliRunner, Result

from kon.backends.prices import usual_prices
from kon.cli.group import kon
from kon.core.errors import BackendUnavailable, ConfigurationError, WorkersFailed
from kon.fleet.autoscale.demand import Left
from kon.fleet.autoscale.hosts import Ec2Hosts, FleetHost
from kon.fleet.autoscale.loop import Autoscaler, Look
from kon.fleet.autoscale.policy import Policy
from tests.fleet.autoscale.conftest import HOST_TAGS, RUN, Fleet
from tests.fleet.conftest import listed

POLICY = Policy(max_hosts=3, target_s=100.0, down_after_s=0.0, down_cooldown_s=0.0, up_cooldown_s=0.0)


class Scaler:
    """An autoscaler whose clock and demand are the test's own."""

    def __init__(self, fleet: Fleet, policy: Policy = POLICY, dry_run: bool = False) -> None:
        self.now_s = time.time()
        self.work_s: float | None = 0.0
        hosts = Ec2Hosts(fleet.aws, "r1")
        self.scaler = Autoscaler(
            policy, usual_prices(), hosts, fleet.bucket, self._left, lambda: self.now_s, dry_run
        )

    async def _left(self) -> Sequence[Left]:
        if self.work_s is None:
            raise BackendUnavailable("SQS asks for fewer requests")
        return [Left(RUN, 1, 0, self.work_s, 0)] if self.work_s else []

    def begin(self) -> Scaler:
        asyncio.run(self.scaler.begin())
        return self

    def look(self, work_s: float | None, after_s: float = 1.0) -> Look:
        self.work_s, self.now_s = work_s, self.now_s + after_s
        return asyncio.run(self.scaler.look())


@pytest.fixture
def made(fleet: Fleet) -> Fleet:
    """With all that hosts need."""
    fleet.make()
    fleet.begin_run()
    fleet.equip()
    return fleet


@pytest.mark.long
def test_hosts_are_those_of_the_launch_template_and_configure_themselves(made: Fleet) -> None:
    look = Scaler(made).begin().look(250.0)
    hosts = made.hosts()
    assert [len(look.made), len(hosts)] == [3, 3]
    tags = [made.tags(host) for host in hosts]
    assert all(HOST_TAGS.items() <= each.items() for each in tags), "or nobody finds them"
    assert {each["Number"] for each in tags} == {"1001", "1002", "1003"}
    attribute = made.ec2.describe_instance_attribute(InstanceId=hosts[0]["InstanceId"], Attribute="userData")
    script = base64.b64decode(attribute["UserData"]["Value"]).decode()
    assert script.startswith("#!/bin/sh\necho expiry\n"), "what the template has them do comes first"
    assert f".fleet/hosts/{tags[0]['Mark']}" in script
    assert ".fleet/d1.tar?" in script
    assert "for each in ffmpeg; do" in script
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0


def test_a_host_is_made_where_there_is_room(made: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    subnets = made.ec2.describe_subnets()["Subnets"][:2]
    [template] = made.ec2.describe_launch_templates()["LaunchTemplates"]
    places = {"Types": "t3.micro t3a.micro", "Subnets": " ".join(each["SubnetId"] for each in subnets)}
    tags = [{"Key": key, "Value": value} for key, value in places.items()]
    made.ec2.create_tags(Resources=[template["LaunchTemplateId"]], Tags=tags)
    original, tokens = BaseClient._make_api_call, list[str]()

    def full(self: Any, operation: str, given: dict[str, Any]) -> Any:
        if operation == "RunInstances":
            tokens.append(given["ClientToken"])
            if given["InstanceType"] == "t3.micro":
                error = {"Error": {"Code": "InsufficientInstanceCapacity", "Message": "-"}}
                raise botocore.exceptions.ClientError(error, operation)
        return original(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", full)
    Scaler(made).begin().look(100.0)
    [host] = made.hosts()
    assert (host["InstanceType"], host["SubnetId"]) == ("t3a.micro", subnets[0]["SubnetId"])
    assert len(set(tokens)) == 3, "each place is a request of its own"


def test_it_goes_on_where_another_stood(made: Fleet) -> None:
    Scaler(made).begin().look(100.0)
    look = Scaler(made).begin().look(200.0)
    assert (look.hosts, look.booting, len(look.made)) == (1, 1, 1)
    assert {made.tags(host)["Number"] for host in made.hosts()} == {"1001", "1002"}


def test_who_goes_is_told_by_a_tag_and_terminated_if_it_does_not(made: Fleet) -> None:
    scaler = Scaler(made).begin()
    scaler.look(300.0)
    first, second, third = made.hosts()
    made.says(first, "ready")
    made.says(second, "ready")
    scaler.look(300.0)
    told = scaler.look(150.0)
    assert told.drained == [third["InstanceId"]], "the one that does nothing yet"
    assert [("Drain" in made.tags(host)) for host in made.hosts()] == [False, False, True]
    assert len(made.hosts()) == 3, "it ends itself, once it has drained"
    again = scaler.look(150.0, 100.0)
    assert (again.draining, again.ended) == (1, [])
    stubborn = scaler.look(150.0, 100.0)
    assert stubborn.ended == [third["InstanceId"]]
    assert "did not drain within 150 s: terminated" in stubborn.notes[0]


def test_a_host_that_fails_to_boot_while_it_drains_is_ended_at_once(made: Fleet) -> None:
    scaler = Scaler(made).begin()
    scaler.look(300.0)
    assert len(scaler.look(0.0).drained) == 3, "before any of them has said a word"
    ready, *failed = made.hosts()
    made.says(ready, "ready")
    for host in failed:
        made.says(host, "failed: told to stop")
    look = scaler.look(0.0)
    assert look.ended == [host["InstanceId"] for host in failed]
    assert "never came to work, so nothing drains: failed: told to stop: terminated" in look.notes[0]
    scaler.look(100.0)
    made.says(made.hosts()[-1], "failed: a real one")
    assert len(scaler.look(100.0).ended) == 1, "the third that failed, but the first that does not come up"


def test_a_host_that_never_works_is_ended_and_told_of(made: Fleet) -> None:
    scaler = Scaler(made).begin()
    scaler.look(200.0)
    one, other = made.hosts()
    made.says(one, "failed: E: Unable to locate package ffmpg")
    look = scaler.look(200.0)
    assert look.ended == [one["InstanceId"]]
    assert "is broken: failed: E: Unable to locate package ffmpg: terminated" in look.notes[0]
    assert len(look.made) == 1, "another one comes in its place"
    made.says(made.hosts()[-1], "ready")
    late = scaler.look(200.0, 700.0)
    assert late.ended == [other["InstanceId"]]
    assert "it said nothing within 600 s" in late.notes[0]


def test_after_three_in_a_row_no_more_are_made(made: Fleet) -> None:
    scaler = Scaler(made).begin()
    scaler.look(300.0)
    for host in made.hosts():
        made.says(host, "failed: no network")
    with pytest.raises(WorkersFailed, match="3 hosts in a row never came to work"):
        scaler.look(300.0)
    assert made.hosts() == [], "none is left, and none was made"


def test_others_hosts_are_not_counted_and_not_touched(made: Fleet) -> None:
    for tags in ({**HOST_TAGS, "Run": "r12"}, {**HOST_TAGS, "Project": "another"}, {}):
        made.ec2.run_instances(
            ImageId="ami-12c6146b",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": listed({"x": "y", **tags})}],
        )
    scaler = Scaler(made).begin()
    assert scaler.look(0.0).hosts == 0
    scaler.look(100.0)
    scaler.look(0.0)
    assert len(made.hosts()) == 4
    drained = [host for host in made.hosts() if "Drain" in made.tags(host)]
    assert [made.tags(host)["Run"] for host in drained] == ["r1"]


def test_hosts_that_ansible_has_configured_count(made: Fleet) -> None:
    made.ec2.run_instances(
        ImageId="ami-12c6146b",
        MinCount=2,
        MaxCount=2,
        TagSpecifications=[{"ResourceType": "instance", "Tags": listed(HOST_TAGS)}],
    )
    look = Scaler(made).begin().look(300.0)
    assert (look.hosts, look.booting, len(look.made)) == (2, 0, 1)


def test_where_nothing_is_known_hosts_stay(made: Fleet) -> None:
    scaler = Scaler(made).begin()
    scaler.look(200.0)
    for _ in range(5):
        blind = scaler.look(None, 1_000.0)
        assert (blind.made, blind.drained, blind.ended) == ([], [], [])
        assert blind.notes == [
            "SQS asks for fewer requests; the fleet is left as it is, and looked at again in 30 s"
        ]
    assert len(made.hosts()) == 2


def test_where_ec2_makes_none_it_is_tried_again(made: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any) -> str:
        told = {"Error": {"Code": "InsufficientInstanceCapacity", "Message": "none left"}}
        raise botocore.exceptions.ClientError(told, "RunInstances")

    scaler = Scaler(made).begin()
    with monkeypatch.context() as without:
        without.setattr(Ec2Hosts, "launch", refused)
        look = scaler.look(200.0)
    assert (look.made, made.hosts()) == ([], [])
    said = "InsufficientInstanceCapacity: none left; 2 hosts not made now, and tried again"
    assert said in look.notes[0]
    assert len(scaler.look(200.0).made) == 2


def test_a_dry_run_does_nothing(made: Fleet) -> None:
    look = Scaler(made, dry_run=True).begin().look(300.0)
    assert (look.change, look.made, made.hosts()) == (3, [], [])
    scaler = Scaler(made).begin()
    scaler.look(100.0)
    [host] = made.hosts()
    made.says(host, "failed: x")
    dry = Scaler(made, dry_run=True).begin().look(0.0)
    assert "would be terminated" in dry.notes[0]
    assert len(made.hosts()) == 1


def test_of_two_at_once_one_ends_before_it_does_anything(made: Fleet) -> None:
    one, other = Scaler(made).begin(), Scaler(made)
    other.scaler._bucket = type(made.bucket)(made.aws, "r1")
    other.begin()
    one.look(100.0)
    with pytest.raises(ConfigurationError, match="another `kon autoscale` is at work on the fleet r1"):
        other.look(300.0)
    assert len(made.hosts()) == 1


def test_never_beyond_max_cost_and_then_none_is_left(made: Fleet) -> None:
    scaler = Scaler(made, Policy(max_hosts=3, max_cost=0.01, up_cooldown_s=0.0)).begin()
    assert len(scaler.look(1e6).made) == 3
    for host in made.hosts():
        made.says(host, "ready")
    look = scaler.look(1e6, 3_000.0)
    assert (look.spent, len(look.drained)) == (True, 3)
    assert Scaler(made, Policy(max_hosts=3, max_cost=0.01)).begin().look(1e6).made == [], "nor by the next"


def test_what_no_host_could_live_with_is_refused(fleet: Fleet) -> None:
    with pytest.raises(ConfigurationError, match="there is no launch template konf-r1 in us-east-1"):
        Scaler(fleet).begin()
    fleet.make()
    with pytest.raises(ConfigurationError, match="its bucket has no equipment"):
        Scaler(fleet).begin().look(100.0)
    assert fleet.hosts() == []


def test_a_template_without_the_fleets_tags_is_refused(fleet: Fleet) -> None:
    fleet.make(Project="another")
    with pytest.raises(ConfigurationError, match="nobody would find them again: nothing is made"):
        Scaler(fleet).begin()


def test_a_fleet_whose_time_has_passed_gets_no_hosts(fleet: Fleet) -> None:
    fleet.make(ExpiresAt="2020-01-01T00:00:00Z")
    with pytest.raises(ConfigurationError, match=r"ExpiresAt 2020-01-01T00:00:00Z\) has passed"):
        Scaler(fleet).begin()


def test_nobody_is_told_to_go_without_a_name(fleet: Fleet) -> None:
    hosts = Ec2Hosts(fleet.aws, "r1")
    nobody: list[FleetHost] = []
    hosts.drain(nobody, 0.0)
    hosts.terminate(nobody)
    with pytest.raises(ConfigurationError, match="1 to 15 small letters"):
        Ec2Hosts(fleet.aws, "")


# --- as a command ---------------------------------------------------------------------------------------


def autoscale(fleet: Fleet, policy: str, *options: str) -> Result:
    file = fleet.folder / "policy.yml"
    file.write_text(policy)
    words = ["autoscale", "r1", "--policy", str(file), "--region", "us-east-1", *options]
    return CliRunner().invoke(kon, words, catch_exceptions=False)


def test_what_is_queued_brings_hosts(made: Fleet) -> None:
    made.queue(7)
    result = autoscale(made, "max_hosts: 9\ntask_s: 10\ntarget_s: 20\n", "--once", "--json")
    assert result.exit_code == 0, result.output
    look = json.loads(result.stdout)
    assert (look["messages"], look["work_s"], look["wanted"], len(made.hosts())) == (7, 70.0, 4, 4)
    text = autoscale(made, "max_hosts: 9\ntask_s: 10\ntarget_s: 20\n", "--once", "--dry-run")
    assert "4 hosts (4 booting); 7 queued, 0 held: stays: 70 s of work in 20 s" in text.stdout


def test_exit_code_4_once_the_money_is_spent(made: Fleet) -> None:
    made.queue(5)
    assert autoscale(made, "max_hosts: 2\nmax_cost: 0.0001\n", "--once").exit_code == 4
    assert made.hosts() == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), pytest.param(signal.SIGINT, 130, marks=pytest.mark.long)]
)
def test_a_signal_ends_it_and_no_host(made: Fleet, tmp_path: Path, number: int, code: int) -> None:
    made.queue(3)
    file = tmp_path / "policy.yml"
    file.write_text("max_hosts: 2\n")
    words = [str(Path(sys.executable).with_name("kon")), "autoscale", "r1", "--policy", str(file), "--json"]
    process = subprocess.Popen(
        words, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["made"]
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert "hosts that are there stay" in said
    assert len(made.hosts()) == 1
