"""What hosts may do: a role with a worker's rights and no more, and the profile that gives it to hosts."""

from __future__ import annotations

import json
from typing import Any, Final

from kon.fleet.build.wanted import Work, listed

_POLICY: Final = "kon-worker"


def identity(work: Work, partition: str) -> str:
    """Make role and profile; the profile's name."""
    iam, wanted, name = work.aws("iam"), work.wanted, work.wanted.global_name
    if wanted.profile:
        return wanted.profile
    try:
        iam.get_role(RoleName=name)
        there = True
    except iam.exceptions.NoSuchEntityException:
        there = False
        boundary = {"PermissionsBoundary": wanted.boundary} if wanted.boundary else {}
        work.change(
            "role",
            name,
            lambda: iam.create_role(
                RoleName=name,
                Description=f"Workers of the fleet {wanted.fleet}",
                AssumeRolePolicyDocument=json.dumps(_trust(partition)),
                Tags=listed(work.tags),
                **boundary,
            ),
        )
    _policy(work, name, partition, there)
    _profile(work, name)
    return name


def _policy(work: Work, name: str, partition: str, there: bool) -> None:
    iam, policy = work.aws("iam"), worker_policy(work.wanted.stem, work.wanted.region, partition)
    before: Any = None
    if there:
        try:
            before = iam.get_role_policy(RoleName=name, PolicyName=_POLICY)["PolicyDocument"]
        except iam.exceptions.NoSuchEntityException:
            pass
    if before != policy:
        work.change(
            "rights",
            json.dumps(policy, indent=1),
            lambda: iam.put_role_policy(RoleName=name, PolicyName=_POLICY, PolicyDocument=json.dumps(policy)),
            json.dumps(before, indent=1) if before else "",
        )


def _profile(work: Work, name: str) -> None:
    iam = work.aws("iam")
    try:
        roles = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
    except iam.exceptions.NoSuchEntityException:
        roles = []
        work.change(
            "instance profile",
            name,
            lambda: iam.create_instance_profile(InstanceProfileName=name, Tags=listed(work.tags)),
        )
    if not roles:
        work.change(
            "instance profile",
            f"with the role {name}",
            lambda: iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name),
        )


def _trust(partition: str) -> dict[str, Any]:
    suffix = ".cn" if partition == "aws-cn" else ""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": f"ec2.amazonaws.com{suffix}"},
        "Action": "sts:AssumeRole",
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def worker_policy(stem: str, region: str, partition: str) -> dict[str, Any]:
    """What a worker calls, and no more; docs/operations.md explains each.

    It can make and delete nothing but messages, rows and objects. ListQueues tells names alone, and Amazon
    limits it to none.
    """

    def allow(sid: str, service: str, actions: str, resource: str) -> dict[str, Any]:
        return {
            "Sid": sid,
            "Effect": "Allow",
            "Action": [f"{service}:{each}" for each in actions.split()],
            "Resource": resource if resource == "*" else f"arn:{partition}:{resource}",
        }

    return {
        "Version": "2012-10-17",
        "Statement": [
            allow(
                "Queues",
                "sqs",
                "GetQueueUrl GetQueueAttributes ListQueueTags SendMessage ReceiveMessage DeleteMessage "
                "ChangeMessageVisibility",
                f"sqs:{region}:*:{stem}-*",
            ),
            allow("Names", "sqs", "ListQueues", "*"),
            allow(
                "Tables",
                "dynamodb",
                "DescribeTable GetItem BatchGetItem Query PutItem UpdateItem DeleteItem BatchWriteItem "
                "PartiQLInsert PartiQLUpdate PartiQLDelete PartiQLSelect",
                f"dynamodb:{region}:*:table/{stem}-*",
            ),
            allow(
                "Objects", "s3", "GetObject PutObject DeleteObject AbortMultipartUpload", f"s3:::{stem}-*/*"
            ),
            allow("Bucket", "s3", "ListBucket", f"s3:::{stem}-*"),
        ],
    }
