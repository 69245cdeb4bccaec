"""A fleet's network of its own and its security group: how hosts are reached, and by whom."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

import botocore.exceptions

from kon.fleet.build.survey import Subnet
from kon.fleet.build.wanted import Work
from kon.fleet.clients import code_of, in_kons_words
from kon.fleet.thing import Filter

_ZONES: Final = 4
"""Zones that a network of a fleet's own has subnets in, at most: enough to find capacity in another."""

_SSH: Final = 22
_RULE: Final = "SSH by an operator"
_ANYWHERE: Final = "0.0.0.0/0"


def own_network(work: Work, zones: Sequence[str]) -> tuple[str, list[Subnet]]:
    """Make what is missing of it; the VPC and its subnets, with empty ids where nothing is changed."""
    ec2, wanted = work.aws("ec2"), work.wanted
    ours = Filter(wanted.fleet).ec2
    vpcs = sorted(str(each["VpcId"]) for each in ec2.describe_vpcs(Filters=ours)["Vpcs"])
    if vpcs:
        vpc = _in_use(work, vpcs)
    else:
        made = work.change(
            "VPC",
            f"{wanted.stem}: {wanted.cidr}",
            lambda: ec2.create_vpc(
                CidrBlock=wanted.cidr, TagSpecifications=work.specified("vpc", Name=wanted.stem)
            ),
        )
        if made is None:
            for each in ("subnets", "internet gateway", "route"):
                work.change(each, "made in it", lambda: None)
            return "", [Subnet("", zone) for zone in zones[:_ZONES]]
        vpc = made["Vpc"]["VpcId"]
        work.until(f"the VPC {vpc} is not available", lambda: _states(work, vpc) == ["available"])
    subnets = _subnets(work, vpc, zones)
    _way_out(work, vpc)
    return vpc, subnets


def _in_use(work: Work, vpcs: Sequence[str]) -> str:
    """The one with the fleet's subnets. Where there are two, EC2 has answered a call as failed that made one,
    and the call was repeated: it goes with the fleet."""
    if len(vpcs) == 1:
        return vpcs[0]
    found = work.aws("ec2").describe_subnets(Filters=[{"Name": "vpc-id", "Values": list(vpcs)}])["Subnets"]
    return max(vpcs, key=lambda vpc: sum(each["VpcId"] == vpc for each in found))


def _states(work: Work, vpc: str) -> list[str]:
    filters = [{"Name": "vpc-id", "Values": [vpc]}]
    return [each["State"] for each in work.aws("ec2").describe_vpcs(Filters=filters)["Vpcs"]]


def _subnets(work: Work, vpc: str, zones: Sequence[str]) -> list[Subnet]:
    """Those that are there, or one in each of some zones."""
    ec2, wanted = work.aws("ec2"), work.wanted
    found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    there = {each["AvailabilityZone"]: Subnet(each["SubnetId"], each["AvailabilityZone"]) for each in found}
    taken = {each["CidrBlock"] for each in found}
    ranges = [str(each) for each in ipaddress.ip_network(wanted.cidr).subnets(prefixlen_diff=4)]
    # a fleet of an earlier kon has one subnet, of the whole range
    free = [] if wanted.cidr in taken else [each for each in ranges if each not in taken]
    for zone, part in zip([each for each in zones[:_ZONES] if each not in there], free):

        def make(zone: str = zone, part: str = part) -> Any:
            return ec2.create_subnet(
                VpcId=vpc,
                CidrBlock=part,
                AvailabilityZone=zone,
                TagSpecifications=work.specified("subnet", Name=wanted.stem),
            )

        made = work.change("subnet", f"{zone}: {part}", make)
        there[zone] = Subnet(made["Subnet"]["SubnetId"] if made else "", zone)
    return [there[zone] for zone in sorted(there)]


def _way_out(work: Work, vpc: str) -> None:
    """An internet gateway, and a route to it in the VPC's main route table."""
    ec2, wanted = work.aws("ec2"), work.wanted
    found = ec2.describe_internet_gateways(Filters=Filter(wanted.fleet).ec2)["InternetGateways"]
    if found:
        gateway, attached = found[0]["InternetGatewayId"], bool(found[0].get("Attachments"))
    else:
        tags = work.specified("internet-gateway", Name=wanted.stem)
        made = work.change(
            "internet gateway", wanted.stem, lambda: ec2.create_internet_gateway(TagSpecifications=tags)
        )
        gateway, attached = (made["InternetGateway"]["InternetGatewayId"] if made else ""), False
    if not attached:
        work.change(
            "internet gateway",
            f"attached to {vpc}",
            lambda: ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc),
        )
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}]
    tables: list[dict[str, Any]] = []

    def is_listed() -> bool:
        tables[:] = ec2.describe_route_tables(Filters=filters)["RouteTables"]
        return bool(tables)

    work.until(f"EC2 lists no main route table of {vpc}", is_listed)
    [table] = tables
    if not any(each.get("DestinationCidrBlock") == _ANYWHERE for each in table["Routes"]):
        work.change(
            "route",
            f"{_ANYWHERE} by the gateway",
            lambda: ec2.create_route(
                RouteTableId=table["RouteTableId"], DestinationCidrBlock=_ANYWHERE, GatewayId=gateway
            ),
        )


def security_group(work: Work, vpc: str) -> str:
    """Make it, or let one more address in; its id. Addresses of other operators are left in."""
    ec2, wanted = work.aws("ec2"), work.wanted
    if wanted.group:
        return wanted.group
    found: list[dict[str, Any]] = []
    if vpc:
        filters = [{"Name": "group-name", "Values": [wanted.stem]}, {"Name": "vpc-id", "Values": [vpc]}]
        found = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    if found:
        group, rules = str(found[0]["GroupId"]), found[0]["IpPermissions"]
    else:
        made = work.change(
            "security group",
            wanted.stem,
            lambda: ec2.create_security_group(
                GroupName=wanted.stem,
                Description=f"SSH to the workers of the fleet {wanted.fleet}",
                VpcId=vpc,
                TagSpecifications=work.specified("security-group"),
            ),
        )
        group, rules = (made["GroupId"] if made else ""), []
    _let_in(work, group, rules)
    return group


@in_kons_words
def let_in(work: Work) -> None:
    """Let one more address in where the fleet has a group of its own. Raises BackendRefused."""
    named = [*Filter(work.wanted.fleet).ec2, {"Name": "group-name", "Values": [work.wanted.stem]}]
    for each in work.aws("ec2").describe_security_groups(Filters=named)["SecurityGroups"]:
        _let_in(work, each["GroupId"], each["IpPermissions"])


def _let_in(work: Work, group: str, rules: Sequence[dict[str, Any]]) -> None:
    ec2, wanted = work.aws("ec2"), work.wanted
    before = [
        each["CidrIp"] for rule in rules if rule.get("FromPort") == _SSH for each in rule.get("IpRanges", [])
    ]
    if wanted.ssh_from and wanted.ssh_from not in before:
        permission = {
            "IpProtocol": "tcp",
            "FromPort": _SSH,
            "ToPort": _SSH,
            "IpRanges": [{"CidrIp": wanted.ssh_from, "Description": _RULE}],
        }

        def authorize() -> None:
            try:
                ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
            except botocore.exceptions.ClientError as error:
                if code_of(error) != "InvalidPermission.Duplicate":
                    raise

        work.change("SSH", f"from {', '.join([*before, wanted.ssh_from])}", authorize, ", ".join(before))
        if before:
            work.notes.append(f"SSH is let in from {', '.join(before)} as before, and from {wanted.ssh_from}")
