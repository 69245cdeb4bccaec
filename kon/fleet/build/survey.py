"""Account, image, zones, quota, price: what decides whether a fleet can be made, before anything is."""

from __future__ import annotations

import math
from typing import Any, Final

import boto3
import botocore.exceptions
import msgspec

from kon.backends.prices import Prices
from kon.core.errors import BackendRefused, ConfigurationError
from kon.fleet.build.wanted import Price, Work, price_of, seconds, timestamp
from kon.fleet.clients import UNREACHED, code_of
from kon.fleet.thing import PROJECT, Filter, tags_of

NEW_FLEET_HOSTS: Final = 2
_TOO_LATE_S: Final = 120.0
"""A host made so shortly before its end would not have booted."""

STANDARD: Final = "ACDHIMRTZ"
_QUOTAS: Final = {
    False: ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
    True: ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
}
_NOTHING: Final = "Nothing was made"


class Subnet(msgspec.Struct, frozen=True):
    """id: empty for one that is yet to be made."""

    id: str
    zone: str


class MachineImage(msgspec.Struct, frozen=True):
    """root: name of the root device. size_gb: the least that its disk may have."""

    id: str
    name: str
    architecture: str
    root: str
    size_gb: int


class Survey(msgspec.Struct, frozen=True):
    """places: where a host may be made, the best first: its type and its subnet.

    hosts: how many there are to be. running: ids of those that are there. expires_at: when they end.
    extends: whether those that are there would end earlier.
    """

    account: str
    partition: str
    image: MachineImage
    vpc: str
    places: list[tuple[str, Subnet]]
    hosts: int
    running: list[str]
    expires_at: str
    extends: bool
    burstable: bool
    price: Price


def survey(work: Work, prices: Prices) -> Survey:
    """Raises ConfigurationError or BackendRefused, in words that end with what to do."""
    wanted, ec2 = work.wanted, work.aws("ec2")
    account, partition = _whoami(work)
    _check_region(work)
    types = _types(work)
    [architecture] = {each["ProcessorInfo"]["SupportedArchitectures"][-1] for each in types.values()} or [""]
    image = _image(work, architecture)
    template = _template_tags(work)
    running = _running(ec2, wanted.fleet)
    hosts = wanted.hosts
    if hosts is None:
        hosts = int(template["Hosts"]) if template.get("Hosts", "").isdecimal() else len(running)
        if not template:
            hosts = NEW_FLEET_HOSTS
    if hosts < len(running):
        work.notes.append(
            f"workers is {hosts}, and there are {len(running)}: `scale` ends the others; `provision` leaves "
            "them, and they cost as before"
        )
    expires_at = _expires_at(work, [template, *(tags_of(each.get("Tags")) for each in running)])
    hours = (seconds(expires_at) - work.now_s()) / 3600
    price = price_of(wanted, prices, hosts, hours, max(wanted.disk_gb, image.size_gb), types)
    _check_price(work, price, hosts)
    _check_quota(work, types, hosts, len(running))
    _check_names(work)
    vpc, subnets = _network(work)
    places = _places(work, subnets)
    tags = [tags_of(each.get("Tags")).get("ExpiresAt", "") for each in running]
    return Survey(
        account=account,
        partition=partition,
        image=image,
        vpc=vpc,
        places=places,
        hosts=hosts,
        running=[each["InstanceId"] for each in running],
        expires_at=expires_at,
        extends=any(each < expires_at for each in tags),
        burstable=any(each.get("BurstablePerformanceSupported") for each in types.values()),
        price=price,
    )


def _whoami(work: Work) -> tuple[str, str]:
    if not _is_known(work.wanted.region):
        raise ConfigurationError(_no_region(work.wanted.region))
    try:
        me = work.aws("sts").get_caller_identity()
    except UNREACHED:
        raise  # the region is there, and the network is not
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise BackendRefused(
            f"AWS does not know us: {error}. Set AWS_PROFILE, call `aws configure` or `aws sso login`, and "
            f"start again; nothing was made"
        ) from error
    return me["Account"], me["Arn"].split(":")[1]


def _check_region(work: Work) -> None:
    region = work.wanted.region
    enabled = [each["RegionName"] for each in work.aws("ec2").describe_regions()["Regions"]]
    if region not in enabled:
        raise ConfigurationError(_no_region(region))


def _is_known(region: str) -> bool:
    """Whether botocore has heard of it: for a region that Amazon has opened since, boto3 has to be newer."""
    session = boto3.Session()
    partitions = session.get_available_partitions()
    return any(region in session.get_available_regions("ec2", each) for each in partitions)


def _no_region(region: str) -> str:
    return (
        f'The region "{region}" is not one that this account can use: -e region=... names another, or enable '
        f"it in the account's settings. {_NOTHING}"
    )


