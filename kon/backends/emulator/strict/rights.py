"""IAM: which actions on which resources a call needs, and whether a policy allows them.

The table is written from Amazon's service authorization reference. What it does not know is denied, so that
a new call of kon's can't pass by its absence here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec

from kon.backends.emulator.strict.calls import Call, Refusal

_S3_ACTIONS: Final = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListBuckets": "ListAllMyBuckets",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListParts": "ListMultipartUploadParts",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
}
_SQS_ACTIONS: Final = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}
_FREE: Final = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
"""Calls that nobody needs a right for."""

_STATEMENT: Final = re.compile(r'\s*(INSERT|UPDATE|DELETE|SELECT)\b[^"]*"([^"]+)"', re.I)


class Need(msgspec.Struct, frozen=True):
    """One action on one resource, with what conditions may ask of it."""

    action: str
    resource: str
    context: Mapping[str, str] = {}


TagsOf = Callable[[str, str], Mapping[str, str]]
"""Tags of one of EC2's things: of a region, by an id, or by the name of a key pair or a template."""


def no_tags(region: str, thing: str) -> Mapping[str, str]:
    return {}


def needs_of(call: Call, account_id: str, tags_of: TagsOf = no_tags) -> list[Need]:
    """What the call needs: more than one where it tags what it makes, or names several things."""
    if call.name in _FREE:
        return []
    where = f"{call.region}:{account_id}"
    if call.service == "ec2":
        made = list(_ec2(call, where, tags_of))
    else:
        made = list(_NEEDS.get(call.service, _others)(call, where))
    partition = _partition(call.region)
    context = {"aws:ResourceAccount": account_id, "aws:RequestedRegion": call.region}
    return [
        Need(
            each.action,
            each.resource.replace("arn:aws:", f"arn:{partition}:", 1),
            {**context, **each.context},
        )
        for each in made
    ]


def _partition(region: str) -> str:
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _sqs(call: Call, where: str) -> Iterator[Need]:
    given = call.parameters
    name = given.get("QueueName") or str(given.get("QueueUrl", "")).rpartition("/")[2]
    arn = f"arn:aws:sqs:{where}:{name}"
    yield Need(
        f"sqs:{_SQS_ACTIONS.get(call.operation, call.operation)}",
        "*" if call.operation == "ListQueues" else arn,
    )
    if call.operation == "CreateQueue" and given.get("tags"):
        yield Need("sqs:TagQueue", arn)


def _dynamodb(call: Call, where: str) -> Iterator[Need]:
    given, operation = call.parameters, call.operation
    arn = f"arn:aws:dynamodb:{where}:table/"
    if operation in ("BatchExecuteStatement", "ExecuteStatement"):
        for each in given.get("Statements", [given]):
            found = _STATEMENT.match(each.get("Statement", ""))
            if found is None:
                yield Need("dynamodb:unknown statement", "*")
            else:
                yield Need(f"dynamodb:PartiQL{found[1].capitalize()}", arn + found[2])
    elif "RequestItems" in given:
        for name in given["RequestItems"]:
            yield Need(f"dynamodb:{operation}", arn + name)
    elif operation == "ListTables":
        yield Need("dynamodb:ListTables", "*")
    else:
        name = str(given.get("TableName") or given.get("ResourceArn", "")).rpartition("/")[2]
        yield Need(f"dynamodb:{operation}", arn + name)
        if operation == "CreateTable" and given.get("Tags"):
            yield Need("dynamodb:TagResource", arn + name)


def _s3(call: Call, where: str) -> Iterator[Need]:
    given, operation = call.parameters, call.operation
    action = f"s3:{_S3_ACTIONS.get(operation, operation)}"
    if operation == "ListBuckets":
        yield Need(action, "*")
        return
    bucket = f"arn:aws:s3:::{given['Bucket']}"
    if operation == "DeleteObjects":
        yield from (Need(action, f"{bucket}/{key}") for key in given.get("Keys", ()))
        return
    yield Need(action, f"{bucket}/{given['Key']}" if "Key" in given else bucket)
    if operation == "CreateBucket" and given.get("Tags"):
        yield Need("s3:TagResource", bucket)


def _iam(call: Call, where: str) -> Iterator[Need]:
    given, account = call.parameters, where.rpartition(":")[2]
    action = f"iam:{call.operation}"
    if call.operation in ("ListRoles", "ListInstanceProfiles"):
        yield Need(action, "*")
    elif "InstanceProfileName" in given:
        yield Need(action, f"arn:aws:iam::{account}:instance-profile/{given['InstanceProfileName']}")
        if call.operation == "AddRoleToInstanceProfile":
            role = f"arn:aws:iam::{account}:role/{given['RoleName']}"
            yield Need("iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"})
    elif "RoleName" in given:
        yield Need(action, f"arn:aws:iam::{account}:role/{given['RoleName']}")
    else:
        yield Need(action, str(given.get("PolicyArn", "*")))


_ENDS: Final = ("Delete", "Deregister", "Detach", "Disassociate", "Terminate")
"""Calls of EC2 that are allowed by the tags of what they end."""

_THING: Final = re.compile(r"(InstanceId\.\d+|\w+Id|KeyName|LaunchTemplateName)")


