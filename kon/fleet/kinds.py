"""The kinds of things that a fleet has, in the order in which they go: what others hang on comes last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import botocore.exceptions
import msgspec

from kon.backends.prices import Prices
from kon.fleet.clients import Clients
from kon.fleet.thing import GLOBAL, Filter, Thing, stem_of, tags_of

_MONTH_H: Final = 730.0
_VOLUME_GB_MONTH: Final = 0.08  # gp3 in us-east-1, aws.amazon.com/ebs/pricing, January 2026
_SNAPSHOT_GB_MONTH: Final = 0.05  # the same page; Amazon charges for the blocks that are used, at most this
_ALARM_MONTH: Final = 0.10  # aws.amazon.com/cloudwatch/pricing, January 2026, after the ten free ones
_OBJECTS_A_CALL: Final = 1_000


class ThingKind(msgspec.Struct, frozen=True):
    """find: things of one region that the filter takes. remove: one of them; it may be gone already.

    everywhere: it belongs to no region, and is looked for once.
    """

    name: str
    find: Callable[[Clients, Filter, Prices], Iterator[Thing]]
    remove: Callable[[Clients, Thing], None]
    everywhere: bool = False


# --- hosts ----------------------------------------------------------------------------------------------


def _instances(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    states = ["pending", "running", "stopping", "stopped", "shutting-down"]
    filters = [*wanted.ec2, {"Name": "instance-state-name", "Values": states}]
    for reservation in aws.pages("ec2", "describe_instances", "Reservations", Filters=filters):
        for each in reservation["Instances"]:
            hour = prices.ec2.hour.get(each["InstanceType"])
            if hour is not None and each.get("InstanceLifecycle") == "spot":
                hour *= prices.ec2.spot_share
            if each["State"]["Name"] in ("stopping", "stopped"):
                hour = 0.0
            name = f"{each['InstanceType']} {each['State']['Name']}"
            yield Thing("instance", each["InstanceId"], name, aws.region, tags_of(each.get("Tags")), hour)


def _end_instance(aws: Clients, thing: Thing) -> None:
    aws("ec2").terminate_instances(InstanceIds=[thing.id])


def _volumes(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    for each in aws.pages("ec2", "describe_volumes", "Volumes", Filters=wanted.ec2):
        usd = each["Size"] * _VOLUME_GB_MONTH / _MONTH_H
        name = f"{each['Size']} GB {each['State']}"
        yield Thing("volume", each["VolumeId"], name, aws.region, tags_of(each.get("Tags")), usd)


def _images(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    for each in aws.pages("ec2", "describe_images", "Images", Filters=wanted.ec2, Owners=["self"]):
        yield Thing("image", each["ImageId"], each.get("Name", ""), aws.region, tags_of(each.get("Tags")))


def _snapshots(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    for each in aws.pages("ec2", "describe_snapshots", "Snapshots", Filters=wanted.ec2, OwnerIds=["self"]):
        usd = each["VolumeSize"] * _SNAPSHOT_GB_MONTH / _MONTH_H
        name = f"{each['VolumeSize']} GB"
        yield Thing("snapshot", each["SnapshotId"], name, aws.region, tags_of(each.get("Tags")), usd)


# --- what EC2 has without charge ------------------------------------------------------------------------


def _of_ec2(
    kind: str, operation: str, key: str, id_key: str, remove: str, name_key: str | None = None
) -> ThingKind:
    """A kind that is described and deleted like most of EC2's."""

    def find(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
        for each in aws.pages("ec2", operation, key, Filters=wanted.ec2):
            tags = tags_of(each.get("Tags"))
            name = str(each.get(name_key)) if name_key else tags.get("Name", "")
            yield Thing(kind, each[id_key], name, aws.region, tags)

    def end(aws: Clients, thing: Thing) -> None:
        getattr(aws("ec2"), remove)(**{id_key: thing.id})

    return ThingKind(kind, find, end)


def _end_gateway(aws: Clients, thing: Thing) -> None:
    ec2 = aws("ec2")
    for gateway in ec2.describe_internet_gateways(InternetGatewayIds=[thing.id])["InternetGateways"]:
        for each in gateway.get("Attachments", []):
            ec2.detach_internet_gateway(InternetGatewayId=thing.id, VpcId=each["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=thing.id)


def _end_route_table(aws: Clients, thing: Thing) -> None:
    ec2 = aws("ec2")
    for table in ec2.describe_route_tables(RouteTableIds=[thing.id])["RouteTables"]:
        for each in table.get("Associations", []):
            if not each.get("Main"):
                ec2.disassociate_route_table(AssociationId=each["RouteTableAssociationId"])
    ec2.delete_route_table(RouteTableId=thing.id)


def _end_vpc(aws: Clients, thing: Thing) -> None:
    """What is in it is the fleet's, though an interrupted play may have left it without tags."""
    ec2 = aws("ec2")
    inside = {"Filters": [{"Name": "vpc-id", "Values": [thing.id]}]}
    for subnet in aws.pages("ec2", "describe_subnets", "Subnets", **inside):
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    for table in aws.pages("ec2", "describe_route_tables", "RouteTables", **inside):
        if not any(each.get("Main") for each in table.get("Associations", [])):
            ec2.delete_route_table(RouteTableId=table["RouteTableId"])
    attached = {"Filters": [{"Name": "attachment.vpc-id", "Values": [thing.id]}]}
    for gateway in aws.pages("ec2", "describe_internet_gateways", "InternetGateways", **attached):
        ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=thing.id)
        ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
    for group in aws.pages("ec2", "describe_security_groups", "SecurityGroups", **inside):
        if group["GroupName"] != "default":
            ec2.delete_security_group(GroupId=group["GroupId"])
    ec2.delete_vpc(VpcId=thing.id)


def _up_to(size: int) -> dict[str, Any]:
    """As many on a page as the service has at most: by itself it has a tenth of them."""
    return {"PaginationConfig": {"PageSize": size}}


def _tags_in(key: str) -> Callable[[Any], dict[str, str]]:
    return lambda found: tags_of(found.get(key))


# --- IAM ------------------------------------------------------------------------------------------------


def _profiles(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    iam = aws("iam")
    for each in aws.pages("iam", "list_instance_profiles", "InstanceProfiles", **_up_to(1_000)):
        name = each["InstanceProfileName"]
        if not wanted.names_of_fleets(name):
            continue
        profile = aws.ask(
            f"the instance profile {name}", partial(iam.get_instance_profile, InstanceProfileName=name)
        )
        if profile is None:
            continue
        # one that was made with its role has that role's tags, if none of its own
        tags = tags_of(profile["InstanceProfile"].get("Tags"))
        if not tags and each["Roles"]:
            role = each["Roles"][0]["RoleName"]
            found = aws.ask(f"the role {role}", partial(iam.list_role_tags, RoleName=role))
            tags = tags_of(found["Tags"]) if found is not None else {}
        if not tags and wanted.stem is not None and name == wanted.stem:
            tags = {"Project": "kon", "Run": str(wanted.fleet)}  # left without a role, as a name tells
        if wanted.takes(name, tags):
            yield Thing("instance profile", name, name, GLOBAL, tags)


def _end_profile(aws: Clients, thing: Thing) -> None:
    iam = aws("iam")
    profile = iam.get_instance_profile(InstanceProfileName=thing.id)["InstanceProfile"]
    for role in profile["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=thing.id, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=thing.id)


def _roles(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    for each in aws.pages("iam", "list_roles", "Roles", **_up_to(1_000)):
        name = each["RoleName"]
        if each["Path"].startswith("/aws-service-role/") or not wanted.names_of_fleets(name):
            continue
        ask = partial(aws("iam").list_role_tags, RoleName=name)
        tags = aws.tags(f"the role {name}", ask, _tags_in("Tags"))
        if tags is not None and wanted.takes(name, tags):
            yield Thing("role", name, name, GLOBAL, tags)


def _end_role(aws: Clients, thing: Thing) -> None:
    iam = aws("iam")
    for name in iam.list_role_policies(RoleName=thing.id)["PolicyNames"]:
        iam.delete_role_policy(RoleName=thing.id, PolicyName=name)
    for each in iam.list_attached_role_policies(RoleName=thing.id)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=thing.id, PolicyArn=each["PolicyArn"])
    iam.delete_role(RoleName=thing.id)


# --- alarms, topics -------------------------------------------------------------------------------------


def _alarms(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    more = {"AlarmNamePrefix": wanted.stem or stem_of(""), **_up_to(100)}
    for each in aws.pages("cloudwatch", "describe_alarms", "MetricAlarms", **more):
        name = each["AlarmName"]
        if not wanted.names_of_fleets(name):
            continue
        ask = partial(aws("cloudwatch").list_tags_for_resource, ResourceARN=each["AlarmArn"])
        tags = aws.tags(f"the alarm {name}", ask, _tags_in("Tags"))
        if tags is not None and wanted.takes(name, tags):
            yield Thing("alarm", each["AlarmArn"], name, aws.region, tags, _ALARM_MONTH / _MONTH_H)


def _end_alarm(aws: Clients, thing: Thing) -> None:
    aws("cloudwatch").delete_alarms(AlarmNames=[thing.name])


def _topics(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    for each in aws.pages("sns", "list_topics", "Topics"):
        arn = each["TopicArn"]
        name = arn.rpartition(":")[2]
        if not wanted.names_of_fleets(name):
            continue
        ask = partial(aws("sns").list_tags_for_resource, ResourceArn=arn)
        tags = aws.tags(f"the topic {name}", ask, _tags_in("Tags"))
        if tags is not None and wanted.takes(name, tags):
            yield Thing("topic", arn, name, aws.region, tags)


def _end_topic(aws: Clients, thing: Thing) -> None:
    aws("sns").delete_topic(TopicArn=thing.id)


# --- queues, tables, buckets ----------------------------------------------------------------------------


def _queues(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    # without MaxResults SQS lists 1,000, and says nothing of others
    more = _up_to(1_000)
    if wanted.stem is not None:
        more["QueueNamePrefix"] = wanted.stem
    for url in aws.pages("sqs", "list_queues", "QueueUrls", **more):
        name = url.rpartition("/")[2]
        if not wanted.names(name):
            continue
        ask = partial(aws("sqs").list_queue_tags, QueueUrl=url)
        tags = aws.tags(f"the queue {name}", ask, lambda found: found.get("Tags", {}))
        if tags is not None and wanted.takes(name, tags):
            yield Thing("queue", url, name, aws.region, tags)


def _end_queue(aws: Clients, thing: Thing) -> None:
    aws("sqs").delete_queue(QueueUrl=thing.id)


def _tables(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    dynamodb = aws("dynamodb")
    for name in aws.pages("dynamodb", "list_tables", "TableNames"):
        about = f"the table {name}"
        if not wanted.names(name) or aws.is_strange(about):
            continue
        described = aws.ask(about, partial(dynamodb.describe_table, TableName=name))
        if described is None:
            continue
        table = described["Table"]
        if table.get("TableStatus") == "DELETING":
            continue  # it goes, and Amazon refuses to tell the tags of one that has gone
        ask = partial(dynamodb.list_tags_of_resource, ResourceArn=table["TableArn"])
        tags = aws.tags(about, ask, _tags_in("Tags"))
        if tags is None or not wanted.takes(name, tags):
            continue
        units = table.get("ProvisionedThroughput", {})
        usd = units.get("ReadCapacityUnits", 0) * prices.dynamodb.provisioned_read_unit_hour
        usd += units.get("WriteCapacityUnits", 0) * prices.dynamodb.provisioned_write_unit_hour
        yield Thing("table", table["TableArn"], name, aws.region, tags, usd)


def _end_table(aws: Clients, thing: Thing) -> None:
    aws("dynamodb").delete_table(TableName=thing.name)


def _buckets(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    s3 = aws("s3")
    names = [each["Name"] for each in s3.list_buckets().get("Buckets", []) if wanted.names(each["Name"])]
    # one that has gone since may be somebody else's by now
    account = aws("sts").get_caller_identity()["Account"] if names else ""
    for name in names:
        aws.owners[name] = account
        ask = partial(s3.get_bucket_tagging, Bucket=name)
        tags = aws.tags(f"the bucket {name}", ask, _tags_in("TagSet"))
        if tags is not None and wanted.takes(name, tags):
            yield Thing("bucket", name, name, GLOBAL, tags, None)


def _end_bucket(aws: Clients, thing: Thing) -> None:
    s3 = aws("s3")
    for upload in aws.pages("s3", "list_multipart_uploads", "Uploads", Bucket=thing.id):
        s3.abort_multipart_upload(Bucket=thing.id, Key=upload["Key"], UploadId=upload["UploadId"])
    while keys := s3.list_objects_v2(Bucket=thing.id, MaxKeys=_OBJECTS_A_CALL).get("Contents"):
        _delete_objects(s3, thing.id, [{"Key": each["Key"]} for each in keys])
    # where somebody has switched versions on, a list of objects shows none of the older ones
    while True:
        page = s3.list_object_versions(Bucket=thing.id, MaxKeys=_OBJECTS_A_CALL)
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        if not found:
            break
        _delete_objects(
            s3, thing.id, [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        )
    s3.delete_bucket(Bucket=thing.id)


def _delete_objects(s3: Any, bucket: str, objects: list[dict[str, str]]) -> None:
    """Raises ClientError for the first that can't be deleted: its reply is a 200 all the same."""
    reply = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    for error in reply.get("Errors", ()):
        raise botocore.exceptions.ClientError({"Error": error}, f"DeleteObjects of {error.get('Key')}")


def _key_pairs(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    for each in aws.pages("ec2", "describe_key_pairs", "KeyPairs", Filters=wanted.ec2):
        name = each["KeyName"]
        yield Thing("key pair", each["KeyPairId"], name, aws.region, tags_of(each.get("Tags")))


def _end_key_pair(aws: Clients, thing: Thing) -> None:
    aws("ec2").delete_key_pair(KeyName=thing.name)  # by its id, moto says that it did and does not


def _parameters(aws: Clients, wanted: Filter, prices: Prices) -> Iterator[Thing]:
    stem = wanted.stem or stem_of("")
    begin = [{"Key": "Name", "Option": "BeginsWith", "Values": [stem]}]
    more = {"ParameterFilters": begin, **_up_to(50)}
    for each in aws.pages("ssm", "describe_parameters", "Parameters", **more):
        name = each["Name"]
        if not wanted.names_of_fleets(name):
            continue
        ask = partial(aws("ssm").list_tags_for_resource, ResourceType="Parameter", ResourceId=name)
        tags = aws.tags(f"the parameter {name}", ask, _tags_in("TagList"))
        if tags is not None and wanted.takes(name, tags):
            yield Thing("parameter", name, name, aws.region, tags)


def _end_parameter(aws: Clients, thing: Thing) -> None:
    aws("ssm").delete_parameter(Name=thing.id)


KINDS: Final = (
    ThingKind("instance", _instances, _end_instance),
    _of_ec2(
        "launch template",
        "describe_launch_templates",
        "LaunchTemplates",
        "LaunchTemplateId",
        "delete_launch_template",
        "LaunchTemplateName",
    ),
    ThingKind("key pair", _key_pairs, _end_key_pair),
    ThingKind("parameter", _parameters, _end_parameter),
    ThingKind("alarm", _alarms, _end_alarm),
    ThingKind("topic", _topics, _end_topic),
    ThingKind("queue", _queues, _end_queue),
    ThingKind("table", _tables, _end_table),
    ThingKind("bucket", _buckets, _end_bucket, everywhere=True),
    ThingKind("volume", _volumes, lambda aws, thing: aws("ec2").delete_volume(VolumeId=thing.id)),
    ThingKind("image", _images, lambda aws, thing: aws("ec2").deregister_image(ImageId=thing.id)),
    ThingKind("snapshot", _snapshots, lambda aws, thing: aws("ec2").delete_snapshot(SnapshotId=thing.id)),
    _of_ec2(
        "network interface",
        "describe_network_interfaces",
        "NetworkInterfaces",
        "NetworkInterfaceId",
        "delete_network_interface",
    ),
    ThingKind("instance profile", _profiles, _end_profile, everywhere=True),
    ThingKind("role", _roles, _end_role, everywhere=True),
    _of_ec2(
        "security group",
        "describe_security_groups",
        "SecurityGroups",
        "GroupId",
        "delete_security_group",
        "GroupName",
    ),
    _of_ec2("subnet", "describe_subnets", "Subnets", "SubnetId", "delete_subnet"),
    msgspec.structs.replace(
        _of_ec2("route table", "describe_route_tables", "RouteTables", "RouteTableId", "delete_route_table"),
        remove=_end_route_table,
    ),
    msgspec.structs.replace(
        _of_ec2(
            "internet gateway",
            "describe_internet_gateways",
            "InternetGateways",
            "InternetGatewayId",
            "delete_internet_gateway",
        ),
        remove=_end_gateway,
    ),
    msgspec.structs.replace(_of_ec2("VPC", "describe_vpcs", "Vpcs", "VpcId", "delete_vpc"), remove=_end_vpc),
)
"""Snapshots come after the images that hang on them. Volumes come after the hosts that they go with, unless
they outlive them."""
