"""The lab itself: its hosts are hosts, and go when they have to. Run by `make test-fleet`, in the lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.lab.addresses import PREFIX
from tests.lab.machine import unified_cgroups

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(180)]

METADATA = "http://169.254.169.254/latest"


def until(come: Callable[[], Any], within_s: float = 60.0) -> Any:
    """What comes, once it does."""
    give_up_s = time.monotonic() + within_s
    while not (it := come()):
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
    return it


class Pair:
    """Two hosts, and a key to them."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.ec2 = boto3.client("ec2")
        self.vpc: str = self.ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.77.9.0/24")["Subnet"]["SubnetId"]
        self.ec2.import_key_pair(KeyName="pair", PublicKeyMaterial=Path(f"{self.key}.pub").read_bytes())
        made = self.ec2.run_instances(
            ImageId="ami-12c6146b",
            InstanceType="t3.micro",
            KeyName="pair",
            SubnetId=self.subnet,
            InstanceInitiatedShutdownBehavior="terminate",
            UserData="#!/bin/sh\necho once >>/var/lib/booted\n",
            MinCount=2,
            MaxCount=2,
        )["Instances"]
        self.hosts: dict[str, str] = {each["InstanceId"]: each["PrivateIpAddress"] for each in made}

    def ssh(self, name: str, command: str) -> subprocess.CompletedProcess[str]:
        options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "BatchMode=yes",
            # a host that goes away in mid-handshake never answers
            "ConnectTimeout=5",
            "ServerAliveInterval=3",
            "ServerAliveCountMax=3",
        ]
        words = [word for option in options for word in ("-o", option)]
        return subprocess.run(
            ["ssh", "-i", str(self.key), *words, f"admin@{self.hosts[name]}", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def has_booted(self, name: str) -> bool:
        return self.ssh(name, "test -e /var/lib/booted").returncode == 0

    def said(self, name: str, command: str) -> str:
        ended = self.ssh(name, command)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def state(self, name: str) -> str:
        [found] = self.ec2.describe_instances(InstanceIds=[name])["Reservations"]
        state: str = found["Instances"][0]["State"]["Name"]
        return state

    def terminate_all(self) -> None:
        self.ec2.terminate_instances(InstanceIds=list(self.hosts))
        self.ec2.delete_key_pair(KeyName="pair")
        until(lambda: not any(self.is_up(name) for name in self.hosts))
        self.ec2.delete_subnet(SubnetId=self.subnet)
        self.ec2.delete_vpc(VpcId=self.vpc)
        self.ec2.close()

    def is_up(self, name: str) -> bool:
        ping = ["ssh-keyscan", "-T", "2", "-t", "ed25519", self.hosts[name]]
        return bool(subprocess.run(ping, capture_output=True, check=False).stdout)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    try:
        for name in pair.hosts:
            until(partial(pair.has_booted, name))
        yield pair
    finally:
        pair.terminate_all()


def test_a_host_is_one_and_goes_when_it_has_to(pair: Pair) -> None:
    one, other = pair.hosts
    assert pair.said(one, "hostname") == f"ip-{pair.hosts[one].replace('.', '-')}"
    assert pair.said(one, "ps -p 1 -o comm=") == "systemd"
    until(lambda: pair.ssh(one, "systemctl is-system-running").stdout.strip() == "running")
    assert pair.said(one, "cat /var/lib/booted") == "once"
    token = f"$(curl -sX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {METADATA}/api/token)"
    ask = f'curl -s -H "X-aws-ec2-metadata-token: {token}" {METADATA}/meta-data/instance-id'
    assert [pair.said(name, ask) for name in pair.hosts] == [one, other]
    assert pair.ssh(one, f"curl -sf {METADATA}/meta-data/instance-id").returncode == 22, "version 1 is off"
    assert pair.ssh(one, f"curl -sfm 5 http://{pair.hosts[other]}:22").returncode != 28, "they see each other"

    pair.ssh(one, "sudo systemctl poweroff")
    until(lambda: pair.state(one) == "terminated")
    pair.ec2.terminate_instances(InstanceIds=[other])
    until(lambda: not pair.is_up(other))


def test_user_data_runs_at_the_first_boot_alone_and_the_disk_outlives_a_stop(pair: Pair) -> None:
    name = next(iter(pair.hosts))
    pair.said(name, "sudo touch /var/lib/kept; sync")
    pair.ec2.stop_instances(InstanceIds=[name])
    until(lambda: not pair.is_up(name))
    pair.ec2.start_instances(InstanceIds=[name])
    until(lambda: pair.ssh(name, "true").returncode == 0)
    assert pair.said(name, "cat /var/lib/booted; ls /var/lib/kept") == "once\n/var/lib/kept"


def test_a_lab_that_is_killed_takes_its_hosts_along_and_the_next_one_sweeps_the_rest(tmp_path: Path) -> None:
    """A lab in the lab would need the outer one's cgroups; its own processes are looked at instead."""
    root = unified_cgroups()
    assert root is not None
    script = tmp_path / "lab.py"
    script.write_text(
        "import sys; from tests.lab import outside\n"
        "sys.exit(outside.run(['sh', '-c', f'touch {sys.argv[1]}; sleep 600']))\n"
    )
    up = tmp_path / "up"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    lab = subprocess.Popen([sys.executable, str(script), str(up)], env=environment)
    until(up.exists)
    inside = _children(lab.pid)
    assert len(inside) >= 4, "the namespace's first process, the lab, its servers and the command"
    names = f"{PREFIX}{os.environ['KON_LAB']}.{lab.pid}-"
    (root / f"{names}left").mkdir()  # as of a host
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in inside))

    ended = subprocess.run(
        [sys.executable, "-m", "tests.lab", "--", "true"], env=environment, cwd=environment["PYTHONPATH"]
    )
    assert ended.returncode == 0
    assert not list(root.glob(f"{names}*"))


def _children(pid: int) -> list[int]:
    """All below a process."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *_children(int(child))]
    return found
