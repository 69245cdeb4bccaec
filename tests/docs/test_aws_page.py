"""docs/aws.md: its policy has what the code calls, its table every option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import botocore.session
from botocore import xform_name

from kon.backends.aws.options import AwsOptions, Throughput
from kon.backends.aws.policies import Role, policy

PROJECT: Final = Path(__file__).parents[2]
PAGE: Final = (PROJECT / "docs" / "aws.md").read_text()

ACTIONS: Final = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadObject": "GetObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "DeleteObjects": "DeleteObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
"""Where IAM has another name for an operation."""

NOTICE: Final = PROJECT / "kon" / "launch" / "notice.py"
"""The one call of a client's that is none of the backend's."""

OPERATION: Final = re.compile(
    r'"(sqs|dynamodb|s3|sts)",\s*"([A-Z]\w+)"|(?:_call|_in_batches)\(\s*"([A-Z]\w+)"'
)

OTHERS: Final = {
    # of calls with tags
    "sqs:TagQueue",
    "dynamodb:TagResource",
    "s3:TagResource",
    # of statements
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PartiQLSelect",
}
"""Rights that stand for no operation of their own."""


FLEETS: Final = ("ec2", "iam", "sns", "ssm", "cloudwatch", "sqs", "dynamodb", "s3", "service-quotas")
FLEETS_ACTIONS: Final = {"ListBuckets": "ListAllMyBuckets", "ListObjectVersions": "ListBucketVersions"}


def allowed() -> set[str]:
    """What kon's own policies for clients and workers allow, which the page shows by links."""
    return actions_of("client") | actions_of("worker")


def actions_of(role: Role) -> set[str]:
    found: set[str] = set()
    for statement in policy(role)["Statement"]:
        actions = statement["Action"]
        found.update([actions] if isinstance(actions, str) else actions)
    return found


def called() -> set[str]:
    found: set[str] = set()
    for file in (PROJECT / "kon" / "backends" / "aws").rglob("*.py"):
        for service, operation, of_the_queue in OPERATION.findall(file.read_text()):
            name = operation or of_the_queue
            if name != "BatchExecuteStatement":
                found.add(f"{service or 'sqs'}:{ACTIONS.get(name, name)}")
    return found


def test_the_policy_allows_what_the_code_calls() -> None:
    assert len(called()) > 20
    everybody_may = {"sts:GetCallerIdentity"}
    assert called() - allowed() - everybody_may == set()


def test_the_policy_allows_nothing_else() -> None:
    code = "\n".join(file.read_text() for file in (PROJECT / "kon" / "backends" / "aws").rglob("*.py"))
    code += 'publish = "Publish"' if "client.publish(" in NOTICE.read_text() else ""
    known = called() | OTHERS | {"s3:GetObject"}
    for action in allowed() - known:
        assert f'"{action.partition(":")[2]}"' in code, f"nothing calls {action}"


def test_the_policy_of_who_has_a_fleet_allows_what_the_fleets_code_calls() -> None:
    session = botocore.session.get_session()
    operations: dict[str, set[str]] = {}
    for service in FLEETS:
        for name in session.get_service_model(service).operation_names:
            action = f"{service.replace('-', '')}:{FLEETS_ACTIONS.get(name, ACTIONS.get(name, name))}"
            operations.setdefault(xform_name(name), set()).add(action)
    code = "\n".join(file.read_text() for file in (PROJECT / "kon" / "fleet").rglob("*.py"))
    made = operations.keys() & set(re.findall(r"""[."](\w+)["(]""", code))
    assert len(made) > 60
    may = actions_of("client") | actions_of("controller")
    assert [name for name in sorted(made) if not operations[name] & may] == []


def test_every_option_is_told_of_with_its_default() -> None:
    lines = [line for line in PAGE.splitlines() if re.match(r"\| `\w+` \| .* \| ", line)]
    told = {name.strip(" `"): default.strip(" `") for _, name, default, *_ in (x.split("|") for x in lines)}
    defaults = {
        name: str(value).removesuffix(".0")
        for name, value in zip(AwsOptions.__struct_fields__, AwsOptions.__struct_defaults__, strict=True)
    }
    assert told == {**defaults, "billing": "on_demand", "region": "boto3's", "objects": "the run's own"}
    assert "{read: 20, write: 50}" in PAGE
    assert Throughput() == Throughput(20, 50)


def test_the_page_names_all_that_workers_units_are_kept_from() -> None:
    unit = (PROJECT / "playbooks/roles/machine/templates/kon-worker@.service.j2").read_text()
    page = (PROJECT / "docs/security.md").read_text()
    hardened = re.findall(r"^((?:Protect|Private|Restrict|NoNew|Lock|Capability)\w*)=", unit, re.M)
    assert len(hardened) >= 9
    assert [each for each in hardened if f"`{each}" not in page] == []
