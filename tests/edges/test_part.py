"""A part of the search: the plays that once found something, one for each kind of what they found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edges.play import ARGUMENTS, Play, faults_of
from tests.edges.search import calls_of, plays_of
from tests.edges.world import World, world

TELLING = [
    # what is there already is taken as it is, whatever reply was lost before
    Play("up", "lost_after", "sqs:CreateQueue"),
    Play("up", "killed_after", "dynamodb:CreateTable"),
    Play("up", "conflict", "s3:CreateBucket"),
    # a refusal is a line, and nothing foreign is touched
    Play("up", "denied", "s3:HeadBucket", for_good=True),
    Play("run", "denied", "dynamodb:DescribeTimeToLive"),
    # a clean-up that meets a fault is gone on with
    Play("run", "denied", "sqs:DeleteQueue"),
    Play("run", "killed", "dynamodb:DeleteTable"),
    Play("down", "empty", "dynamodb:ListTagsOfResource"),
    Play("down", "not_there", "sqs:ListQueueTags"),
]


@pytest.fixture(scope="module")
def place() -> Iterator[World]:
    before = dict(os.environ)
    with world() as place:
        yield place
    assert dict(os.environ) == before


@pytest.mark.parametrize("play", TELLING, ids=str)
def test_a_play_leaves_nothing_and_touches_nothing_foreign(play: Play, place: World, tmp_path: Path) -> None:
    assert faults_of(place, tmp_path / "play", play) == []


def test_every_call_meets_every_fault_that_it_can() -> None:
    plays = list(plays_of("up", ["sqs:CreateQueue", "sqs:CreateQueue", "sqs:ListQueueTags"]))
    assert Play("up", "killed", "sqs:CreateQueue", 2) in plays
    assert Play("up", "empty", "sqs:ListQueueTags") in plays
    assert len(plays) == len(set(plays)) == 22 + 6 + 4


@pytest.mark.slow
@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_play_leaves_nothing_and_touches_nothing_foreign(
    command: str, place: World, tmp_path: Path
) -> None:
    folder = tmp_path / "play"
    plays = list(plays_of(command, calls_of(place, folder, command)))
    found = {str(play): faults for play in plays if (faults := faults_of(place, folder, play))}
    assert found == {}
