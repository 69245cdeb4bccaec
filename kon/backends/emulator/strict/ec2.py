"""Rules of EC2, IAM, SNS and CloudWatch."""

from __future__ import annotations

import re
from typing import Final

from kon.backends.emulator.strict.calls import Call, Refusal, Reply
from kon.backends.emulator.strict.rules import Account, changes, refuses, tracks

_EVENTUAL: Final = "https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html"
_INSTANCE: Final = re.compile(rb"<instanceId>(i-[0-9a-f]+)</instanceId>")
_RESERVATION: Final = re.compile(
    rb"<item>\s*<reservationId>.*?</instancesSet>.*?</item>(?=\s*(?:<item>\s*<reservationId>|</reservationSet>))",
    re.S,
)


def _ids(call: Call, name: str) -> list[str]:
    return [value for key, value in call.parameters.items() if key.startswith(f"{name}.")]


@tracks("ec2:RunInstances")
def _launched(call: Call, account: Account, reply: Reply) -> None:
    for found in _INSTANCE.findall(reply.body):
        host = account.made("instance", found.decode(), unlisted=1)
        host.about["protected"] = call.parameters.get("DisableApiTermination") == "true"
    token = call.parameters.get("ClientToken")
    if token and account.get("token", token) is None:
        account.made("token", token).about = {"asked": _plain(call), "reply": reply}


@tracks("ec2:TerminateInstances")
def _ended(call: Call, account: Account, reply: Reply) -> None:
    for host in _ids(call, "InstanceId"):
        account.deleted("instance", host, interface=2, address=2)


@tracks("ec2:DeregisterImage")
def _deregistered(call: Call, account: Account, reply: Reply) -> None:
    account.deleted("image", call.parameters["ImageId"], snapshot=2)


@tracks("iam:CreateRole")
def _role_made(call: Call, account: Account, reply: Reply) -> None:
    account.made("role", call.parameters["RoleName"], changing=1, unknown=1)


@tracks("iam:DeleteRole")
def _role_deleted(call: Call, account: Account, reply: Reply) -> None:
    account.deleted("role", call.parameters["RoleName"])


@tracks("sns:CreateTopic")
def _topic_made(call: Call, account: Account, reply: Reply) -> None:
    if account.get("topic", call.parameters["Name"]) is None:
        account.made("topic", call.parameters["Name"], changing=1).tags = _topic_tags(call)


@tracks("sns:DeleteTopic")
def _topic_deleted(call: Call, account: Account, reply: Reply) -> None:
    account.deleted("topic", call.parameters["TopicArn"].rpartition(":")[2])


def _plain(call: Call) -> dict[str, str]:
    return {key: value for key, value in call.parameters.items() if key != "Version"}


def _topic_tags(call: Call) -> dict[str, str]:
    given = call.parameters
    keys = [key for key in given if re.fullmatch(r"Tags\.member\.\d+\.Key", key)]
    return {given[key]: given.get(f"{key.removesuffix('Key')}Value", "") for key in keys}


@refuses(
    "ec2:TerminateInstances",
    source="https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html",
)
def hosts_can_be_protected(call: Call, account: Account) -> Refusal | None:
    """A host is protected from termination: OperationNotPermitted, and none of the call's hosts goes."""
    for host in _ids(call, "InstanceId"):
        thing = account.get("instance", host)
        if thing is not None and thing.about.get("protected"):
            return Refusal(
                "OperationNotPermitted",
                f"The instance '{host}' may not be terminated. Modify its 'disableApiTermination' instance "
                "attribute and try again.",
            )
    return None


@refuses(
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteSubnet",
    source="https://github.com/hashicorp/terraform-provider-aws/issues/1671",
)
def interfaces_outlive_hosts(call: Call, account: Account) -> Refusal | None:
    """An interface of a host that was ended is still there (here: for two calls): DependencyViolation."""
    if not any(gone.still("interface") for gone in account.going("instance")):
        return None
    return Refusal("DependencyViolation", "resource has a dependent object")


