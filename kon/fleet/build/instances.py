"""A fleet's hosts, made where there is room for them, and ended."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import botocore.exceptions

from kon.core.errors import BackendRefused, BackendUnavailable, ConfigurationError, counted
from kon.fleet.autoscale.hosts import ELSEWHERE
from kon.fleet.build.survey import Survey
from kon.fleet.build.template import interface
from kon.fleet.build.wanted import LOOK_S, Work
from kon.fleet.clients import Clients, code_of, in_kons_words
from kon.fleet.thing import Filter, listed

_NOT_MORE: Final = ("VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded")
_UP_S: Final = 300.0
_TOKENS: Final = 20
"""For one launch, at most: each stands for hosts that have ended within a day, or that end at once."""


def make_hosts(work: Work, found: Survey, group: str) -> list[str]:
    """Make those that are missing, place by place; their ids once they run.

    What was made stays where not all can be made, and the error says what was refused where.
    """
    if found.extends:
        _extend(work, found)
    missing = found.hosts - len(found.running)
    if missing <= 0:
        return []
    if work.dry:
        work.change("hosts", f"{found.hosts} of them: would make {counted(missing, 'host')}", lambda: None)
        return []
    made, refused = list[str](), list[str]()
    for kind, subnet in found.places:
        try:
            came = _run(work, found, kind, subnet.id, group, missing - len(made), made)
        except botocore.exceptions.ClientError as error:
            code = code_of(error)
            if code not in (*ELSEWHERE, *_NOT_MORE):
                raise
            refused.append(f"{kind} in {subnet.zone}: {code}")
            if code in _NOT_MORE:
                break
            continue
        made += came
        if len(made) < missing:
            refused.append(f"{kind} in {subnet.zone}: {len(came)} and no more")
            continue
        break
    if made:
        work.change("hosts", f"{len(made)} made", lambda: None, f"{len(found.running)} there")
        _wait_until_up(work, made)
    if len(made) < missing:
        raise BackendRefused(
            f"{len(made)} of {missing} missing hosts were made, and run. Refused: {'; '.join(refused)}. Name "
            "other types (-e instance_type=t3.micro,t3a.micro) or another region, ask for fewer, or call "
            "this again"
        )
    if refused:
        work.notes.append(f"not everywhere was room: {'; '.join(refused)}")
    return made


def _run(
    work: Work, found: Survey, kind: str, subnet: str, group: str, count: int, before: Sequence[str]
) -> list[str]:
    """One RunInstances, of as many as the place has room for.

    Its token follows from what was there: a call whose answer was lost, and is made again, makes no others.
    Where as much was there before, EC2 answers with the hosts of then. If these have ended since, it is asked
    by another token.
    """
    seen = [work.wanted.stem, found.expires_at, *sorted(found.running), *before, kind, subnet, str(count)]
    came: list[str] = []
    for nth in range(_TOKENS):
        came = _launched(work, [*seen, str(nth)] if nth else seen, kind, subnet, group, count)
        states = {each["InstanceId"]: each["State"]["Name"] for each in _described(work.aws, came)}
        alive = [name for name in came if states.get(name, "pending") in ("pending", "running")]
        if alive:
            return alive
    return came


def _launched(work: Work, seen: Sequence[str], kind: str, subnet: str, group: str, count: int) -> list[str]:
    ec2, wanted = work.aws("ec2"), work.wanted
    token = hashlib.sha256(" ".join(seen).encode()).hexdigest()[:32]
    made = work.patiently(
        lambda: ec2.run_instances(
            LaunchTemplate={"LaunchTemplateName": wanted.stem, "Version": "$Default"},
            InstanceType=kind,
            MinCount=1,
            MaxCount=count,
            NetworkInterfaces=[interface(work, subnet, group)],
            ClientToken=token,
        )
    )
    return [each["InstanceId"] for each in made["Instances"]]


def _wait_until_up(work: Work, made: Sequence[str]) -> None:
    """Raises BackendUnavailable for hosts that ended instead, or do not come up in time."""
    give_up_s = work.now_s() + _UP_S
    while True:
        states = {each["InstanceId"]: each for each in _described(work.aws, made)}
        ended = [
            f"{name}: {each.get('StateReason', {}).get('Message', each['State']['Name'])}"
            for name, each in states.items()
            if each["State"]["Name"] not in ("pending", "running")
        ]
        if ended:
            raise BackendUnavailable(
                f"hosts ended as soon as they were made: {'; '.join(ended)}. The others stay; call this again"
            )
        if len(states) == len(made) and all(each["State"]["Name"] == "running" for each in states.values()):
            return
        if work.now_s() > give_up_s:
            raise BackendUnavailable(
                f"{counted(len(made), 'host')} made, and not all run after {_UP_S:g} s. "
                "They stay; call this again"
            )
        work.sleep(LOOK_S)


def _extend(work: Work, found: Survey) -> None:
    """Hosts that would end earlier than the fleet get its time; their disks go with them."""
    work.change(
        "hosts' time",
        f"until {found.expires_at}",
        lambda: work.aws("ec2").create_tags(
            Resources=found.running, Tags=listed({"ExpiresAt": found.expires_at})
        ),
        "earlier",
    )


@in_kons_words
def end_hosts(aws: Clients, fleet: str, ids: Sequence[str], work: Work) -> None:
    """Terminate these hosts, and wait until they are gone.

    Raises ConfigurationError, and ends none, where one of them is not the fleet's; BackendRefused.
    """
    if not ids:
        return
    filters = Filter(fleet).ec2
    ours = [
        each["InstanceId"]
        for group in aws("ec2").describe_instances(Filters=filters)["Reservations"]
        for each in group["Instances"]
    ]
    if strange := sorted(set(ids) - set(ours)):
        raise ConfigurationError(f"{', '.join(strange)}: no hosts of the fleet {fleet}. None was ended")
    work.change(
        "hosts", "ended", lambda: aws("ec2").terminate_instances(InstanceIds=list(ids)), ", ".join(ids)
    )
    give_up_s = work.now_s() + _UP_S
    while not work.dry and work.now_s() < give_up_s:
        if all(each["State"]["Name"] == "terminated" for each in _described(aws, ids)):
            return
        work.sleep(LOOK_S)


def _described(aws: Clients, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Those of them that EC2 knows: one that was just made may not be listed yet."""
    filters = [{"Name": "instance-id", "Values": list(ids)}]
    groups = aws.pages("ec2", "describe_instances", "Reservations", Filters=filters)
    return [each for group in groups for each in group["Instances"]]
