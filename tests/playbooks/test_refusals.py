"""What validate refuses, on one bare moto, before anything is made. Part of `make soak`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from kon.backends.emulator import Emulator
from tests.lab import servers
from tests.playbooks.plays import IMAGE, PROJECT
from tests.playbooks.test_provision import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, ministack: Emulator) -> Iterator[dict[str, str]]:
    """The variables that lead to an account with a quota of 32 vCPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_GAPS_VCPUS", "32")
        with servers.moto("127.0.0.1", 0, tmp_path_factory.mktemp("moto") / "log") as url:
            variables = servers.variables(url, ministack.endpoint)
            for name, value in variables.items():
                patch.setenv(name, value)
            yield variables


@pytest.fixture
def fleet(account: dict[str, str], tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, account)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"run": "Not-a-name"}, "1 to 15 small letters and digits, as in -e run=r1"),
        ({"region": "mars-north-1"}, 'The region "mars-north-1" is not one that this account can use'),
        ({"image_id": "ami-00000000000000000"}, "There is no image ami-00000000000000000"),
        (
            {"max_cost": 0.01},
            "2 x t3.micro for 4 h are $ 0.1363 (with disks of 15 GB, public addresses; prices of us-east-1",
        ),
        ({"instance_type": "t9.huge"}, 'there is no instance type "t9.huge"'),
        (
            {"workers": 17},
            "17 x t3.micro are 34 vCPUs, and the quota of us-east-1 leaves 32: ask for fewer with "
            '-e workers=..., or have the quota "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) '
            'instances" raised. Nothing was made',
        ),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_made(
    fleet: Fleet, variables: dict[str, Any], said: str
) -> None:
    play = fleet.operator.play("provision", **variables)
    assert play.exit_code == 2
    assert said in play.said
    assert fleet.left() == []


def test_as_many_as_the_quota_leaves_are_not_refused(fleet: Fleet) -> None:
    play = fleet.operator.play("validate", workers=16)
    assert play.exit_code == 0, play.output


def test_without_credentials_it_says_what_to_do(fleet: Fleet) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del fleet.operator.environment[name]
    play = fleet.operator.play("validate")
    assert play.exit_code == 2
    assert "AWS does not know us: Unable to locate credentials. Set AWS_PROFILE" in play.said


def test_a_key_that_others_can_read_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    key = tmp_path / "open"
    key.write_text("-")
    key.chmod(0o644)
    play = fleet.operator.play("validate", ssh_key=str(key))
    assert play.exit_code == 2
    assert f"{key} can be read by others (mode 0644), and ssh refuses such a key: chmod 600" in play.said


def test_a_key_that_can_not_be_written_is_told_before_anything_is_made(fleet: Fleet) -> None:
    """As in a checkout that may only be read."""
    play = fleet.operator.play("provision", ssh_key="/dev/null/keys/key")
    assert play.exit_code == 2
    assert "written to /dev/null/keys/key: /dev/null takes no files. Name another place" in play.said
    assert fleet.left() == []


def test_a_name_that_is_anothers_is_refused_and_left_alone(fleet: Fleet) -> None:
    iam = boto3.client("iam")
    iam.create_role(RoleName="konf-bare-us-east-1", AssumeRolePolicyDocument="{}")
    play = fleet.operator.play("validate")
    assert play.exit_code == 2
    assert "There is a role konf-bare-us-east-1 that is not kon's" in play.said
    gone = fleet.operator.play("teardown")
    assert (gone.exit_code, gone.changes) == (0, []), "a fleet that never was"
    assert iam.get_role(RoleName="konf-bare-us-east-1")
    iam.delete_role(RoleName="konf-bare-us-east-1")
    iam.close()


def test_a_broken_inventory_tears_no_fleet_down(fleet: Fleet, tmp_path: Path) -> None:
    """It names no host, which says nothing of those that are there."""
    inventory = tmp_path / "inventory"
    shutil.copytree(PROJECT / "inventory", inventory)
    file = inventory / "kon.aws_ec2.yml"
    file.write_text(file.read_text().replace("ec2_tags.User | default('admin')", "no_such_variable"))
    assert "no_such_variable" in file.read_text()
    ec2 = boto3.client("ec2", "us-east-1")
    tags = {"Project": "kon", "Run": "r1", "Role": "worker"}
    [host] = ec2.run_instances(
        ImageId=IMAGE,
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
        ],
    )["Instances"]
    fleet.operator.inventory = str(file)
    play = fleet.operator.play("configure", run="r1")
    [there] = ec2.describe_instances(InstanceIds=[host["InstanceId"]])["Reservations"][0]["Instances"]
    ec2.terminate_instances(InstanceIds=[host["InstanceId"]])
    assert play.exit_code == 2
    assert "The inventory names no host of the fleet r1, and nothing was touched" in play.said
    assert there["State"]["Name"] == "running"
