"""A part of the search: the plays that once found something, one for each kind of what they found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kon.backends.emulator import Settings
from kon.backends.emulator.strict import RULES
from tests.edges.holder import Holder
from tests.edges.play import ARGUMENTS, BEFORE, GOES_ON, Play, do, played
from tests.edges.search import calls_of, plays_of
from tests.edges.state import left_by
from tests.edges.world import World

TELLING = [
    # a refusal is a line, and nothing foreign is touched
    Play("up", "denied", "s3:HeadBucket", for_good=True),
    # a clean-up that meets a fault is gone on with
    Play("run", "killed", "dynamodb:DeleteTable"),
    # what was made in part is taken up or goes
    Play("teardown", "denied", "ec2:DeleteVpc"),
]

MORE = [
    # what is there already is taken as it is, whatever reply was lost before
    Play("up", "lost_after", "sqs:CreateQueue"),
    # a clean-up that meets a fault is gone on with
    Play("down", "empty", "dynamodb:ListTagsOfResource"),
    # what was submitted, or whose client has gone, is taken up and ends
    Play("submit", "lost_after", "dynamodb:CreateTable"),
    # what workers may not do is the client's refusal, and no task's end
    Play("collect", "denied", "sqs:SendMessageBatch", for_good=True),
    # a fleet's reply that was lost makes nothing twice
    Play("provision", "lost_after", "ec2:RunInstances"),
]


@pytest.fixture(scope="module")
def holder() -> Iterator[Holder]:
    with Holder() as holder:
        yield holder


@pytest.mark.parametrize(
    "play", [*TELLING, *(pytest.param(play, marks=pytest.mark.long) for play in MORE)], ids=str
)
def test_a_play_leaves_nothing_and_touches_nothing_foreign(play: Play, holder: Holder) -> None:
    outcome = holder.ask(play.command, played, play)
    assert outcome.wrong == []
    assert outcome.met, "the command makes no such call any more: name another"


def test_every_command_of_a_runs_and_a_fleets_life_is_in_it() -> None:
    assert {*BEFORE, *GOES_ON, *GOES_ON.values()} <= ARGUMENTS.keys()
    assert {play.command for play in [*TELLING, *MORE]} == ARGUMENTS.keys() - {"sweep", "scale"}


def test_every_call_meets_every_fault_that_it_can() -> None:
    plays = list(plays_of("up", ["sqs:CreateQueue", "sqs:CreateQueue", "sqs:ListQueueTags"]))
    assert Play("up", "killed", "sqs:CreateQueue", 2) in plays
    assert Play("up", "empty", "sqs:ListQueueTags") in plays
    assert Play("up", "lost_after", "sqs:CreateQueue", for_good=True) in plays
    assert len(plays) == len(set(plays)) == (24 + 4) + (7 + 2)


def test_a_thing_that_is_left_and_one_that_is_changed_are_seen(holder: Holder) -> None:
    """The invariants are no rubber stamp."""
    before, left, changed = holder.ask("provision", _with_changes)
    assert before == []
    assert left == ["left: queue kon-e-lease-w1-r1-tasks"]
    assert changed == [
        "not kon's, and changed: queue kon-mail",
        "not kon's, and gone: role konf-r10",
        "not kon's, and gone: key_pairs konf-r10",
    ]


def _with_changes(world: World, folder: Path) -> tuple[list[str], list[str], list[str]]:
    before = world.left(bucket_too=True) + world.foreign_changes()
    sqs = world.account.client("sqs")
    world.account.set(Settings(off=list(RULES)))
    sqs.create_queue(QueueName="kon-e-lease-w1-r1-tasks")
    url = sqs.get_queue_url(QueueName="kon-mail")["QueueUrl"]
    sqs.tag_queue(QueueUrl=url, Tags={"Project": "kon"})
    world.account.client("iam").delete_role(RoleName="konf-r10")
    world.account.client("ec2").delete_key_pair(KeyName="konf-r10")
    return before, world.left(), world.foreign_changes()


@pytest.mark.long
def test_a_play_is_cut_where_another_has_been_and_nowhere_else(holder: Holder) -> None:
    """A state says what was done, and nothing of when, or of what was drawn."""
    denied = Play("up", "denied", "sqs:CreateQueue")
    first, again = (holder.ask("up", played, denied) for _ in range(2))
    assert first.states == again.states
    assert len(first.states) == 3
    assert not first.cut
    known = frozenset(first.states)
    cut = holder.ask("up", played, denied, known)
    assert cut.cut
    others = [
        Play("up", "lost_after", "sqs:CreateQueue", for_good=True),
        Play("up", "denied", "sqs:CreateQueue", 2, for_good=True),
        Play("up", "killed", "s3:PutPublicAccessBlock"),
    ]
    states = {holder.ask("up", played, play, known).states[0] for play in others}
    assert len({*states, first.states[0]}) == 1 + len(others)


def test_a_state_says_nothing_of_how_long_a_run_took(holder: Holder) -> None:
    quick, slow, other = holder.ask("up", _states_of_a_run)
    assert quick == slow
    assert quick != other


def _states_of_a_run(world: World, folder: Path) -> list[str]:
    """After answers that came together, apart and with a table read once more, and fewer of them."""
    results = folder / "rec" / "results.jsonl"
    results.parent.mkdir()
    one, two = '[0,1,"done",null,null,1.5,2.5]', '[1,1,"done",null,null,1.5,2.5]'
    states = []
    for packets in ([f"{one},{two}"], [two, one], [one]):
        results.write_text("".join(f'["w1",[{each}]]\n' for each in packets))
        states.append(left_by(world, folder))
        world.account.note_a_read("kon-gone")
    return states


def test_no_play_meets_what_another_has_left(holder: Holder) -> None:
    assert holder.ask("submit", _submitted) > 0
    assert holder.ask("submit", _left_before) == []


def _submitted(world: World, folder: Path) -> int:
    assert do(world, folder, "submit").code == 0
    return len(world.left())


def _left_before(world: World, folder: Path) -> list[str]:
    return [*world.left(bucket_too=True), *(str(each) for each in folder.rglob("rec/*"))]


@pytest.mark.slow
@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_play_leaves_nothing_and_touches_nothing_foreign(command: str, holder: Holder) -> None:
    known, found = set[str](), {}
    for play in plays_of(command, holder.ask(command, calls_of, command)):
        outcome = holder.ask(command, played, play, frozenset(known))
        known.update(outcome.states)
        if outcome.wrong:
            found[str(play)] = outcome.wrong
    assert found == {}