@refuses("ec2:DetachInternetGateway", source="https://github.com/hashicorp/terraform/issues/497")
def addresses_outlive_hosts(call: Call, account: Account) -> Refusal | None:
    """A host that was ended still has its public address (here: for two calls): DependencyViolation."""
    if not any(gone.still("address") for gone in account.going("instance")):
        return None
    return Refusal("DependencyViolation", "Network vpc has some mapped public address(es).")


@refuses("ec2:DeleteSnapshot", source="https://github.com/boto/boto/issues/3019")
def images_hold_their_snapshots(call: Call, account: Account) -> Refusal | None:
    """The image of a snapshot was deregistered a moment ago (here: two calls): InvalidSnapshot.InUse."""
    if not any(gone.still("snapshot") for gone in account.going("image")):
        return None
    return Refusal("InvalidSnapshot.InUse", "The snapshot is currently in use by an image")


@changes("ec2:DescribeInstances", source=_EVENTUAL)
def new_hosts_are_not_listed(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A host that was launched a moment ago (here: one list) is not found by its tags."""
    if "Filter.1.Name" not in call.parameters:
        return None
    hidden = [
        host.name.encode()
        for host in account.of("instance")
        if host.name.encode() in reply.body and host.still("unlisted")
    ]
    if not hidden:
        return None
    body = _RESERVATION.sub(
        lambda found: b"" if any(host in found[0] for host in hidden) else found[0], reply.body
    )
    return reply.with_body(body)


@refuses(
    "ec2:RunInstances",
    source="https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Run_Instance_Idempotency.html",
)
def tokens_fit_one_launch(call: Call, account: Account) -> Refusal | None:
    """A ClientToken comes a second time with other parameters: IdempotentParameterMismatch."""
    token = account.get("token", call.parameters.get("ClientToken", ""))
    if token is None or token.about["asked"] == _plain(call):
        return None
    return Refusal("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent")


@refuses(
    "ec2:RunInstances",
    source="https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Run_Instance_Idempotency.html",
)
def tokens_launch_once(call: Call, account: Account) -> Reply | None:
    """A ClientToken comes again with the same parameters: the first answer again, and no more hosts."""
    token = account.get("token", call.parameters.get("ClientToken", ""))
    return None if token is None or token.about["asked"] != _plain(call) else token.about["reply"]


@refuses(
    "iam:DeleteRolePolicy",
    "iam:DeleteRole",
    source="https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRole.html",
)
def roles_are_changed_one_by_one(call: Call, account: Account) -> Refusal | None:
    """Another change of the role is under way (here: once): ConcurrentModification, 409."""
    role = account.get("role", call.parameters.get("RoleName", ""))
    if role is None or not role.still("changing"):
        return None
    return Refusal(
        "ConcurrentModification",
        "The request was rejected because multiple requests to change this object were submitted",
        409,
    )


@refuses("sns:CreateTopic", source="https://github.com/localstack/localstack/issues/2405")
def topic_has_other_tags(call: Call, account: Account) -> Refusal | None:
    """A topic of that name is there with other tags: InvalidParameter."""
    topic = account.get("topic", call.parameters.get("Name", ""))
    if topic is None or topic.tags == _topic_tags(call):
        return None
    return Refusal(
        "InvalidParameter", "Invalid parameter: Tags Reason: Topic already exists with different tags"
    )


@refuses("sns:DeleteTopic", source="https://docs.aws.amazon.com/sns/latest/api/API_DeleteTopic.html")
def topics_are_changed_one_by_one(call: Call, account: Account) -> Refusal | None:
    """Another change of the topic is under way (here: once): ConcurrentAccess."""
    topic = account.get("topic", str(call.parameters.get("TopicArn", "")).rpartition(":")[2])
    if topic is None or not topic.still("changing"):
        return None
    return Refusal("ConcurrentAccess", "Can't perform multiple operations on a tag simultaneously.")
