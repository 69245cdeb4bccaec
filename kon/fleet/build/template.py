"""The launch template: what a host is like, for `provision`, `scale` and `kon autoscale` alike."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any, Final

from kon.fleet.autoscale.hosts import SUBNETS, TYPES
from kon.fleet.build.survey import Survey
from kon.fleet.build.wanted import Work
from kon.fleet.thing import listed

_SUBNETS: Final = 10
"""Subnets that a tag has room for: 256 characters, and an id has 24."""

_END_ITSELF: Final = Path(__file__).with_name("end-itself.sh")
"""User data of each host: it ends itself once its time has come, whatever became of the controller."""


def launch_template(work: Work, found: Survey, group: str, key: str, profile: str) -> None:
    """Make it, or a version of it that is the default one, where it is not as it should be.

    A version says in its description what it holds, as a digest: EC2 describes a version in other words than
    those that it was made with, so that the two can't be compared.
    """
    ec2, name = work.aws("ec2"), work.wanted.stem
    data = template_data(work, found, group, key, profile)
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
    said = f"kon {digest}"
    subnets = list(dict.fromkeys(subnet.id for _, subnet in found.places))[:_SUBNETS]
    places = {TYPES: " ".join(work.wanted.types), SUBNETS: " ".join(subnets)}
    tags = {**work.tags, **places, "Hosts": str(found.hosts)}
    filters = [{"Name": "launch-template-name", "Values": [name]}]
    there = ec2.describe_launch_templates(Filters=filters)["LaunchTemplates"]
    if not there:
        work.change(
            "launch template",
            f"{name}: {data['InstanceType']} from {data['ImageId']}",
            lambda: ec2.create_launch_template(
                LaunchTemplateName=name,
                VersionDescription=said,
                LaunchTemplateData=data,
                TagSpecifications=[{"ResourceType": "launch-template", "Tags": listed(tags)}],
            ),
        )
        return
    template = there[0]["LaunchTemplateId"]
    _renew(work, template, data, said)
    bears = {each["Key"]: each["Value"] for each in there[0].get("Tags", [])}
    if changed := {key: value for key, value in tags.items() if bears.get(key) != value}:
        work.change(
            "launch template's tags",
            str(changed),
            lambda: ec2.create_tags(Resources=[template], Tags=listed(changed)),
            str({key: bears.get(key) for key in changed}),
        )


def _renew(work: Work, template: str, data: dict[str, Any], said: str) -> None:
    """Make a version with this data the default one, where the default says something else of itself."""
    ec2, name = work.aws("ec2"), work.wanted.stem
    asked = ec2.describe_launch_template_versions(LaunchTemplateId=template, Versions=["$Default"])
    [version] = asked["LaunchTemplateVersions"]
    if version.get("VersionDescription") == said:
        return

    def renew() -> None:
        made = ec2.create_launch_template_version(
            LaunchTemplateId=template, VersionDescription=said, LaunchTemplateData=data
        )["LaunchTemplateVersion"]
        ec2.modify_launch_template(LaunchTemplateId=template, DefaultVersion=str(made["VersionNumber"]))

    before = version["LaunchTemplateData"]
    work.change(
        "launch template",
        f"{name}: {data['InstanceType']} from {data['ImageId']}, until {work.tags['ExpiresAt']}",
        renew,
        f"{name}: {before.get('InstanceType')} from {before.get('ImageId')}",
    )


def template_data(work: Work, found: Survey, group: str, key: str, profile: str) -> dict[str, Any]:
    wanted, image = work.wanted, found.image
    script = _END_ITSELF.read_text(encoding="utf-8").replace("@EXPIRES_AT@", found.expires_at)
    script = script.replace("@CHECK_S@", str(wanted.expiry_check_s))
    tags = listed({**work.tags, "Role": "worker", "Name": wanted.stem, "User": wanted.image_user})
    data: dict[str, Any] = {
        "ImageId": image.id,
        "InstanceType": wanted.types[0],
        "KeyName": key,
        "IamInstanceProfile": {"Name": profile},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": wanted.hop_limit,
            "InstanceMetadataTags": "enabled",
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": image.root,
                "Ebs": {
                    "VolumeSize": max(wanted.disk_gb, image.size_gb),
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "NetworkInterfaces": [interface(work, found.places[0][1].id, group)],
        "UserData": base64.b64encode(script.encode()).decode(),
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")
        ],
    }
    if wanted.spot:
        data["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {"InstanceInterruptionBehavior": "terminate"},
        }
    if found.burstable:
        data["CreditSpecification"] = {"CpuCredits": wanted.cpu_credits}
    return data


def interface(work: Work, subnet: str, group: str) -> dict[str, Any]:
    return {
        "DeviceIndex": 0,
        "AssociatePublicIpAddress": work.wanted.public_ip,
        "DeleteOnTermination": True,
        "SubnetId": subnet,
        "Groups": [group],
    }
