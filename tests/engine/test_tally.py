"""The tally: what counts, and what stands."""

from __future__ import annotations

import pytest

from kon.core.task import Outcome, State
from kon.engine.tally import Tally


def test_the_tally_takes_better_news_of_tasks_thought_dead_or_lost() -> None:
    tally = Tally(4)
    tally.count([Outcome(0, 1, State.DEAD), Outcome(1, 1, State.LOST), Outcome(2, 1, State.DONE)])
    assert tally.left == 1
    better = [State.DONE, State.FAILED, State.DEAD]
    news = tally.count([Outcome(index, 1, state) for index, state in enumerate(better)])
    news += tally.count([Outcome(0, 1, State.DONE)])
    assert tally.state_of(1) is State.FAILED
    assert [outcome.index for outcome in news] == [0, 1]
    assert tally.counts[State.DONE] == 2
    assert tally.counts[State.FAILED] == 1
    assert tally.counts[State.DEAD] == tally.counts[State.LOST] == 0
    assert list(tally.unaccounted()) == [3]
    assert tally.repeated_answers == 2


def test_a_packet_in_a_row_counts_as_its_outcomes_one_by_one() -> None:
    outcomes = [Outcome(index, 1, State.DONE) for index in range(2, 7)]
    fast, slow = Tally(10), Tally(10)
    assert fast.count(outcomes) == outcomes
    for outcome in outcomes:
        slow.count([outcome])
    assert list(fast.unaccounted()) == list(slow.unaccounted()) == [0, 1, 7, 8, 9]
    assert fast.counts == slow.counts
    assert fast.left == slow.left == 5
    assert fast.repeated_answers == 0
    assert fast.count(outcomes) == [], "and again it is no news"
    assert (fast.left, fast.repeated_answers) == (5, 5)


@pytest.mark.parametrize(
    "states",
    [
        [State.DONE, State.FAILED, State.DONE],
        [State.FAILED, State.FAILED, State.FAILED],
        [State.DEAD, State.LOST, State.CANCELLED],
    ],
)
def test_neighbours_that_are_not_all_done_count_as_what_they_are(states: list[State]) -> None:
    tally = Tally(5)
    outcomes = [Outcome(index, 1, state) for index, state in enumerate(states, start=1)]
    assert tally.count(outcomes) == outcomes
    assert [tally.state_of(index) for index in range(5)] == [None, *states, None]
    assert sum(tally.counts.values()) == 3


@pytest.mark.parametrize("indexes", [[1, 3], [2, 1], [1, 1]])
def test_outcomes_that_are_no_neighbours_count_each_at_its_place(indexes: list[int]) -> None:
    tally = Tally(5)
    news = tally.count([Outcome(index, 1, State.DONE) for index in indexes])
    assert {outcome.index for outcome in news} == set(indexes)
    assert list(tally.unaccounted()) == [index for index in range(5) if index not in indexes]
    assert tally.left == 5 - len(set(indexes))


def test_a_packet_in_a_row_leaves_the_others_as_they_are() -> None:
    tally = Tally(5)
    tally.count([Outcome(4, 1, State.FAILED)])
    tally.count([Outcome(index, 1, State.DONE) for index in (1, 2)])
    states = [None, State.DONE, State.DONE, None, State.FAILED]
    assert [tally.state_of(index) for index in range(5)] == states


@pytest.mark.parametrize("known", [0, 1, 2])
def test_of_neighbours_that_are_partly_known_the_others_are_news(known: int) -> None:
    tally = Tally(3)
    tally.count([Outcome(known, 1, State.DONE)])
    news = tally.count([Outcome(index, 1, State.DONE) for index in range(3)])
    assert [each.index for each in news] == [index for index in range(3) if index != known]
    assert (tally.left, tally.counts[State.DONE], tally.repeated_answers) == (0, 3, 1)


@pytest.mark.parametrize("first", [State.DEAD, State.LOST, State.CANCELLED])
@pytest.mark.parametrize("second", [State.DEAD, State.LOST, State.CANCELLED])
def test_of_states_that_no_worker_has_told_the_first_stands(first: State, second: State) -> None:
    tally = Tally(1)
    tally.count([Outcome(0, 1, first)])
    assert tally.count([Outcome(0, 1, second)]) == []
    assert tally.state_of(0) is first
    assert (tally.counts[first], sum(tally.counts.values()), tally.repeated_answers) == (1, 1, 1)


def test_no_outcomes_are_no_news() -> None:
    tally = Tally(1)
    assert tally.count([]) == []
    assert (tally.left, tally.state_of(0)) == (1, None)


def test_of_a_run_that_turns_out_smaller_no_more_is_left_than_there_is() -> None:
    tally = Tally(1_000)
    tally.count([Outcome(1, 1, State.DONE)])
    for _ in range(2):
        tally.close(3)
        assert (tally.tasks, tally.left) == (3, 2)
        assert list(tally.unaccounted()) == [0, 2]
    tally.count([Outcome(index, 1, State.DONE) for index in range(3)])
    assert tally.left == 0
