"""Playbooks for EC2 on a bare moto, without root and hosts: what they make, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from kon.backends.emulator import Emulator
from tests.cli.given import invoke
from tests.lab import servers
from tests.playbooks.plays import PROJECT, Ansible, Operator

pytestmark = pytest.mark.timeout(600)

SWEEP = ["sweep", "--fleet", "bare", "--region", "us-east-1", "--json"]

EXPERIMENT = "name: tiny\nworkload: {kind: sleep, count: 1, seconds: 0}\n"


class Fleet:
    """An operator, and an account of nobody's."""

    def __init__(self, folder: Path, variables: dict[str, str], ansible: Ansible | None = None) -> None:
        (folder / "tiny.yml").write_text(EXPERIMENT)
        self.operator = Operator(
            folder,
            variables,
            run="bare",
            region="us-east-1",
            ssh_from="203.0.113.7",
            experiment=str(folder / "tiny.yml"),
            # moto's hosts have addresses of other people's
            ansible_host="127.0.0.1",
            ansible_port=1,
        )
        self.operator.ansible = ansible

    def left(self) -> list[dict[str, Any]]:
        left: list[dict[str, Any]] = []
        for _ in range(3):  # Amazon's lists and tags lag, and so do the emulator's
            left = json.loads(invoke(*SWEEP).stdout)["left"]
        return left


