"""What hosts may do: a role with a worker's rights and no more, and the profile that gives it to hosts.

And the private half of a fleet's key, kept with the fleet: encrypted, in Parameter Store. So an operator at
another machine, with rights in the account, can reach the hosts. Only a key that kon has made for the fleet
goes there, never one of a person's own.
"""

from __future__ import annotations

import json
from typing import Any, Final

import botocore.exceptions

from kon.backends.aws.policies import policy
from kon.fleet.build.wanted import Work, listed
from kon.fleet.clients import Clients, in_kons_words, is_gone, said_by
from kon.fleet.thing import stem_of

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


def keep_key(work: Work, private_key: str) -> None:
    """Keep it where it is not kept yet. A refusal is a note: the fleet can do without."""
    ssm, name = work.aws("ssm"), kept_name(work.wanted.fleet)
    filters = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
    try:
        if ssm.describe_parameters(ParameterFilters=filters)["Parameters"]:
            return
        work.change(
            "kept key",
            f"{name}, encrypted, in Parameter Store",
            lambda: ssm.put_parameter(
                Name=name,
                Value=private_key,
                Type="SecureString",
                Description=f"SSH to the workers of the fleet {work.wanted.fleet}",
                Tags=listed(work.tags),
            ),
        )
    except botocore.exceptions.ClientError as error:
        work.notes.append(
            f"the fleet's key is not kept with the fleet, and another machine needs a copy: {said_by(error)}"
        )


@in_kons_words
def kept_key(aws: Clients, fleet: str) -> str | None:
    """None where none is kept. Raises BackendRefused."""
    try:
        found = aws("ssm").get_parameter(Name=kept_name(fleet), WithDecryption=True)
    except botocore.exceptions.ClientError as error:
        if is_gone(error):
            return None
        raise
    value: str = found["Parameter"]["Value"]
    return value


def kept_name(fleet: str) -> str:
    return f"{stem_of(fleet)}-key"
