"""A part of the search: the plays that once found something, one for each kind of what they found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kon.backends.emulator.strict import RULES
from tests.edges.play import ARGUMENTS, BEFORE, GOES_ON, Play, played
from tests.edges.search import calls_of, plays_of
from tests.edges.world import World, world

TELLING = [
    # what is there already is taken as it is, whatever reply was lost before
    Play("up", "lost_after", "sqs:CreateQueue"),
    Play("up", "killed_after", "dynamodb:CreateTable"),
    # a refusal is a line, and nothing foreign is touched
    Play("up", "denied", "s3:HeadBucket", for_good=True),
    # a clean-up that meets a fault is gone on with
    Play("run", "killed", "dynamodb:DeleteTable"),
    Play("down", "empty", "dynamodb:ListTagsOfResource"),
    Play("down", "not_there", "sqs:ListQueueTags"),
    # what was submitted, or whose client has gone, is taken up and ends
    Play("submit", "lost_after", "dynamodb:CreateTable"),
    Play("collect", "denied", "sqs:DeleteQueue"),
    # a fleet's reply that was lost makes nothing twice, and what was made in part is taken up or goes
    Play("provision", "lost_after", "ec2:RunInstances"),
    Play("provision", "killed_after", "iam:CreateInstanceProfile"),
    Play("teardown", "denied", "ec2:DeleteVpc"),
    Play("teardown", "garbled", "iam:RemoveRoleFromInstanceProfile"),
]


@pytest.fixture(scope="module")
def place() -> Iterator[World]:
    before = dict(os.environ)
    with world() as place:
        yield place
    assert dict(os.environ) == before


@pytest.mark.parametrize("play", TELLING, ids=str)
def test_a_play_leaves_nothing_and_touches_nothing_foreign(play: Play, place: World, tmp_path: Path) -> None:
    outcome = played(place, tmp_path / "play", play)
    assert outcome.wrong == []
    assert outcome.met, "the command makes no such call any more: name another"


def test_every_command_of_a_runs_and_a_fleets_life_is_in_it() -> None:
    assert {*BEFORE, *GOES_ON, *GOES_ON.values()} <= ARGUMENTS.keys()
    assert {play.command for play in TELLING} == ARGUMENTS.keys() - {"sweep", "scale"}


def test_every_call_meets_every_fault_that_it_can() -> None:
    plays = list(plays_of("up", ["sqs:CreateQueue", "sqs:CreateQueue", "sqs:ListQueueTags"]))
    assert Play("up", "killed", "sqs:CreateQueue", 2) in plays
    assert Play("up", "empty", "sqs:ListQueueTags") in plays
    assert Play("up", "lost_after", "sqs:CreateQueue", for_good=True) in plays
    assert len(plays) == len(set(plays)) == (24 + 4) + (7 + 2)


def test_a_thing_that_is_left_and_one_that_is_changed_are_seen(place: World) -> None:
    """The invariants are no rubber stamp."""
    place.begin(other_fleets=True)
    assert place.left(bucket_too=True) == place.foreign_changes() == []
    place._set(None, off=list(RULES))
    place._client("sqs").create_queue(QueueName="kon-e-lease-w1-r1-tasks")
    place._client("sqs").tag_queue(
        QueueUrl=place._client("sqs").get_queue_url(QueueName="kon-mail")["QueueUrl"], Tags={"Project": "kon"}
    )
    place._client("iam").delete_role(RoleName="konf-r10")
    place._client("ec2").delete_key_pair(KeyName="konf-r10")
    assert place.left() == ["left: queue kon-e-lease-w1-r1-tasks"]
    assert place.foreign_changes() == [
        "not kon's, and changed: queue kon-mail",
        "not kon's, and gone: role konf-r10",
        "not kon's, and gone: key_pairs konf-r10",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_play_leaves_nothing_and_touches_nothing_foreign(
    command: str, place: World, tmp_path: Path
) -> None:
    folder = tmp_path / "play"
    plays = list(plays_of(command, calls_of(place, folder, command)))
    found = {str(play): wrong for play in plays if (wrong := played(place, folder, play).wrong)}
    assert found == {}
