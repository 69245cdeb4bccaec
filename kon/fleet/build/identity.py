"""What hosts may do: a role with a worker's rights and no more, and the profile that gives it to hosts."""

from __future__ import annotations

import json
from typing import Any, Final

from kon.backends.aws.policies import policy
from kon.fleet.build.wanted import Work
from kon.fleet.thing import listed

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
    iam, wanted = work.aws("iam"), policy("worker", work.wanted.stem, partition)
    before: Any = None
    if there:
        try:
            before = iam.get_role_policy(RoleName=name, PolicyName=_POLICY)["PolicyDocument"]
        except iam.exceptions.NoSuchEntityException:
            pass
    if before != wanted:
        work.change(
            "rights",
            json.dumps(wanted, indent=1),
            lambda: iam.put_role_policy(RoleName=name, PolicyName=_POLICY, PolicyDocument=json.dumps(wanted)),
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
