"""A fleet under Amazon's own rules: what is made is listed late, and rights are the documented ones."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, Emulator, Settings
from kon.backends.emulator.strict import RULES
from kon.backends.emulator.strict import late as late_rules
from kon.backends.emulator.strict.rules import Rule
from kon.backends.prices import usual_prices
from kon.fleet.build import Wanted, Work, build, end_hosts
from kon.fleet.clients import Clients
from kon.fleet.sweep import remove
from kon.fleet.thing import Filter
from tests.emulators import anew, as_anybody
from tests.fleet.build.conftest import IMAGE, KEY

RIGHTS = Settings(policies={KEY_ID: [policy("controller", "konf"), policy("client", "konf-r1")]})


@pytest.fixture
def amazon(moto: Emulator) -> Iterator[Emulator]:
    with anew(moto, RIGHTS):
        yield moto


@pytest.mark.parametrize("own_network", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_controllers_rights_are_enough_and_lists_may_lag(amazon: Emulator, own_network: bool) -> None:
    more: dict[str, Any] = (
        {"alarm_mail": "me@example.org", "dead_queues": ["konf-r1-a-dead"]} if own_network else {}
    )
    wanted = Wanted(
        **more,
        fleet="r1",
        region="us-east-1",
        types=["t3.micro"],
        image_id=IMAGE,
        public_key=KEY,
        ssh_from="203.0.113.7/32",
        own_network=own_network,
    )
    aws = Clients("us-east-1")
    try:
        _, made = build(Work(aws, wanted, sleep=lambda seconds: None), usual_prices(), "a key")
        again = Work(aws, wanted, sleep=lambda seconds: None)
        _, hosts = build(again, usual_prices(), "a key")
        assert made
        assert (hosts, again.changes) == ([], [])
        changed = Work(aws, replace(wanted, disk_gb=16), sleep=lambda seconds: None)
        build(changed, usual_prices(), "a key")
        assert [each.thing for each in changed.changes] == ["launch template"]
        found = remove(Filter("r1"), usual_prices(), ["us-east-1"], sleep=lambda seconds: None)
        assert (found.things, found.troubles) == ([], [])
    finally:
        aws.close()
    state = amazon.strict_state()
    assert [each.answer for each in state.calls if each.answer.startswith("denied")] == []
    late = {name for name, rule in RULES.items() if _has_its_rule_in(late_rules, rule)}
    of_networks = {"new-network-is-not-known-yet", "new-subnet-is-not-known-yet"}
    of_networks |= {"new-gateway-is-not-known-yet", "main-route-table-comes-late"}
    assert late - state.met.keys() == (set() if own_network else of_networks)


def _has_its_rule_in(module: ModuleType, rule: Rule) -> bool:
    return (rule.check or rule.change).__module__ == module.__name__


def test_what_an_operator_has_named_wrongly_is_told_at_once() -> None:
    """Patience is for what was just made, by this call or by one that was killed."""
    slept: list[float] = []

    def refused(group: str) -> Callable[[], None]:
        def call() -> None:
            error = {
                "Code": "InvalidGroup.NotFound",
                "Message": f"The security group '{group}' does not exist",
            }
            raise ClientError({"Error": error}, "RunInstances")

        return call

    wanted = Wanted(fleet="r1", region="us-east-1", types=["t3.micro"], group="sg-named")
    ticks = itertools.count(step=10)
    work = Work(Clients("us-east-1"), wanted, now_s=lambda: next(ticks), sleep=slept.append)
    with pytest.raises(ClientError):
        work.patiently(refused("sg-named"))
    assert slept == []
    with pytest.raises(ClientError):
        work.patiently(refused("sg-made"))
    assert len(slept) == 6


def test_limits_hold_and_the_longest_names_are_within_them(amazon: Emulator) -> None:
    aws, name = Clients("us-east-1"), "f" * 15
    more: dict[str, Any] = {"types": ["t3.micro"], "image_id": IMAGE, "public_key": KEY}
    wanted = Wanted(fleet=name, region="us-east-1", tags={"k" * 128: "v" * 256}, **more)
    try:
        build(Work(aws, wanted, sleep=lambda seconds: None), usual_prices(), "a key")
    finally:
        aws.close()
    iam, ec2, ssm = (as_anybody(each, region_name="us-east-1") for each in ("iam", "ec2", "ssm"))
    large = base64.b64encode(b"x" * 16_385).decode()
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust)
    with pytest.raises(iam.exceptions.NoSuchEntityException):  # a new role is not known at once
        iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=trust)
    policy_of = {"RoleName": "r", "PolicyName": "p", "PolicyDocument": json.dumps({"x": "y" * 10_240})}
    tagged = [{"ResourceType": "vpc", "Tags": [{"Key": "k", "Value": "v" * 257}]}]
    for rule, call, parameters in (
        (
            "user-data-has-16-kb",
            ec2.create_launch_template,
            {"LaunchTemplateName": "t", "LaunchTemplateData": {"UserData": large}},
        ),
        ("parameters-have-4-kb", ssm.put_parameter, {"Name": "p", "Value": "x" * 4_097, "Type": "String"}),
        ("inline-policies-have-10240-characters", iam.put_role_policy, policy_of),
        (
            "role-names-have-64-characters",
            iam.create_role,
            {"RoleName": "r" * 65, "AssumeRolePolicyDocument": trust},
        ),
        (
            "tags-of-ec2-are-short",
            ec2.create_vpc,
            {"CidrBlock": "10.0.0.0/16", "TagSpecifications": tagged},
        ),
    ):
        before = amazon.strict_state().met.get(rule, 0)
        with pytest.raises(ClientError):
            call(**parameters)
        assert amazon.strict_state().met.get(rule, 0) == before + 1, rule


def test_a_host_that_was_ended_is_replaced_though_its_launch_was_asked_for_before(amazon: Emulator) -> None:
    """EC2 answers a token that it knows with the hosts of then, for a day after they have ended."""

    def wanted(hosts: int) -> Work:
        more: dict[str, Any] = {"types": ["t3.micro"], "image_id": IMAGE, "public_key": KEY}
        fleet = Wanted(fleet="r1", region="us-east-1", hosts=hosts, ssh_from="203.0.113.7/32", **more)
        return Work(aws, fleet, sleep=lambda seconds: None)

    aws = Clients("us-east-1")
    try:
        _, first = build(wanted(1), usual_prices())
        for _ in range(3):
            _, second = build(wanted(2), usual_prices())
            assert len(second) == 1
            end_hosts(aws, "r1", second, wanted(1))
        running = [{"Name": "instance-state-name", "Values": ["running"]}]
        groups = as_anybody("ec2").describe_instances(Filters=running)["Reservations"]
        assert [host["InstanceId"] for group in groups for host in group["Instances"]] == first
    finally:
        aws.close()
    assert amazon.strict_state().met["tokens-launch-once"] >= 2


def test_the_controllers_rights_end_nothing_that_is_not_kons(amazon: Emulator) -> None:
    other = as_anybody("ec2", region_name="us-east-1")
    [foreign] = other.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1)["Instances"]
    other.create_key_pair(KeyName="theirs")
    aws = Clients("us-east-1")
    try:
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            aws("ec2").terminate_instances(InstanceIds=[foreign["InstanceId"]])
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            aws("ec2").delete_key_pair(KeyName="theirs")
        with pytest.raises(ClientError, match="AccessDenied"):
            aws("cloudwatch").delete_alarms(AlarmNames=["theirs"])
    finally:
        aws.close()
        other.close()
