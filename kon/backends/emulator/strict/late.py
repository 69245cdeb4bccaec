"""What EC2 and IAM have just made, and other calls do not know yet: here, each for one call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from kon.backends.emulator.strict.calls import Call, Refusal, Reply
from kon.backends.emulator.strict.rules import Account, changes, refuses, tracks

_EVENTUAL: Final = "https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html"
_IAM: Final = "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html"
_NEW: Final = {
    "ec2:CreateVpc": re.compile(rb"<vpcId>(vpc-\w+)<"),
    "ec2:CreateSubnet": re.compile(rb"<subnetId>(subnet-\w+)<"),
    "ec2:CreateInternetGateway": re.compile(rb"<internetGatewayId>(igw-\w+)<"),
    "ec2:CreateSecurityGroup": re.compile(rb"<groupId>(sg-\w+)<"),
}


def _names(call: Call, ends: str) -> Iterable[str]:
    return (value for key, value in call.parameters.items() if re.search(ends, key))


@tracks(*_NEW)
def _made(call: Call, account: Account, reply: Reply) -> None:
    for found in _NEW[call.name].findall(reply.body):
        account.made("thing", found.decode(), unknown=1, table=1)


@tracks("ec2:CreateLaunchTemplate")
def _template_made(call: Call, account: Account, reply: Reply) -> None:
    account.made("thing", call.parameters["LaunchTemplateName"], unknown=1)
    for name in _names(call, r"IamInstanceProfile\.Name$"):
        if (profile := account.get("profile", name)) is not None:
            account.things["thing", call.parameters["LaunchTemplateName"]].about["profile"] = profile.name


@tracks("iam:CreateInstanceProfile")
def _profile_made(call: Call, account: Account, reply: Reply) -> None:
    account.made("profile", call.parameters["InstanceProfileName"], unknown=1, ec2=1)


@tracks("iam:DeleteInstanceProfile")
def _profile_deleted(call: Call, account: Account, reply: Reply) -> None:
    account.deleted("profile", call.parameters["InstanceProfileName"])


def _late(ends: str, code: str, what: str) -> Callable[[Call, Account], Refusal | None]:
    """ends: what names of parameters end with that tell such a thing."""

    def check(call: Call, account: Account) -> Refusal | None:
        for name in _names(call, ends):
            thing = account.get("thing", name)
            if thing is not None and thing.still("unknown"):
                return Refusal(code, f"The {what} '{name}' does not exist")
        return None

    return check


@refuses(
    "ec2:CreateSubnet",
    "ec2:AttachInternetGateway",
    "ec2:CreateSecurityGroup",
    "ec2:ModifyVpcAttribute",
    source="https://github.com/hashicorp/terraform/issues/6759",
)
def new_network_is_not_known_yet(call: Call, account: Account) -> Refusal | None:
    """A VPC was made a moment ago (here: one call): InvalidVpcID.NotFound."""
    return _late(r"^VpcId$", "InvalidVpcID.NotFound", "vpc ID")(call, account)


@refuses(
    "ec2:RunInstances",
    "ec2:ModifySubnetAttribute",
    source="https://github.com/hashicorp/terraform/issues/6813",
)
def new_subnet_is_not_known_yet(call: Call, account: Account) -> Refusal | None:
    """A subnet was made a moment ago (here: one call): InvalidSubnetID.NotFound."""
    return _late(r"SubnetId$", "InvalidSubnetID.NotFound", "subnet ID")(call, account)


@refuses(
    "ec2:AttachInternetGateway",
    "ec2:CreateRoute",
    source="https://github.com/hashicorp/terraform/issues/2174",
)
def new_gateway_is_not_known_yet(call: Call, account: Account) -> Refusal | None:
    """An internet gateway was made a moment ago (here: one call): InvalidInternetGatewayID.NotFound."""
    return _late(r"GatewayId$", "InvalidInternetGatewayID.NotFound", "internetGateway ID")(call, account)


@refuses(
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:RunInstances",
    source="https://github.com/boto/boto3/issues/620",
)
def new_group_is_not_known_yet(call: Call, account: Account) -> Refusal | None:
    """A security group was made a moment ago (here: one call): InvalidGroup.NotFound."""
    return _late(r"^GroupId$|SecurityGroupId\.\d+$", "InvalidGroup.NotFound", "security group")(call, account)


@refuses("ec2:RunInstances", source=_EVENTUAL)
def new_template_is_not_known_yet(call: Call, account: Account) -> Refusal | None:
    """A template was made a moment ago (here: one call): InvalidLaunchTemplateName.NotFoundException."""
    code = "InvalidLaunchTemplateName.NotFoundException"
    return _late(r"LaunchTemplateName$", code, "launch template")(call, account)


@changes("ec2:DescribeRouteTables", source=_EVENTUAL)
def main_route_table_comes_late(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A VPC was made a moment ago (here: one list): its main route table is not listed yet."""
    found = [account.get("thing", each) for each in _names(call, r"^Filter\.\d+\.Value\.1$")]
    if not reply.ok or not any(thing is not None and thing.still("table") for thing in found):
        return None
    body = re.sub(rb"<routeTableSet>.*</routeTableSet>", b"<routeTableSet/>", reply.body, flags=re.S)
    return reply.with_body(body)


def _no_entity(name: str, what: str) -> Refusal:
    return Refusal("NoSuchEntity", f"The {what} with name {name} cannot be found.", 404)


@refuses(
    "iam:PutRolePolicy",
    "iam:AddRoleToInstanceProfile",
    source="https://github.com/hashicorp/terraform-provider-aws/pull/18435",
)
def new_role_is_not_known_yet(call: Call, account: Account) -> Refusal | None:
    """A role was made a moment ago (here: one call): NoSuchEntity."""
    role = account.get("role", call.parameters.get("RoleName", ""))
    return _no_entity(role.name, "role") if role is not None and role.still("unknown") else None


@refuses("iam:AddRoleToInstanceProfile", source=_IAM)
def new_profile_is_not_known_yet(call: Call, account: Account) -> Refusal | None:
    """An instance profile was made a moment ago (here: one call): NoSuchEntity."""
    profile = account.get("profile", call.parameters.get("InstanceProfileName", ""))
    if profile is None or not profile.still("unknown"):
        return None
    return _no_entity(profile.name, "Instance Profile")


@refuses("ec2:RunInstances", source="https://github.com/hashicorp/terraform/issues/15341")
def ec2_hears_late_of_profiles(call: Call, account: Account) -> Refusal | None:
    """The template's profile was made a moment ago (here: one call): InvalidParameterValue."""
    for name in _names(call, r"LaunchTemplateName$"):
        template = account.get("thing", name)
        profile = account.get("profile", template.about.get("profile", "") if template is not None else "")
        if profile is not None and profile.still("ec2"):
            return Refusal(
                "InvalidParameterValue",
                f"Value ({profile.name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM "
                "Instance Profile name",
            )
    return None
