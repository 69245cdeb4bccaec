"""kon sweep: what bears kon's tags is found in every region, and goes; nothing else does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.client import BaseClient
from click.testing import CliRunner, Result

from kon.backends.prices import usual_prices
from kon.cli.group import kon
from kon.core.errors import ConfigurationError
from kon.fleet.sweep import look, remove
from kon.fleet.thing import Filter, Thing
from tests.fleet.conftest import TAGS, Account, listed, specified

REGIONS = ["us-east-1", "eu-west-1"]


def everything(
    account: Account, tags: dict[str, str] = TAGS, stem: str = "konf-r1", region: str = "us-east-1"
) -> set[str]:
    """Make one of each kind; the kinds."""
    ec2, iam = account.client("ec2", region), account.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=specified("vpc", tags))["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(
        VpcId=vpc, CidrBlock="10.9.0.0/24", TagSpecifications=specified("subnet", tags)
    )["Subnet"]["SubnetId"]
    group = ec2.create_security_group(
        GroupName=stem, Description="-", VpcId=vpc, TagSpecifications=specified("security-group", tags)
    )["GroupId"]
    gateway = ec2.create_internet_gateway(TagSpecifications=specified("internet-gateway", tags))
    gateway_id = gateway["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=specified("route-table", tags))
    ec2.associate_route_table(RouteTableId=table["RouteTable"]["RouteTableId"], SubnetId=subnet)
    ec2.create_key_pair(KeyName=stem, TagSpecifications=specified("key-pair", tags))
    ec2.create_volume(Size=10, AvailabilityZone=f"{region}a", TagSpecifications=specified("volume", tags))
    ec2.create_network_interface(SubnetId=subnet, TagSpecifications=specified("network-interface", tags))
    ec2.create_launch_template(
        LaunchTemplateName=stem,
        LaunchTemplateData={"ImageId": "ami-12c6146b"},
        TagSpecifications=specified("launch-template", tags),
    )
    ec2.run_instances(
        ImageId="ami-12c6146b",
        InstanceType="t3.micro",
        SubnetId=subnet,
        SecurityGroupIds=[group],
        MinCount=1,
        MaxCount=1,
        TagSpecifications=specified("instance", tags),
    )
    disk = ec2.create_volume(Size=8, AvailabilityZone=f"{region}a")["VolumeId"]  # another's
    ec2.create_snapshot(VolumeId=disk, TagSpecifications=specified("snapshot", tags))
    host = ec2.describe_instances()["Reservations"][-1]["Instances"][0]["InstanceId"]
    ec2.create_image(InstanceId=host, Name=stem, TagSpecifications=specified("image", tags))
    role = f"{stem}-{region}"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}", Tags=listed(tags))
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="kon-worker", PolicyDocument=document)
    iam.create_instance_profile(InstanceProfileName=role, Tags=listed(tags))
    iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)
    account.client("sns", region).create_topic(Name=stem, Tags=listed(tags))
    account.client("ssm", region).put_parameter(
        Name=f"{stem}-key", Value="-", Type="SecureString", Tags=listed(tags)
    )
    account.client("cloudwatch", region).put_metric_alarm(
        AlarmName=stem,
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        MetricName="x",
        Namespace="y",
        Period=60,
        Statistic="Maximum",
        Threshold=1,
        Tags=listed(tags),
    )
    runs = {**tags, "Run": "tiny-lease-w1-r1"}
    account.client("sqs", region).create_queue(QueueName=f"{stem}-tiny-tasks", tags=runs)
    account.client("dynamodb", region).create_table(
        TableName=f"{stem}-tiny",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        ProvisionedThroughput={"ReadCapacityUnits": 20, "WriteCapacityUnits": 50},
        Tags=listed(runs),
    )
    s3, bucket = account.client("s3", region), f"{stem}-123456789012-{region}"
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **place)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": listed({**tags, "Run": ":shared"})})
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"x")
    s3.create_multipart_upload(Bucket=bucket, Key="half")
    return {
        *("VPC", "subnet", "security group", "internet gateway", "route table", "key pair", "volume"),
        *("image", "snapshot"),
        *("network interface", "launch template", "instance", "role", "instance profile", "topic", "alarm"),
        *("queue", "table", "bucket", "parameter"),
    }


def sweep(*words: str) -> Result:
    return CliRunner().invoke(kon, ["sweep", *words], catch_exceptions=False)


def test_one_of_each_kind_is_found_priced_and_removed(account: Account) -> None:
    kinds = everything(account)
    account.client("ec2", "eu-west-1").create_key_pair(KeyName="far", TagSpecifications=specified("key-pair"))
    looked = sweep("--json", *[f"--region={each}" for each in REGIONS])
    assert looked.exit_code == 5, "something is left"
    said = json.loads(looked.stdout)
    assert {each["kind"] for each in said["left"]} == kinds
    assert ("eu-west-1", "far") in {(each["region"], each["name"]) for each in said["left"]}
    usd = {each["kind"]: each["usd_per_hour"] for each in said["left"]}
    assert usd["instance"] == 0.0104
    assert usd["table"] == pytest.approx(20 * 0.00013 + 50 * 0.00065)
    assert usd["bucket"] is None, "nobody says what is in it"

    removed = sweep("--all", "--yes", *[f"--region={each}" for each in REGIONS])
    assert removed.exit_code == 0, removed.output
    assert "removed bucket konf-r1-123456789012-us-east-1" in removed.stderr
    assert "nothing of kon is left in 2 regions" in removed.stderr
    again = sweep("--all", "--yes", *[f"--region={each}" for each in REGIONS])
    assert (again.exit_code, "removed" in again.stderr) == (0, False)


def test_what_is_not_kons_is_never_touched(account: Account) -> None:
    kinds = everything(account, {"Project": "another", "Run": "r1"})
    assert look(Filter(), usual_prices(), ["us-east-1"]).things == []
    assert look(Filter("r1"), usual_prices(), ["us-east-1"]).things == []
    remove(Filter("r1"), usual_prices(), ["us-east-1"])
    assert account.client("s3").list_buckets()["Buckets"]
    assert account.client("iam").list_roles()["Roles"]
    assert account.client("sqs").list_queues()["QueueUrls"]
    states = account.client("ec2").describe_instances()["Reservations"]
    assert states[0]["Instances"][0]["State"]["Name"] == "running"
    assert kinds


def test_of_two_fleets_one_goes(account: Account) -> None:
    kinds = everything(account)
    everything(account, {**TAGS, "Run": "r12"}, "konf-r12")
    found = remove(Filter("r1"), usual_prices(), ["us-east-1"])
    assert found.things == []
    left = look(Filter("r12"), usual_prices(), ["us-east-1"]).things
    assert {each.kind for each in left} == kinds
    assert look(Filter(), usual_prices(), ["us-east-1"]).things == left


def test_what_an_interrupted_play_has_left_without_tags_goes_with_its_network(account: Account) -> None:
    ec2 = account.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=specified("vpc"))["Vpc"]["VpcId"]
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")
    ec2.create_route_table(VpcId=vpc)
    ec2.create_security_group(GroupName="konf-r1", Description="-", VpcId=vpc)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    assert remove(Filter("r1"), usual_prices(), ["us-east-1"]).things == []
    assert vpc not in {each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]}
    assert gateway not in {
        each["InternetGatewayId"] for each in ec2.describe_internet_gateways()["InternetGateways"]
    }


def test_all_enabled_regions_are_looked_through(account: Account) -> None:
    account.client("ec2", "ap-south-1").create_key_pair(KeyName="x", TagSpecifications=specified("key-pair"))
    [thing] = look(Filter(), usual_prices()).things
    assert (thing.region, thing.kind) == ("ap-south-1", "key pair")


def test_no_filter_is_ever_empty() -> None:
    project = {"Name": "tag:Project", "Values": ["kon"]}
    assert Filter().ec2 == [project]
    assert Filter("r1").ec2 == [project, {"Name": "tag:Run", "Values": ["r1"]}]
    assert not Filter().takes("konf-r1", {})
    assert not Filter("r1").takes("konf-r1", {"Run": "r1"})


@pytest.mark.parametrize("name", ["", "r-1", "R1", "r1*", "sixteenletters16"])
def test_a_name_that_could_be_the_beginning_of_anothers_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 15 small letters"):
        Filter(name)
    assert sweep("--fleet", name).exit_code == 2


def test_what_does_not_go_is_told_with_exit_code_5(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that somebody has put into a profile of their own can't go."""
    iam = account.client("iam")
    iam.create_role(RoleName="konf-r1-us-east-1", AssumeRolePolicyDocument="{}", Tags=listed(TAGS))
    iam.create_instance_profile(InstanceProfileName="another")
    iam.add_role_to_instance_profile(InstanceProfileName="another", RoleName="konf-r1-us-east-1")
    iam.tag_instance_profile(InstanceProfileName="another", Tags=listed({"Project": "another"}))
    now = iter(range(0, 10_000, 100))
    slept: list[float] = []
    found = remove(
        Filter("r1"),
        usual_prices(),
        ["us-east-1"],
        now_s=lambda: float(next(now)),
        sleep=slept.append,
    )
    assert [each.kind for each in found.things] == ["role"]
    assert slept, "it was tried more than once"

    def left(*args: Any, **kwargs: Any) -> Any:
        return found

    monkeypatch.setattr("kon.cli.sweep.remove", left)
    result = sweep("--all", "--yes")
    assert (result.exit_code, "role" in result.stdout) == (5, True)


