"""How large or how many things may be, where the emulators take more."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from kon.backends.emulator.strict.calls import Call, Refusal, Reply
from kon.backends.emulator.strict.rules import Account, changes, refuses, tracks

_SQS: Final = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/"
_DYNAMODB: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/"
_S3: Final = "https://docs.aws.amazon.com/AmazonS3/latest/"
_IAM_QUOTAS: Final = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"

_LONGEST_S: Final = 43_200
_POLL_S: Final = 20
_STATEMENT: Final = 8_192
_KEY_BYTES: Final = 1_024
_PART_BYTES: Final = 5 * 2**20
_USER_DATA_BYTES: Final = 16_384
_PARAMETER_BYTES: Final = 4_096
_INLINE: Final = 10_240
_ROLE_NAME: Final = 64
_TAG: Final = (128, 256)


def _invalid(value: object, parameter: str, why: str) -> Refusal:
    return Refusal(
        "InvalidParameterValue",
        f"Value {value} for parameter {parameter} is invalid. Reason: {why}",
        query_code="InvalidParameterValue",
    )


def _batch(call: Call) -> list[Mapping[str, Any]]:
    return list(call.parameters.get("Entries") or [call.parameters])


@refuses(
    "sqs:ChangeMessageVisibility",
    "sqs:ChangeMessageVisibilityBatch",
    "sqs:ReceiveMessage",
    source=_SQS + "API_ChangeMessageVisibility.html",
)
def messages_are_hidden_for_12_hours(call: Call, account: Account) -> Refusal | None:
    """A message is to be hidden for more than 43,200 s: InvalidParameterValue."""
    for each in _batch(call):
        asked = int(each.get("VisibilityTimeout") or 0)
        if asked > _LONGEST_S:
            return _invalid(asked, "VisibilityTimeout", "Must be between 0 and 43200.")
    return None


@refuses("sqs:ReceiveMessage", source=_SQS + "API_ReceiveMessage.html")
def polls_take_20_seconds(call: Call, account: Account) -> Refusal | None:
    """A poll is to take more than 20 s: InvalidParameterValue."""
    asked = int(call.parameters.get("WaitTimeSeconds") or 0)
    if asked <= _POLL_S:
        return None
    return _invalid(asked, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")


@refuses("sqs:CreateQueue", source=_SQS + "API_CreateQueue.html")
def queue_names_have_80_characters(call: Call, account: Account) -> Refusal | None:
    """A queue's name has more than 80 characters, or others than letters, digits, _ and -:
    InvalidParameterValue."""
    name = str(call.parameters.get("QueueName", ""))
    if re.fullmatch(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo", name):
        return None
    why = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
    return _invalid(name, "QueueName", why)


@refuses("dynamodb:BatchExecuteStatement", source=_DYNAMODB + "API_BatchStatementRequest.html")
def statements_have_8192_characters(call: Call, account: Account) -> Refusal | None:
    """A statement has more than 8,192 characters: ValidationException."""
    if all(len(each.get("Statement", "")) <= _STATEMENT for each in call.parameters["Statements"]):
        return None
    return Refusal("ValidationException", "Member must have length less than or equal to 8192")


@changes("dynamodb:BatchGetItem", source=_DYNAMODB + "API_BatchGetItem.html")
def some_keys_come_back(call: Call, account: Account, reply: Reply) -> Reply | None:
    """A batch of reads is answered in part (here: every fifth that has several keys of a table)."""
    found = reply.json() if reply.ok else {}
    for table, asked in call.parameters["RequestItems"].items():
        keys = list(asked.get("Keys", ()))
        if len(keys) < 2:
            continue
        account.calls[f"read {table}"] += 1
        if account.calls[f"read {table}"] % 5:
            continue
        last = keys[-1]
        rows = found.get("Responses", {}).get(table, [])
        found.setdefault("Responses", {})[table] = [
            row for row in rows if any(row.get(name) != value for name, value in last.items())
        ]
        found.setdefault("UnprocessedKeys", {})[table] = {**asked, "Keys": [last]}
        return reply.with_json(found)
    return None


@refuses(
    "s3:PutObject", "s3:CreateMultipartUpload", "s3:GetObject", source=_S3 + "userguide/object-keys.html"
)
def keys_have_1024_bytes(call: Call, account: Account) -> Refusal | None:
    """A key has more than 1,024 bytes: KeyTooLongError."""
    if len(str(call.parameters.get("Key", "")).encode()) <= _KEY_BYTES:
        return None
    return Refusal("KeyTooLongError", "Your key is too long")


@refuses(
    "s3:DeleteObjects",
    "s3:PutBucketTagging",
    "s3:PutBucketLifecycleConfiguration",
    "s3:PutBucketPolicy",
    "s3:PutPublicAccessBlock",
    "s3:PutBucketEncryption",
    source=_S3 + "API/API_DeleteObjects.html",
)
def changes_have_a_checksum(call: Call, account: Account) -> Refusal | None:
    """Neither Content-MD5 nor a checksum of Amazon's comes with the body: InvalidRequest."""
    if any(name == "content-md5" or name.startswith("x-amz-checksum-") for name in call.headers):
        return None
    return Refusal(
        "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
    )


