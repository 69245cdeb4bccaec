"""What the fleet's day leaves out, on real hosts: site, scale and bake, check mode, hosts that were there
before, hosts that are broken. `make test-fleet ARGS='-m fleet'` runs these too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kon.engine.records.records import RunFolder
from tests.playbooks.test_fleet_day import Day, until

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

SMALL = "name: small\nworkload: {kind: sleep, count: 20, seconds: 0.05, per: worker}\nvisibility_s: 4\n"


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    (tmp_path / "small.yml").write_text(SMALL)
    day = Day(tmp_path)
    day.operator.variables |= {"workers": 1, "experiment": str(tmp_path / "small.yml")}
    yield day
    day.clear()


def test_site_then_an_image_of_it_then_more_and_fewer_hosts(day: Day) -> None:
    dry = day.play("site", "--check")
    assert day.hosts() == [], "check mode makes nothing"
    assert "1 x t3.micro in us-east-1" in dry.said
    assert "Make all else" in dry.changes
    day.play("site")
    assert RunFolder(day.folder / "out/small-lease-w1-r1").read_summary()["done"] == 20
    for playbook in ("provision", "configure"):
        dry = day.play(playbook, "--check")
        assert dry.changes == [], f"{playbook} has nothing left to do, and says so in check mode"
    assert day.play("site").changes == []

    made = day.play("bake")
    assert "image : Make the image" in made.changes
    assert day.play("bake").changes == [], "a second time, the image is there"
    [image] = day.ec2.describe_images(Owners=["self"])["Images"]
    day.play("scale", workers=2, image_id=image["ImageId"])
    assert len(day.hosts()) == 2
    again = day.play("scale", workers=2, image_id=image["ImageId"])
    assert again.changes == []
    newer = {host["ImageId"]: host for host in day.hosts()}[image["ImageId"]]
    assert day.ssh(newer, "systemctl is-active kon-expiry.timer").stdout.strip() == "active"
    day.play("scale", workers=1)
    assert len(day.hosts()) == 1
    assert day.play("scale", workers=1).changes == []

    day.play("teardown")
    left = json.loads(day.operator.kon("sweep", "--json", "--region", "us-east-1").stdout)["left"]
    assert {each["kind"] for each in left} == {"image", "snapshot"}, "an image outlives its fleet"
    assert day.operator.kon("sweep", "--all", "--yes", "--region", "us-east-1").returncode == 0
    assert day.ec2.describe_images(Owners=["self"])["Images"] == []


def test_a_second_call_takes_no_workers_from_the_first(day: Day, tmp_path: Path) -> None:
    """It stopped them at its end, and the first run stood still, with its hosts on the bill."""
    long = (
        (tmp_path / "small.yml")
        .read_text()
        .replace("name: small", "name: long")
        .replace("count: 20", "count: 300")
        .replace("0.05", "0.5")
    )
    (tmp_path / "long.yml").write_text(long)
    (tmp_path / "other.yml").write_text(long.replace("name: long", "name: other"))
    day.play("provision")
    day.play("configure")
    run = RunFolder(day.folder / "out/long-lease-w1-r1")
    first = day.operator.begin("run", tmp_path / "log", experiment=str(tmp_path / "long.yml"))
    until(lambda: run.results.exists() and sum(1 for _ in run.outcomes()) > 5)
    [host] = day.hosts()
    started = day.ssh(host, "systemctl show -p InvocationID kon-worker@day1").stdout
    for file, out, said in (
        ("long", "out", "kon run ended with exit code 2"),
        ("long", "elsewhere", "kon run ended with exit code"),
        ("other", "others", "it works on long-lease-w1-r1, of another call"),
    ):
        second = day.operator.play("run", experiment=str(tmp_path / f"{file}.yml"), out=str(tmp_path / out))
        assert second.exit_code == 2, second.output
        assert said in second.said, second.output
        assert day.ssh(host, "systemctl show -p InvocationID kon-worker@day1").stdout == started
    assert day.units(host) == "active"
    baked = day.operator.play("bake")
    assert baked.exit_code == 2, baked.output
    assert "kon-worker@day1.service is at work" in baked.said
    assert first.wait() == 0, (tmp_path / "log").read_text()
    assert run.read_summary()["done"] == 300
    assert day.units(host) == "inactive"
    day.play("teardown")


def test_hosts_that_were_there_before_are_a_fleet_too(day: Day) -> None:
    """As with inventory/ssh.example.yml: no inventory of EC2's, and credentials in a file."""
    day.play("provision", workers=2, experiment="")
    hosts = day.hosts()
    until(lambda: all(day.ssh(host, "true").returncode == 0 for host in hosts))
    aws = {name: value for name, value in day.operator.environment.items() if name.startswith("AWS_")}
    lines = "".join(f"{name}={value}\n" for name, value in aws.items() if not name.endswith("_FILE"))
    for host in hosts:
        put = f"sudo mkdir -p /etc/kon && echo '{lines}' | sudo tee /etc/kon/aws.env"
        assert day.ssh(host, put).returncode == 0
    example = yaml.safe_load(Path("inventory/ssh.example.yml").read_text())
    example["all"]["vars"] |= {
        "ansible_ssh_private_key_file": str(day.folder / "keys/key"),
        "ansible_ssh_common_args": f"-o StrictHostKeyChecking=no -o UserKnownHostsFile={day.folder}/pcs",
    }
    pcs = {f"pc{number}": {"ansible_host": host["PrivateIpAddress"]} for number, host in enumerate(hosts, 1)}
    example["all"]["children"]["workers"]["children"]["run_lab"]["hosts"] = pcs
    (day.folder / "lab.yml").write_text(yaml.safe_dump(example))
    # the variables of group_vars are read from beside an inventory
    (day.folder / "group_vars").symlink_to(Path("inventory/group_vars").resolve())
    day.operator.inventory = str(day.folder / "lab.yml")

    dry = day.play("configure", "--check", run="lab")
    assert "Install kon" in " ".join(dry.changes)
    assert day.ssh(hosts[0], "test -e /opt/kon").returncode == 1, "check mode installs nothing"
    day.play("configure", run="lab")
    assert day.play("configure", run="lab").changes == []
    small = {"run": "lab", "set": ["workers=2"], "min_workers": 2}
    day.play("run", **small)
    row = RunFolder(day.folder / "out/small-lease-w2-r1").read_summary()
    assert (row["done"], row["worker_lives"]) == (40, 2)
    assert day.play("run", **small).changes == []
    assert day.play("fetch", **small).changes == [], "what `run` has fetched is there"
    day.operator.inventory = type(day.operator).inventory