def _types(work: Work) -> dict[str, dict[str, Any]]:
    """Each instance type, as EC2 describes it; all of one architecture."""
    wanted, found = work.wanted, dict[str, dict[str, Any]]()
    for name in wanted.types:
        try:
            [found[name]] = work.aws("ec2").describe_instance_types(InstanceTypes=[name])["InstanceTypes"]
        except (botocore.exceptions.ClientError, ValueError) as error:
            if isinstance(error, botocore.exceptions.ClientError) and "InvalidInstanceType" not in code_of(
                error
            ):
                raise
            raise ConfigurationError(
                f'there is no instance type "{name}" in {wanted.region}. {_NOTHING}'
            ) from error
    kinds = {name: each["ProcessorInfo"]["SupportedArchitectures"][-1] for name, each in found.items()}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
        raise ConfigurationError(
            f"instance_type: {said}: hosts of a fleet are made from one image, and so have one architecture. "
            f"{_NOTHING}"
        )
    return found


def _image(work: Work, architecture: str) -> MachineImage:
    wanted = work.wanted
    if wanted.image_id:
        asked: dict[str, Any] = {"ImageIds": [wanted.image_id]}
    else:
        filters = {"name": wanted.image_name, "state": "available", "architecture": architecture}
        named = [{"Name": name, "Values": [value]} for name, value in filters.items()]
        asked = {"Owners": [wanted.image_owner], "Filters": named}
    problem = ""
    try:
        found = work.aws("ec2").describe_images(**asked)["Images"]
    except botocore.exceptions.ClientError as error:
        if "InvalidAMI" not in code_of(error):
            raise
        found, problem = [], f": {error}"
    if not found:
        which = wanted.image_id or f"{wanted.image_name} for {architecture} by {wanted.image_owner}"
        raise ConfigurationError(
            f"There is no image {which} in {wanted.region}{problem}. -e image_id=ami-... names one, "
            f"-e image_name=... and image_owner=... the newest of a kind. {_NOTHING}"
        )
    image = max(found, key=lambda each: str(each.get("CreationDate", "")))
    if image.get("Architecture", architecture) != architecture:
        raise ConfigurationError(
            f"The image {image['ImageId']} is for {image['Architecture']}, and {wanted.types[0]} is "
            f"{architecture}: name another image or another instance_type. {_NOTHING}"
        )
    root = image.get("RootDeviceName") or "/dev/xvda"
    sizes = [
        each.get("Ebs", {}).get("VolumeSize", 0)
        for each in image.get("BlockDeviceMappings", [])
        if each.get("DeviceName") == root
    ]
    return MachineImage(image["ImageId"], image.get("Name", ""), architecture, root, max([0, *sizes]))


def _template_tags(work: Work) -> dict[str, str]:
    """Tags of the fleet's launch template; empty where there is none.

    Raises ConfigurationError for one of somebody else's.
    """
    stem = work.wanted.stem
    filters = [{"Name": "launch-template-name", "Values": [stem]}]
    found = work.aws("ec2").describe_launch_templates(Filters=filters)["LaunchTemplates"]
    if not found:
        return {}
    tags = tags_of(found[0].get("Tags"))
    if tags.get("Project") != PROJECT or tags.get("Run") != work.wanted.fleet:
        raise ConfigurationError(
            f"There is a launch template {stem} that is not kon's. It is left as it is: give the fleet "
            "another name with -e run=..."
        )
    return tags