@pytest.mark.parametrize(
    "words", [["--yes"], ["--yes", "--region", "us-east-1"], ["--yes", "--all", "--fleet", "r1"]]
)
def test_nothing_goes_where_it_is_not_said_whose(account: Account, words: list[str]) -> None:
    account.client("ec2").create_key_pair(KeyName="x", TagSpecifications=specified("key-pair"))
    result = sweep(*words)
    assert (result.exit_code, "Nothing was removed" in result.stderr) == (2, True)
    assert account.client("ec2").describe_key_pairs()["KeyPairs"]


@pytest.mark.long
def test_a_region_that_is_named_loses_only_what_was_made_for_it(account: Account) -> None:
    for region in REGIONS:
        everything(account, region=region)
    account.client("sns").create_topic(Name="konf-r1-eu-west-1-bill", Tags=listed(TAGS))
    before = {each.name for each in look(Filter("r1"), usual_prices(), ["us-east-1"]).things}
    assert remove(Filter("r1"), usual_prices(), ["eu-west-1"]).things == []
    left = look(Filter("r1"), usual_prices()).things
    assert {each.name for each in left if each.region in ("us-east-1", "global")} == before
    assert {each.region for each in left} == {"us-east-1", "global"}


def test_of_a_named_fleet_nobody_elses_things_are_asked_for_their_tags(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        account.client("iam").create_role(RoleName=f"foreign-{number}", AssumeRolePolicyDocument="{}")
        account.client("sns").create_topic(Name=f"foreign-{number}")
        account.client("sqs").create_queue(QueueName=f"foreign-{number}")
        account.client("s3").create_bucket(Bucket=f"foreign-{number}")
    called: list[str] = []
    original = BaseClient._make_api_call

    def noted(self: Any, operation: str, given: dict[str, Any]) -> Any:
        called.append(f"{operation} {given}")
        return original(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    assert look(Filter("r1"), usual_prices(), ["us-east-1"]).things == []
    assert [each for each in called if "foreign" in each] == []
    look(Filter(), usual_prices(), ["us-east-1"])
    asked = {each.partition(" ")[0] for each in called if "foreign" in each}
    assert asked == {"ListQueueTags", "GetBucketTagging"}, "these may be of a run of any prefix"


def test_hosts_are_ended_before_anything_else_is_looked_for(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(account)
    called: list[str] = []
    original = BaseClient._make_api_call

    def noted(self: Any, operation: str, given: dict[str, Any]) -> Any:
        called.append(operation)
        return original(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    remove(Filter("r1"), usual_prices(), ["us-east-1"], sleep=lambda seconds: None)
    assert called[:2] == ["DescribeInstances", "TerminateInstances"]


def test_a_table_that_is_going_is_passed_over(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon refuses to tell the tags of one that has gone a moment later, and to delete it again."""
    everything(account)
    original = BaseClient._make_api_call
    asked: list[str] = []

    def going(self: Any, operation: str, given: dict[str, Any]) -> Any:
        asked.append(operation)
        reply = original(self, operation, given)
        if operation == "DescribeTable":
            reply["Table"]["TableStatus"] = "DELETING"
        return reply

    monkeypatch.setattr(BaseClient, "_make_api_call", going)
    found = look(Filter("r1"), usual_prices(), ["us-east-1"])
    assert "table" not in {each.kind for each in found.things}
    assert found.troubles == []
    assert "ListTagsOfResource" not in asked


def test_without_credentials_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    result = sweep("--region", "us-east-1")
    assert (result.exit_code, "no credentials for AWS" in result.stderr) == (3, True)


def test_a_thing_says_whose_it_is() -> None:
    thing = Thing("queue", "q", "q", "us-east-1", TAGS)
    assert (thing.run, thing.expires_at) == ("r1", "2030-01-01T00:00:00Z")
    assert Thing("queue", "q", "q", "us-east-1", {}).expires_at == ""