@pytest.fixture
def fleet(
    tmp_path: Path, ministack: Emulator, ansible: Ansible, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    with servers.moto("127.0.0.1", 0, tmp_path / "moto.log") as url:
        variables = servers.variables(url, ministack.endpoint)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield Fleet(tmp_path, variables, ansible)


@pytest.mark.long
def test_a_fleet_is_made_once_and_removed_whole(fleet: Fleet) -> None:
    first = fleet.operator.play("provision")
    assert first.exit_code == 0, first.output
    assert {"instance", "queue", "table"} < {each["kind"] for each in fleet.left()}
    second = fleet.operator.play("provision")
    assert (second.exit_code, second.changes) == (0, []), second.output
    _check_keys(fleet, fleet.operator.folder)
    keys = fleet.operator.folder / ".kon/keys"
    keys.mkdir(parents=True)
    for name in ("bare", "bare.pub", "barely"):
        (keys / name).touch()
    project = str(fleet.operator.folder)
    del fleet.operator.variables["region"]  # of one that is said, hosts elsewhere may go by the key
    would = fleet.operator.play("teardown", "--check", project=project)
    assert would.changes == ["sweep : Look for what is there", "Remove its key"], would.output
    gone = fleet.operator.play("teardown", project=project)
    assert gone.exit_code == 0, gone.output
    assert [each.name for each in keys.iterdir()] == ["barely"]
    assert fleet.left() == []
    (keys / "bare").touch()
    elsewhere = fleet.operator.play("teardown", project=project)
    assert (elsewhere.exit_code, elsewhere.changes) == (0, []), elsewhere.output
    assert "keys/bare stays: nothing of the fleet was there" in elsewhere.said, "another account may have it"
    assert (keys / "bare").exists()
    assert json.loads(fleet.operator.kon(*SWEEP).stdout)["left"] == [], "nor for a process of its own"


@pytest.mark.slow
def test_a_fleet_that_lets_nobody_in_is_left_as_it_is_and_removed_once(fleet: Fleet) -> None:
    first = fleet.operator.play("provision")
    assert first.exit_code == 0, first.output
    left = fleet.left()
    assert {each["kind"] for each in left} == {
        *("security group", "key pair", "role", "instance profile", "launch template", "instance", "volume"),
        *("queue", "table", "bucket", "parameter"),
    }
    assert all(each["expires_at"] for each in left), "each has its tags from its creation"
    second = fleet.operator.play("provision")
    assert (second.exit_code, second.changes) == (0, []), second.output
    _check_connections(fleet)
    _check_addresses(fleet)
    none = fleet.operator.play("fetch")
    assert (none.exit_code, "Nothing was fetched: none of the 2 hosts was reached" in none.said) == (2, True)
    locked = fleet.operator.play("configure", up_s=1)
    assert locked.exit_code == 2, locked.output
    assert "0 of 2 hosts of the fleet bare are ready, and all have to be" in locked.said, locked.output
    assert "Everything else is left as it is" in locked.said
    ids = {each["id"] for each in left}
    assert {each["id"] for each in fleet.left()} == ids, "a fleet that does not let us in is left as it is"
    fewer = fleet.operator.play("scale", workers=1, up_s=1)
    assert fewer.exit_code == 2, "the host that stays does not let us in either"
    assert len([each for each in fleet.left() if each["kind"] == "instance"]) == 1
    more = fleet.operator.play("scale", workers=2, up_s=1)
    assert more.exit_code == 2
    assert "Of those that were made just now, i-" in more.said
    assert len([each for each in fleet.left() if each["kind"] == "instance"]) == 1, "that of this call alone"
    gone = fleet.operator.play("teardown")
    assert gone.exit_code == 0, gone.output
    assert fleet.left() == []
    again = fleet.operator.play("teardown")
    assert (again.exit_code, again.changes) == (0, []), again.output


def _check_connections(fleet: Fleet) -> None:
    """Amazon gives an address to another host later: a connection is shared by a host's id, and its key."""
    hosts = [_inventory(fleet, KON_SSH_KEY=key) for key in ("one", "two")]
    paths = {str(each["ansible_control_path"]) for both in hosts for each in both.values()}
    assert len(paths) == 4, "of two hosts, with two keys"


def _check_keys(fleet: Fleet, folder: Path) -> None:
    """A playbook may be called in any folder: ssh would look for the key in that one."""
    ssh, calls = folder / "ssh", folder / "calls"
    ssh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{calls}\nexit 255\n')
    ssh.chmod(0o700)
    said = {**fleet.operator.variables, "run": "bare", "up_s": 1, "ansible_ssh_executable": str(ssh)}
    subprocess.run(
        [
            *(
                Path(sys.executable).with_name("ansible-playbook"),
                "-i",
                PROJECT / Operator.inventory,
                "--check",
            ),
            *(PROJECT / "playbooks/configure.yml", "-e", json.dumps(said)),
        ],
        cwd=folder,
        env=fleet.operator.environment,
        capture_output=True,
        check=False,
    )
    words = calls.read_text().splitlines()
    assert f'IdentityFile="{PROJECT}/.kon/keys/bare"' in words
    assert f'UserKnownHostsFile="{PROJECT}/.kon/keys/bare.known_hosts"' in words


def _inventory(fleet: Fleet, **environment: str) -> dict[str, dict[str, Any]]:
    """What it says of each host."""
    ended = subprocess.run(
        [Path(sys.executable).with_name("ansible-inventory"), "-i", Operator.inventory, "--list"],
        cwd=PROJECT,
        env={**fleet.operator.environment, **environment},
        capture_output=True,
        check=True,
    )
    said: dict[str, dict[str, Any]] = json.loads(ended.stdout)["_meta"]["hostvars"]
    return said


def _check_addresses(fleet: Fleet) -> None:
    """A mistyped word is no address: no host has one then, and none is gone to."""
    for word, key in (("", "public_ip_address"), ("private", "private_ip_address"), ("id", "instance_id")):
        hosts = _inventory(fleet, KON_ADDRESS=word)
        assert len(hosts) == 2
        assert all(each["ansible_host"] == each[f"ec2_{key}"] for each in hosts.values())
    assert _inventory(fleet, KON_ADDRESS="privat") == {}


@pytest.mark.slow
def test_with_all_that_can_be_asked_for_and_in_check_mode(fleet: Fleet) -> None:
    everything = {"own_network": True, "alarm_mail": "me@example.org", "spot": True}
    dry = fleet.operator.play("provision", "--check", **everything)
    assert dry.exit_code == 0, dry.output
    dry = fleet.operator.play("site", "--check", min_workers=1, **everything)
    assert dry.exit_code == 0, dry.output
    assert fleet.left() == [], "check mode makes nothing"
    first = fleet.operator.play("provision", **everything)
    assert first.exit_code == 0, first.output
    left = fleet.left()
    assert {each["kind"] for each in left} == {
        *("VPC", "subnet", "internet gateway", "security group", "key pair", "role"),
        *("instance profile", "launch template", "instance", "volume", "alarm", "topic", "queue", "table"),
        *("bucket", "parameter"),
    }
    assert len({each["expires_at"] for each in left if each["run"] == "bare"}) == 1
    _check_hosts()
    second = fleet.operator.play("provision", **everything)
    assert (second.exit_code, second.changes) == (0, []), second.output
    dry = fleet.operator.play("provision", "--check", **everything)
    assert (dry.exit_code, dry.changes) == (0, []), dry.output
    assert fleet.operator.play("teardown").exit_code == 0
    assert fleet.left() == []


def _check_hosts() -> None:
    ec2 = boto3.client("ec2")
    [reservation] = ec2.describe_instances()["Reservations"]
    assert len(reservation["Instances"]) == 2
    for host in reservation["Instances"]:
        assert host["MetadataOptions"]["HttpTokens"] == "required"
        assert host["InstanceLifecycle"] == "spot"
        attribute = "instanceInitiatedShutdownBehavior"
        said = ec2.describe_instance_attribute(InstanceId=host["InstanceId"], Attribute=attribute)
        assert said["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    assert all(disk["Encrypted"] for disk in ec2.describe_volumes()["Volumes"])
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["konf-bare"]}])
    [rule] = groups["SecurityGroups"][0]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
    assert [each["CidrIp"] for each in rule["IpRanges"]] == ["203.0.113.7/32"], "one address, and no other"
    ec2.close()


@pytest.mark.slow
def test_what_is_left_anywhere_is_told_and_removed_only_when_confirmed(fleet: Fleet) -> None:
    tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "Project", "Value": "kon"}]}]
    ec2 = boto3.client("ec2", region_name="eu-west-1")
    ec2.create_key_pair(KeyName="forgotten", TagSpecifications=tags)
    everybodys = Operator(fleet.operator.folder, fleet.operator.environment)  # names no run and no region
    found = everybodys.play("sweep")
    assert found.exit_code == 2, found.output
    assert "eu-west-1 key pair forgotten" in found.said
    assert "-e confirm=true removes it" in found.said
    removed = everybodys.play("sweep", confirm="yes", all=True)
    assert removed.exit_code == 0, removed.output
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    ec2.close()