def _ec2(call: Call, where: str, tags_of: TagsOf) -> Iterator[Need]:
    action = f"ec2:{call.operation}"
    if not call.operation.startswith(_ENDS):
        yield Need(action, "*")
    for key, value in call.parameters.items():
        if call.operation.startswith(_ENDS) and _THING.fullmatch(key):
            tags = tags_of(call.region, value)
            bears = {f"aws:ResourceTag/{name}": each for name, each in tags.items()}
            yield Need(action, f"arn:aws:ec2:{where}:*/{value}", bears)
    if "IamInstanceProfile.Name" in call.parameters and call.operation == "RunInstances":
        role = f"arn:aws:iam::{where.rpartition(':')[2]}:role/{call.parameters['IamInstanceProfile.Name']}"
        yield Need("iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"})


def _others(call: Call, where: str) -> Iterator[Need]:
    given = call.parameters
    arn = given.get("ResourceArn") or given.get("TopicArn") or given.get("ResourceARN")
    if call.service == "ssm" and (name := given.get("Name") or given.get("ResourceId")):
        arn = f"arn:aws:ssm:{where}:parameter/{str(name).removeprefix('/')}"
        if given.get("Tags"):
            yield Need("ssm:AddTagsToResource", arn)
    if call.service == "sns" and call.operation == "CreateTopic":
        arn = f"arn:aws:sns:{where}:{given.get('Name')}"
    names = given.get("AlarmNames", [given["AlarmName"]] if "AlarmName" in given else [])
    if call.service == "cloudwatch" and call.operation in ("PutMetricAlarm", "DeleteAlarms"):
        for name in names:
            yield Need(f"cloudwatch:{call.operation}", f"arn:aws:cloudwatch:{where}:alarm:{name}")
            if given.get("Tags"):
                yield Need("cloudwatch:TagResource", f"arn:aws:cloudwatch:{where}:alarm:{name}")
        return
    yield Need(f"{call.service}:{call.operation}", str(arn or "*"))


_NEEDS: Final[Mapping[str, Any]] = {"sqs": _sqs, "dynamodb": _dynamodb, "s3": _s3, "iam": _iam}


# --- policies -------------------------------------------------------------------------------------------


class IamPolicy:
    """A policy document, or several that count together. Raises ValueError for what it can't judge."""

    def __init__(self, *documents: Mapping[str, Any]) -> None:
        self._statements = [each for document in documents for each in listed(document["Statement"])]
        for each in self._statements:
            for operator in each.get("Condition", {}):
                if operator not in _OPERATORS:
                    raise ValueError(f"the evaluator knows no condition {operator}")
        self._about: Final = cache(self._found)  # each request asks, and few actions are ever asked for

    def _found(self, action: str) -> list[Mapping[str, Any]]:
        """The statements about an action."""
        return [each for each in self._statements if _acts(each, action.lower())]

    def allows(self, need: Need) -> bool:
        allowed = False
        for each in self._about(need.action):
            if _applies(each, need):
                if each["Effect"] == "Deny":
                    return False
                allowed = True
        return allowed

    def first_denied(self, needs: Sequence[Need]) -> Need | None:
        return next((need for need in needs if not self.allows(need)), None)


def _acts(statement: Mapping[str, Any], action: str) -> bool:
    if "Action" in statement:
        return any(_matches(each.lower(), action) for each in listed(statement["Action"]))
    return not any(_matches(each.lower(), action) for each in listed(statement["NotAction"]))


def _applies(statement: Mapping[str, Any], need: Need) -> bool:
    return any(_matches(each, need.resource) for each in listed(statement["Resource"])) and all(
        _OPERATORS[operator](need.context.get(key), listed(values))
        for operator, pairs in statement.get("Condition", {}).items()
        for key, values in pairs.items()
    )


def _equals(found: str | None, wanted: Sequence[str]) -> bool:
    return found in wanted


def _not_equals(found: str | None, wanted: Sequence[str]) -> bool:
    return found not in wanted


_OPERATORS: Final[Mapping[str, Any]] = {
    "StringEquals": _equals,
    "StringNotEquals": _not_equals,
    "StringEqualsIfExists": lambda found, wanted: found is None or found in wanted,
    "StringLike": lambda found, wanted: found is not None and any(_matches(each, found) for each in wanted),
}


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _matches(pattern: str, value: str) -> bool:
    return pattern == "*" or _compiled(pattern).fullmatch(value) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (".*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in pattern)
    return re.compile("".join(parts), re.S)


# --- refusals -------------------------------------------------------------------------------------------


def denial(call: Call, need: Need) -> Refusal:
    """As each service words it: SQS writes the action in small letters, EC2 names none, S3 says nothing to a
    HEAD."""
    action = need.action.lower() if call.service == "sqs" else need.action
    who = f"User: arn:aws:iam::000000000000:user/{call.key_id}"
    message = (
        f"{who} is not authorized to perform: {action} on resource: {need.resource} because no "
        f"identity-based policy allows the {action} action"
    )
    if call.service == "ec2":
        return Refusal(
            "UnauthorizedOperation", f"You are not authorized to perform this operation. {message}", 403
        )
    if call.service == "dynamodb":
        return Refusal("AccessDeniedException", message, 400)
    return Refusal("AccessDenied", message, 403)
