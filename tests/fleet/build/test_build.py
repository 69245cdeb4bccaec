"""A fleet as it is declared: made once, where there is room, within its price; gone after one teardown."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import botocore.exceptions
import pytest
from botocore.client import BaseClient

from kon.backends.aws.policies import policy
from kon.backends.prices import usual_prices
from kon.core.errors import BackendRefused, ConfigurationError
from kon.fleet import build as package
from kon.fleet.build import build, end_hosts, kept_key, let_in, look
from kon.fleet.build.wanted import timestamp
from kon.fleet.sweep import remove
from kon.fleet.thing import Filter
from tests.fleet.build.conftest import ALL, IMAGE, PRIVATE, Maker, changing, left
from tests.fleet.conftest import Account, listed


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Each call to Amazon, from here on."""
    seen: list[tuple[str, dict[str, Any]]] = []
    original = BaseClient._make_api_call

    def noted(self: Any, operation: str, given: dict[str, Any]) -> Any:
        seen.append((operation, given))
        return original(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return seen


def refused(monkeypatch: pytest.MonkeyPatch, why: Callable[[str, dict[str, Any]], str]) -> None:
    """Have a call refused, with the code that `why` says."""
    original = BaseClient._make_api_call

    def asked(self: Any, operation: str, given: dict[str, Any]) -> Any:
        if code := why(operation, given):
            error = {"Error": {"Code": code, "Message": "iamInstanceProfile" if "Param" in code else "-"}}
            raise botocore.exceptions.ClientError(error, operation)
        return original(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", asked)


@pytest.mark.parametrize("wishes", [{}, ALL], ids=["least", "all"])
def test_what_is_there_is_made_once_and_check_mode_makes_nothing(
    work: Maker, calls: list[Any], wishes: dict[str, Any]
) -> None:
    dry = work(dry=True, **wishes)
    build(dry, usual_prices())
    assert [name for name, _ in calls if changing(name)] == []
    first = work(**wishes)
    _, made = build(first, usual_prices())
    assert len(made) == 2
    assert {each.thing for each in dry.changes} >= {"security group", "key pair", "role", "launch template"}
    calls.clear()
    again = work(**wishes)
    _, made = build(again, usual_prices())
    assert (again.changes, made, again.notes) == ([], [], [])
    assert [name for name, _ in calls if changing(name)] == []


def test_the_image_and_its_disk_follow_the_types_processor(work: Maker, account: Account) -> None:
    ec2 = account.client("ec2")
    for name, kind, root in (
        ("debian-13-amd64-2", "x86_64", "/dev/xvda"),
        ("debian-13-arm64-2", "arm64", "/dev/sda1"),
    ):
        ec2.register_image(Name=name, Architecture=kind, RootDeviceName=root)
    wishes = {"image_id": "", "image_owner": "self", "image_name": "debian-13-a*64-2*", "hosts": 0}
    found, _ = build(work(types=["c7g.medium"], **wishes), usual_prices())
    assert (found.image.name, found.image.root) == ("debian-13-arm64-2", "/dev/sda1")
    version = ec2.describe_launch_template_versions(LaunchTemplateName="konf-r1", Versions=["$Default"])
    data = version["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert (data["BlockDeviceMappings"][0]["DeviceName"], "CreditSpecification" in data) == (
        "/dev/sda1",
        False,
    )
    assert look(work(types=["t3.micro"], **wishes), usual_prices()).image.name == "debian-13-amd64-2"
    with pytest.raises(ConfigurationError, match=r"is for x86_64, and c7g.medium is arm64"):
        look(work(types=["c7g.medium"]), usual_prices())
    with pytest.raises(ConfigurationError, match=r"t3\.micro is x86_64, t4g\.micro is arm64"):
        look(work(types=["t3.micro", "t4g.micro"]), usual_prices())


def test_hosts_go_to_zones_that_offer_their_type_and_to_the_next_where_there_is_no_room(
    work: Maker, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    subnets = account.client("ec2").describe_subnets()["Subnets"]
    zones = {each["SubnetId"]: each["AvailabilityZone"] for each in subnets}
    assert "us-east-1e" in zones.values()

    def full(operation: str, given: dict[str, Any]) -> str:
        if operation != "RunInstances":
            return ""
        zone = zones[given["NetworkInterfaces"][0]["SubnetId"]]
        assert zone != "us-east-1e", "which offers no t3"
        is_full = given["InstanceType"] == "t3.micro" or zone in ("us-east-1a", "us-east-1b")
        return "InsufficientInstanceCapacity" if is_full else ""

    refused(monkeypatch, full)
    with pytest.raises(BackendRefused) as error:
        build(work(types=["t3.micro"]), usual_prices())
    assert "0 of 2 missing hosts were made" in str(error.value)
    assert "t3.micro in us-east-1a: InsufficientInstanceCapacity; t3.micro in us-east-1b" in str(error.value)
    job = work(types=["t3.micro", "t3a.micro"])
    _, made = build(job, usual_prices())
    found = account.client("ec2").describe_instances(InstanceIds=made)["Reservations"]
    hosts = [each for group in found for each in group["Instances"]]
    assert {(each["InstanceType"], each["Placement"]["AvailabilityZone"]) for each in hosts} == {
        ("t3a.micro", "us-east-1c")
    }
    assert "t3.micro in us-east-1a: InsufficientInstanceCapacity" in job.notes[0], "what was refused is said"


def test_a_new_profile_that_ec2_does_not_know_yet_is_waited_for(
    work: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["InvalidParameterValue", "InvalidParameterValue"])
    refused(monkeypatch, lambda name, given: next(answers, "") if name == "RunInstances" else "")
    _, made = build(work(), usual_prices())
    assert len(made) == 2
    assert next(answers, None) is None


def test_how_many_hosts_follows_from_what_exists(work: Maker, account: Account) -> None:
    assert build(work(), usual_prices())[0].hosts == 2, "of a new fleet"
    _, made = build(work(hosts=3), usual_prices())
    assert len(made) == 1
    account.client("ec2").terminate_instances(InstanceIds=made)
    _, made = build(work(), usual_prices())
    assert len(made) == 1, "one that was lost is made again"
    fewer = work(hosts=0)
    build(fewer, usual_prices())
    assert [note for note in fewer.notes if "workers is 0, and there are 3: `scale` ends" in note]
    assert look(work(), usual_prices()).hosts == 0, "as it was told, although hosts are still there"


def test_a_fleet_whose_time_has_passed_gets_more_and_one_that_was_extended_keeps_it(
    work: Maker, account: Account
) -> None:
    build(work(hosts=1), usual_prices())
    ec2, later = account.client("ec2"), timestamp(time.time() + 40 * 3600)
    [host] = ec2.describe_instances()["Reservations"][0]["Instances"]
    ec2.create_tags(Resources=[host["InstanceId"]], Tags=listed({"ExpiresAt": later}))
    found, made = build(work(hosts=2), usual_prices())
    assert found.expires_at == later, "hosts that are added end when the others do"
    script = _user_data(account)
    assert f"deadline='{later}'" in script

    past_s = time.time() + 50 * 3600
    job = work(hosts=3, now_s=lambda: past_s)
    found, made = build(job, usual_prices())
    assert found.expires_at == timestamp(past_s + 4 * 3600)
    assert "has passed: it gets 4 h more" in job.notes[0]
    hosts = [each for group in ec2.describe_instances()["Reservations"] for each in group["Instances"]]
    ends = {tag["Value"] for each in hosts for tag in each["Tags"] if tag["Key"] == "ExpiresAt"}
    assert (len(hosts), ends) == (3, {found.expires_at})
    assert len(made) == 1


def _user_data(account: Account) -> str:
    said = account.client("ec2").describe_launch_template_versions(
        LaunchTemplateName="konf-r1", Versions=["$Default"]
    )
    return base64.b64decode(said["LaunchTemplateVersions"][0]["LaunchTemplateData"]["UserData"]).decode()


def test_max_cost_counts_all_that_hosts_cost(work: Maker) -> None:
    price = look(work(hosts=2, public_ip=True), usual_prices()).price
    alone = 2 * (0.0104 + 0.005 + 15 * 0.08 / 730)
    assert price.hour_usd == pytest.approx(alone)
    assert price.most_usd == pytest.approx(4 * alone, rel=1e-3)
    spot = look(work(hosts=2, spot=True), usual_prices()).price
    assert spot.hour_usd == pytest.approx(alone), "the price on demand, which spot never passes"
    surplus = look(work(hosts=2, cpu_credits="unlimited", public_ip=False), usual_prices()).price
    assert surplus.hour_usd == pytest.approx(alone + 2 * (2 * 0.05 - 0.005))
    with pytest.raises(ConfigurationError, match=r"are \$ 0\.136[34] .* and max_cost is 0\.136\."):
        look(work(hosts=2, most_usd=0.136), usual_prices())
    assert look(work(hosts=2, most_usd=0.137), usual_prices())
    with pytest.raises(ConfigurationError, match=r"no price for t3\.xlarge"):
        look(work(types=["t3.xlarge"], most_usd=1.0), usual_prices())


def test_what_is_there_already_is_used_and_left_alone(
    work: Maker, account: Account, calls: list[Any]
) -> None:
    ec2, iam = account.client("ec2"), account.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.8.0.0/24", AvailabilityZone="us-east-1b")
    group = ec2.create_security_group(GroupName="mine", Description="-", VpcId=vpc)["GroupId"]
    ec2.create_key_pair(KeyName="mine")
    iam.create_instance_profile(InstanceProfileName="mine")
    calls.clear()
    wishes = {
        "subnets": [subnet["Subnet"]["SubnetId"]],
        "group": group,
        "profile": "mine",
        "key_name": "mine",
        "public_ip": False,
        "hop_limit": 2,
        "tags": {"CostCenter": "42"},
    }
    _, made = build(work(hosts=1, **wishes), usual_prices())
    assert [name for name, _ in calls if changing(name)] == ["CreateLaunchTemplate", "RunInstances"]
    [host] = ec2.describe_instances(InstanceIds=made)["Reservations"][0]["Instances"]
    assert (host["SubnetId"], host["SecurityGroups"][0]["GroupId"]) == (subnet["Subnet"]["SubnetId"], group)
    assert {"Key": "CostCenter", "Value": "42"} in host["Tags"]
    assert host.get("PublicIpAddress") is None
    assert host["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    remove(Filter("r1"), usual_prices())
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert ec2.describe_key_pairs(KeyNames=["mine"])["KeyPairs"]
    assert iam.get_instance_profile(InstanceProfileName="mine")


def test_a_boundary_is_given_to_the_role_and_another_operator_is_let_in_beside_the_first(
    work: Maker, account: Account
) -> None:
    boundary = "arn:aws:iam::123456789012:policy/edge"
    account.client("iam").create_policy(
        PolicyName="edge", PolicyDocument=json.dumps(policy("worker", "konf-r1"))
    )
    build(work(hosts=0, boundary=boundary), usual_prices())
    role = account.client("iam").get_role(RoleName="konf-r1-us-east-1")["Role"]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    second = work(hosts=0, boundary=boundary, ssh_from="198.51.100.9/32")
    build(second, usual_prices())
    filters = [{"Name": "group-name", "Values": ["konf-r1"]}]
    [group] = account.client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
    ranges = {each["CidrIp"] for rule in group["IpPermissions"] for each in rule["IpRanges"]}
    assert ranges == {"203.0.113.7/32", "198.51.100.9/32"}
    assert [each.thing for each in second.changes] == ["SSH"]


@pytest.mark.long
def test_a_fleets_key_is_kept_with_it_encrypted_and_brought_from_there(
    work: Maker, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(work(hosts=0), usual_prices())
    assert kept_key(work().aws, "r1") is None, "one that is not to be kept"
    build(work(hosts=0), usual_prices(), PRIVATE)
    again = work(hosts=0)
    build(again, usual_prices(), PRIVATE)
    assert again.changes == []
    ssm = account.client("ssm")
    stored = ssm.get_parameter(Name="konf-r1-key")["Parameter"]
    assert stored["Type"] == "SecureString"
    assert stored["Value"] != PRIVATE, "without decryption"
    assert kept_key(work().aws, "r1") == PRIVATE
    assert kept_key(work().aws, "r12") is None
    second = work(ssh_from="198.51.100.9/32")
    let_in(second)
    assert [each.thing for each in second.changes] == ["SSH"]
    assert left().count("parameter") == 1
    remove(Filter("r1"), usual_prices(), ["us-east-1"])
    assert kept_key(work().aws, "r1") is None

    refused(monkeypatch, lambda name, given: "AccessDeniedException" if name == "PutParameter" else "")
    job = work(hosts=0)
    build(job, usual_prices(), PRIVATE)
    assert "the fleet's key is not kept with the fleet, and another machine needs a copy" in job.notes[0]


@pytest.mark.long
def test_two_regions_have_a_role_each(work: Maker, account: Account) -> None:
    for region in ("us-east-1", "eu-west-1"):
        build(work(region=region, hosts=0), usual_prices())
    names = {each["RoleName"] for each in account.client("iam").list_roles()["Roles"]}
    assert names == {"konf-r1-us-east-1", "konf-r1-eu-west-1"}
    remove(Filter("r1"), usual_prices(), ["us-east-1"])
    names = {each["RoleName"] for each in account.client("iam").list_roles()["Roles"]}
    assert names == {"konf-r1-eu-west-1"}


def test_what_is_somebody_elses_is_refused_before_anything_is_made(
    work: Maker, account: Account, calls: list[Any]
) -> None:
    account.client("iam").create_role(RoleName="konf-r1-us-east-1", AssumeRolePolicyDocument="{}")
    calls.clear()
    with pytest.raises(ConfigurationError, match="a role konf-r1-us-east-1 that is not kon's"):
        build(work(), usual_prices())
    assert [name for name, _ in calls if changing(name)] == []


def test_only_hosts_of_the_fleet_are_ended(work: Maker, account: Account) -> None:
    _, [one, other] = build(work(), usual_prices())
    ec2 = account.client("ec2")
    [foreign] = ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1)["Instances"]
    job = work()
    with pytest.raises(ConfigurationError, match=r"no hosts of the fleet r1\. None was ended"):
        end_hosts(job.aws, "r1", [one, foreign["InstanceId"]], job)
    states = {
        each["InstanceId"]: each["State"]["Name"]
        for group in ec2.describe_instances()["Reservations"]
        for each in group["Instances"]
    }
    assert set(states.values()) == {"running"}
    end_hosts(job.aws, "r1", [one], job)
    said = ec2.describe_instances(InstanceIds=[one, other])["Reservations"]
    found = {each["InstanceId"]: each["State"]["Name"] for group in said for each in group["Instances"]}
    assert found == {one: "terminated", other: "running"}


ASKING: dict[str, Callable[[Any], Any]] = {
    "look": lambda work: look(work, usual_prices()),
    "build": lambda work: build(work, usual_prices()),
    "let_in": let_in,
    "kept_key": lambda work: kept_key(work.aws, "r1"),
    "end_hosts": lambda work: end_hosts(work.aws, "r1", ["i-1"], work),
}


@pytest.mark.parametrize("name", [each for each in package.__all__ if each[0].islower()])
def test_a_service_that_goes_on_failing_is_a_line(
    name: str, work: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a playbook calls: what botocore raises would be a traceback there."""
    refused(monkeypatch, lambda name, given: "" if name == "GetCallerIdentity" else "InternalFailure")
    with pytest.raises(BackendRefused, match=r"AWS refuses .*InternalFailure"):
        ASKING[name](work())


def test_a_missing_right_is_told_with_what_to_do(work: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(monkeypatch, lambda name, given: "" if name == "GetCallerIdentity" else "UnauthorizedOperation")
    with pytest.raises(BackendRefused, match=r"UnauthorizedOperation.*Add the action to the policy"):
        ASKING["end_hosts"](work())


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestExpired", "AuthFailure"])
def test_credentials_that_have_expired_are_told_with_what_to_do(
    work: Maker, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    refused(monkeypatch, lambda name, given: code)
    with pytest.raises(BackendRefused, match=rf"{code}.*Sign in again, or check AWS_PROFILE"):
        ASKING["end_hosts"](work())
