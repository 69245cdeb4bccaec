"""A launch template's word holds for all that RunInstances leaves open. Each of these fails on moto 5.2 as it
is, but for those of the request's own word."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import pytest


@pytest.fixture
def launched(aws: Any) -> Any:
    """Launches two instances from a template; keywords are the request's own."""
    ec2, iam = aws("ec2"), aws("iam")
    name = f"t-{secrets.token_hex(3)}"
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.77.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName=name, Description="-", VpcId=vpc)["GroupId"]
    for profile in (name, f"{name}-own"):
        iam.create_instance_profile(InstanceProfileName=profile)
    ec2.create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={
            "ImageId": "ami-12c6146b",
            "InstanceType": "t3.micro",
            "IamInstanceProfile": {"Name": name},
            "InstanceInitiatedShutdownBehavior": "terminate",
            "InstanceMarketOptions": {"MarketType": "spot"},
            "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
            "NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group]}],
            "UserData": base64.b64encode(b"#!/bin/sh\n").decode(),
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8, "Encrypted": True}},
            ],
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": [{"Key": "Run", "Value": "r1"}]}
                for kind in ("instance", "volume")
            ],
        },
    )

    def launch(**request: Any) -> list[dict[str, Any]]:
        made = ec2.run_instances(
            LaunchTemplate={"LaunchTemplateName": name}, MinCount=2, MaxCount=2, **request
        )["Instances"]
        ids = [instance["InstanceId"] for instance in made]
        found = ec2.describe_instances(InstanceIds=ids)["Reservations"][0]["Instances"]
        assert len(found) == 2
        return [instance | {"_subnet": subnet, "_group": group, "_name": name} for instance in found]

    return launch


def _profile(instance: dict[str, Any]) -> str:
    arn: str = instance["IamInstanceProfile"]["Arn"]
    return arn.rpartition("/")[2]


def test_each_host_has_the_templates_profile_place_and_market(launched: Any) -> None:
    for instance in launched():
        assert _profile(instance) == instance["_name"]
        assert instance["SubnetId"] == instance["_subnet"]
        assert [group["GroupId"] for group in instance["SecurityGroups"]] == [instance["_group"]]
        assert instance["InstanceLifecycle"] == "spot"
        assert instance["MetadataOptions"]["HttpTokens"] == "required"
        assert instance["MetadataOptions"]["InstanceMetadataTags"] == "enabled"


def test_a_host_that_is_powered_off_is_terminated(launched: Any, aws: Any) -> None:
    ec2 = aws("ec2")
    for instance in launched():
        said = ec2.describe_instance_attribute(
            InstanceId=instance["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
        )
        assert said["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"


def test_disks_have_their_tags(launched: Any, aws: Any) -> None:
    ids = [instance["InstanceId"] for instance in launched()]
    found = aws("ec2").describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": ids}])
    volumes = found["Volumes"]
    assert [(each["Encrypted"], each["Tags"]) for each in volumes] == [
        (True, [{"Key": "Run", "Value": "r1"}])
    ] * 2


def test_the_requests_own_word_comes_first(launched: Any) -> None:
    own = [{"ResourceType": "instance", "Tags": [{"Key": "Run", "Value": "r2"}]}]
    metadata = {"HttpTokens": "optional"}
    name = launched()[0]["_name"]
    profile = {"Name": f"{name}-own"}
    for instance in launched(TagSpecifications=own, MetadataOptions=metadata, IamInstanceProfile=profile):
        assert {"Key": "Run", "Value": "r2"} in instance["Tags"]
        assert instance["MetadataOptions"]["HttpTokens"] == "optional"
        assert _profile(instance) == f"{name}-own"


def test_a_templates_own_tags_are_not_its_hosts(aws: Any) -> None:
    ec2 = aws("ec2")
    ec2.create_launch_template(
        LaunchTemplateName="tagged",
        LaunchTemplateData={"ImageId": "ami-12c6146b"},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": [{"Key": "Run", "Value": "r1"}]}],
    )
    [version] = ec2.describe_launch_template_versions(LaunchTemplateName="tagged")["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"] == {"ImageId": "ami-12c6146b"}
    [template] = ec2.describe_launch_templates(LaunchTemplateNames=["tagged"])["LaunchTemplates"]
    assert template["Tags"] == [{"Key": "Run", "Value": "r1"}]


def test_an_image_and_its_snapshot_have_the_tags_that_were_asked_for(launched: Any, aws: Any) -> None:
    ec2, name = aws("ec2"), secrets.token_hex(6)
    tags = [{"Key": "Project", "Value": "kon"}]
    asked = [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")]
    host = launched()[0]["InstanceId"]
    made = ec2.create_image(InstanceId=host, Name=name, TagSpecifications=asked)["ImageId"]
    [image] = ec2.describe_images(ImageIds=[made])["Images"]
    assert image["Tags"] == tags
    snapshot = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    [found] = ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert found["Tags"] == tags


def test_three_regions_are_enabled_and_any_can_be_named(aws: Any) -> None:
    ec2 = aws("ec2")
    assert [each["RegionName"] for each in ec2.describe_regions()["Regions"]] == [
        "us-east-1",
        "eu-west-1",
        "ap-south-1",
    ]
    [named] = ec2.describe_regions(RegionNames=["eu-north-1"])["Regions"]
    assert named["RegionName"] == "eu-north-1"