def _running(ec2: Any, fleet: str) -> list[dict[str, Any]]:
    filters = [
        *Filter(fleet).ec2,
        {"Name": "tag:Role", "Values": ["worker"]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    return [each for page in pages for group in page["Reservations"] for each in group["Instances"]]


def _expires_at(work: Work, tags: list[dict[str, str]]) -> str:
    """When the fleet ends: as its template says, or as its hosts were extended to; else after `hours`."""
    said = max((each["ExpiresAt"] for each in tags if "ExpiresAt" in each), default="")
    try:
        if said and seconds(said) > work.now_s() + _TOO_LATE_S:
            return said
    except ValueError:
        work.notes.append(f"the tag ExpiresAt of the fleet is {said!r}, which is no time: it is set again")
    if said:
        work.notes.append(f"the fleet's time ({said}) has passed: it gets {work.wanted.hours:g} h more")
    return timestamp(work.now_s() + work.wanted.hours * 3600)


def _check_price(work: Work, price: Price, hosts: int) -> None:
    wanted = work.wanted
    if not wanted.most_usd:
        return
    if price.most_usd is None:
        raise ConfigurationError(
            f"max_cost is {wanted.most_usd:g}, and kon/backends/prices has no price for "
            f"{' or '.join(price.unknown)}: add it there, or name another instance_type. {_NOTHING}"
        )
    if price.most_usd > wanted.most_usd:
        raise ConfigurationError(
            f"{hosts} x {wanted.types[0]} for {price.hours:.3g} h are $ {price.most_usd:.4f} "
            f"({price.parts}), and max_cost is {wanted.most_usd:g}. Ask for fewer hosts, other ones, or "
            f"fewer hours (-e workers=, instance_type=, expires_h=). {_NOTHING}"
        )


def _check_quota(work: Work, types: dict[str, dict[str, Any]], hosts: int, running: int) -> None:
    """Quotas of standard types alone: each family of others has one of its own."""
    wanted = work.wanted
    if not all(name[0].upper() in STANDARD for name in types):
        return
    code, name = _QUOTAS[wanted.spot]
    try:
        said = work.aws("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        work.notes.append(f"the quota can't be read, and is not checked: {error}")
        return
    each = max(kind["VCpuInfo"]["DefaultVCpus"] for kind in types.values())
    free = math.floor(said["Quota"]["Value"]) - _vcpus_of_others(work)
    if each * hosts > free and hosts > running:
        raise ConfigurationError(
            f"{hosts} x {wanted.types[0]} are {each * hosts} vCPUs, and the quota of {wanted.region} leaves "
            f'{free}: ask for fewer with -e workers=..., or have the quota "{name}" raised. {_NOTHING}'
        )


def _vcpus_of_others(work: Work) -> int:
    """vCPUs of hosts that count for the same quota, but for the fleet's own."""
    ec2, wanted = work.aws("ec2"), work.wanted
    filters = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
    others = [
        i["InstanceType"]
        for i in found
        if (i.get("InstanceLifecycle") == "spot") == wanted.spot
        and i["InstanceType"][0].upper() in STANDARD
        and tags_of(i.get("Tags")).get("Run") != wanted.fleet
    ]
    sizes: dict[str, int] = {}
    for start in range(0, len(names := sorted(set(others))), 100):
        said = ec2.describe_instance_types(InstanceTypes=names[start : start + 100])["InstanceTypes"]
        sizes |= {each["InstanceType"]: each["VCpuInfo"]["DefaultVCpus"] for each in said}
    return sum(sizes.get(each, 0) for each in others)


def _check_names(work: Work) -> None:
    """A role under our name that is not kon's belongs to somebody else."""
    if work.wanted.profile:
        return
    iam, name = work.aws("iam"), work.wanted.global_name
    try:
        tags = tags_of(iam.get_role(RoleName=name)["Role"].get("Tags"))
    except iam.exceptions.NoSuchEntityException:
        return
    if tags.get("Project") != PROJECT:
        raise ConfigurationError(
            f"There is a role {name} that is not kon's. It is left as it is: give the fleet another name "
            "with -e run=..."
        )


# --- where hosts go -------------------------------------------------------------------------------------


def _network(work: Work) -> tuple[str, list[Subnet]]:
    """The VPC and its subnets; empty ids where they are yet to be made."""
    ec2, wanted = work.aws("ec2"), work.wanted
    if wanted.own_network:
        zones = ec2.describe_availability_zones(Filters=[{"Name": "state", "Values": ["available"]}])
        names = [each["ZoneName"] for each in zones["AvailabilityZones"] if _is_plain(each)]
        return "", [Subnet("", each) for each in sorted(names)]
    if wanted.subnets:
        found = ec2.describe_subnets(SubnetIds=wanted.subnets)["Subnets"]
        if len({each["VpcId"] for each in found}) != 1:
            raise ConfigurationError(f"subnet_ids are of several VPCs: name those of one. {_NOTHING}")
    else:
        filters = [{"Name": "default-for-az", "Values": ["true"]}, {"Name": "state", "Values": ["available"]}]
        found = ec2.describe_subnets(Filters=filters)["Subnets"]
        if not found:
            raise ConfigurationError(
                f"{wanted.region} has no default VPC with default subnets: -e own_network=true makes a "
                f"network for the fleet, -e subnet_ids=... uses one that is there. {_NOTHING}"
            )
    found.sort(key=lambda each: str(each["AvailabilityZone"]))
    return found[0]["VpcId"], [Subnet(each["SubnetId"], each["AvailabilityZone"]) for each in found]


def _is_plain(zone: dict[str, Any]) -> bool:
    """Not a local zone, which offers few types and may have to be asked for."""
    return bool(zone.get("ZoneType", "availability-zone") == "availability-zone")


def _places(work: Work, subnets: list[Subnet]) -> list[tuple[str, Subnet]]:
    """Types come first: a host of the second best type is made where no zone has the best one."""
    wanted = work.wanted
    offered = work.aws.pages(
        "ec2",
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": wanted.types}],
    )
    zones = {(each["InstanceType"], each["Location"]) for each in offered}
    places = [(kind, each) for kind in wanted.types for each in subnets if (kind, each.zone) in zones]
    if not places:
        there = ", ".join(sorted({zone for _, zone in zones})) or "no zone"
        raise ConfigurationError(
            f"None of the subnets is in a zone that offers {' or '.join(wanted.types)}, which {there} of "
            f"{wanted.region} does: name others with -e subnet_ids=..., or another instance_type. {_NOTHING}"
        )
    return places