def test_broken_hosts_are_left_out_while_enough_are_well_and_else_all_stays(day: Day) -> None:
    day.play("provision", workers=3, experiment="")
    silent, locked, well = day.hosts()
    until(lambda: all(day.ssh(host, "true").returncode == 0 for host in (silent, locked, well)))
    # it answers no more, like one that never came up; sessions that are open end with it
    assert day.ssh(silent, "sudo systemctl mask --now ssh.service ssh.socket").returncode == 0
    lock = "import fcntl, time; file = open('/var/lib/dpkg/lock-frontend', 'w')"
    lock += "; fcntl.lockf(file, fcntl.LOCK_EX); open('/run/held', 'w'); time.sleep(600)"
    hold = f'sudo systemd-run --unit hold-apt python3 -c "{lock}"'
    assert day.ssh(locked, hold).returncode == 0
    until(lambda: day.ssh(locked, "test -e /run/held").returncode == 0)
    few = {"workers": 3, "packages": ["jq"], "up_s": 8}

    play = day.play("configure", min_workers=1, **few)
    assert f"{silent['InstanceId']} is left out: it does not answer by SSH within 8 s" in play.said
    assert f"{locked['InstanceId']} is left out: " in play.said
    assert "lock" in play.said.partition(f"{locked['InstanceId']} is left out: ")[2][:300]
    assert day.ssh(well, "which jq; test -e /opt/kon/current/installed").returncode == 0
    assert len(day.hosts()) == 3

    play = day.operator.play("configure", min_workers=2, **few)
    assert play.exit_code == 2
    assert "1 of 3 hosts of the fleet day1 are ready, and min_workers is 2" in play.said
    assert len(day.hosts()) == 3, "what was there before is never ended"
    play = day.operator.play("scale", min_workers=2, **{**few, "workers": 4})
    assert play.exit_code in (0, 2), play.output
    assert {silent["InstanceId"], locked["InstanceId"]} <= {host["InstanceId"] for host in day.hosts()}


def test_a_host_that_kon_does_not_run_on_is_left_out_with_what_it_said(day: Day) -> None:
    day.play("provision", workers=1, experiment="")
    [host] = day.hosts()
    until(lambda: day.ssh(host, "true").returncode == 0)
    full = "sudo mkdir -p /opt/kon && sudo mount -t tmpfs -o size=1m tmpfs /opt/kon"
    assert day.ssh(host, full).returncode == 0
    play = day.operator.play("configure", min_workers=1)
    assert play.exit_code == 2
    assert "No space left on device" in play.said or "Cannot write" in play.said
    assert len(day.hosts()) == 1, "it was there before"


def test_a_run_whose_fleet_is_removed_ends_and_makes_nothing_anew(day: Day) -> None:
    """By a colleague, at another machine: what is recorded till then is there."""
    (day.folder / "long.yml").write_text(SMALL.replace("small", "long").replace("20", "100000"))
    day.play("provision")
    day.play("configure")
    log = day.folder / "log"
    run = RunFolder(day.folder / "out/long-lease-w1-r1")
    play = day.operator.begin("run", log, experiment=str(day.folder / "long.yml"))
    until(lambda: play.poll() is not None or (run.results.exists() and sum(1 for _ in run.outcomes()) > 20))
    assert play.poll() is None, log.read_text()
    day.play("teardown")
    until(lambda: play.poll() is not None, within_s=900)
    said = log.read_text()
    assert play.returncode == 2, said
    assert "Traceback" not in said, said
    assert sum(1 for _ in run.outcomes()) > 20
    assert json.loads(day.operator.kon("sweep", "--json", "--region", "us-east-1").stdout)["left"] == []