@tracks("s3:UploadPart")
def _uploaded(call: Call, account: Account, reply: Reply) -> None:
    given = call.parameters
    known = account.get("upload", given["UploadId"]) or account.made("upload", given["UploadId"])
    size = call.headers.get("x-amz-decoded-content-length") or call.headers.get("content-length", "0")
    known.about[given["PartNumber"]] = int(size)


@refuses("s3:CompleteMultipartUpload", source=_S3 + "userguide/qfacts.html")
def parts_have_5_mebibytes(call: Call, account: Account) -> Refusal | None:
    """A part that is not the last has less than 5 MiB: EntityTooSmall."""
    upload = account.get("upload", call.parameters["UploadId"])
    sizes = dict(sorted(upload.about.items(), key=lambda each: int(each[0]))) if upload is not None else {}
    if all(size >= _PART_BYTES for size in list(sizes.values())[:-1]):
        return None
    return Refusal("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")


@refuses(
    "ec2:CreateLaunchTemplate",
    "ec2:CreateLaunchTemplateVersion",
    "ec2:RunInstances",
    source="https://github.com/dask/dask-cloudprovider/issues/249",
)
def user_data_has_16_kb(call: Call, account: Account) -> Refusal | None:
    """User data has more than 16 KB before it is encoded: InvalidParameterValue."""
    for key, value in call.parameters.items():
        if key.endswith("UserData") and len(base64.b64decode(value + "==")) > _USER_DATA_BYTES:
            return Refusal("InvalidParameterValue", "User data is limited to 16384 bytes")
    return None


@refuses("ssm:PutParameter", source="https://docs.aws.amazon.com/general/latest/gr/ssm.html")
def parameters_have_4_kb(call: Call, account: Account) -> Refusal | None:
    """A standard parameter's value has more than 4 KB: ValidationException."""
    if len(str(call.parameters.get("Value", "")).encode()) <= _PARAMETER_BYTES:
        return None
    return Refusal(
        "ValidationException",
        "Standard tier parameters support a maximum parameter value of 4096 characters.",
    )


@refuses("iam:PutRolePolicy", source=_IAM_QUOTAS)
def inline_policies_have_10240_characters(call: Call, account: Account) -> Refusal | None:
    """A role's policy has more than 10,240 characters, white space aside: LimitExceeded, 409."""
    if len("".join(str(call.parameters.get("PolicyDocument", "")).split())) <= _INLINE:
        return None
    return Refusal("LimitExceeded", f"Maximum policy size of {_INLINE} bytes exceeded for role", 409)


@refuses("iam:CreateRole", source=_IAM_QUOTAS)
def role_names_have_64_characters(call: Call, account: Account) -> Refusal | None:
    """A role's name has more than 64 characters: ValidationError."""
    if len(str(call.parameters.get("RoleName", ""))) <= _ROLE_NAME:
        return None
    return Refusal("ValidationError", "Member must have length less than or equal to 64")


@refuses(
    "ec2:CreateVpc",
    "ec2:CreateSubnet",
    "ec2:CreateInternetGateway",
    "ec2:CreateSecurityGroup",
    "ec2:ImportKeyPair",
    "ec2:CreateLaunchTemplate",
    "ec2:CreateTags",
    "ec2:RunInstances",
    source="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html",
)
def tags_of_ec2_are_short(call: Call, account: Account) -> Refusal | None:
    """A tag has a key of more than 128 or a value of more than 256 characters: InvalidParameterValue."""
    for key, value in call.parameters.items():
        if found := re.search(r"Tag\.\d+\.(Key|Value)$", key):
            most = _TAG[found[1] == "Value"]
            if len(value) > most:
                return Refusal("InvalidParameterValue", f"Tag {found[1].lower()} exceeds {most} characters")
            if found[1] == "Key" and value.lower().startswith("aws:"):
                return Refusal("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved")
    return None
