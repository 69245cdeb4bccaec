"""What sizes follow from: what was learned, what was fixed or forced, and what is left."""

from __future__ import annotations

import math

import pytest

from kon.core.task import Outcome, State
from kon.engine.sizing import FIRST_WINDOW, MOST_TASKS, WINDOW_BYTES, Sizing
from tests.engine.auto import spec, took


def long_then_short(workers: int, long_s: float, short_s: float) -> Sizing:
    """Sixteen long tasks, and eight times as many short ones."""
    sizing = Sizing(spec(workers=workers))
    sizing.learn(took(*[long_s] * 16))
    for _ in range(8):
        sizing.learn(took(*[short_s] * 16))
    return sizing


def test_what_was_learned_first_counts_as_much_as_the_rest() -> None:
    """A ninth of the tasks take a second: their root mean square is a third of one."""
    assert long_then_short(1, 1.0, 0.0).size(10_000) == 3


def test_the_mean_follows_what_is_learned() -> None:
    """10,000 workers: the size is what the client keeps up with, by the mean alone."""
    assert long_then_short(10_000, 0.1, 0.1).size(10_000) == 6
    assert long_then_short(10_000, 0.1, 0.001).size(10_000) == 12


def test_a_task_takes_from_its_start_to_its_end() -> None:
    sizing = Sizing(spec())
    sizing.learn([Outcome(0, 1, State.DONE, None, None, 100.0, 100.5)])
    assert sizing.size(10_000) == 2


def test_the_first_messages_of_the_beginning_of_a_larger_run_are_as_large_as_that_run_s() -> None:
    assert Sizing(spec(200, workers=4)).size(200) == 25
    assert Sizing(spec(200, workers=4), following=100_000).size(200) == 100


def test_nothing_is_learned_of_no_outcomes() -> None:
    sizing = Sizing(spec())
    none: list[Outcome] = []
    sizing.learn(none)
    assert sizing.is_blind


def test_a_size_that_is_given_stays_and_windows_are_as_long_as_can_be() -> None:
    sizing = Sizing(spec(bundle=7))
    sizing.learn(took(10.0))
    assert not sizing.is_blind
    assert [sizing.size(left) for left in (10_000, 1)] == [7, 7]
    assert sizing.fit(7, 1_000.0, 10) == 7
    assert [sizing.span(left, 7) for left in (10_000, 10)] == [5_000, 10]


def test_forced_sizes_come_in_turn_three_messages_to_a_window() -> None:
    sizing = Sizing(spec(), forced=(3, 5))
    assert not sizing.is_blind
    assert [sizing.size(10_000) for _ in range(3)] == [5, 3, 5]
    assert [sizing.span(left, 5) for left in (10_000, 10)] == [15, 10]


def test_windows_of_large_messages_grow_longer() -> None:
    for size, longest in ((12, 5_000), (25, 20_000)):
        sizing = Sizing(spec())
        sizing.learn(took(0.0))
        assert [sizing.span(1_000_000, size) for _ in range(8)][-1] == longest


def test_a_window_ends_where_messages_are_to_shrink() -> None:
    """By then the client knows more, and sizes are reckoned anew."""

    def after_four_windows(task_s: float) -> Sizing:
        sizing = Sizing(spec(workers=4))
        sizing.learn(took(*[task_s] * 16))
        assert [sizing.span(1_000_000, 100) for _ in range(4)] == [300, 600, 1_200, 2_400]
        return sizing

    assert after_four_windows(0.004).span(6_000, 100) == 3_000
    assert after_four_windows(0.004).span(4_800, 100) == 4_800  # nothing is left to shrink
    assert after_four_windows(0.0).span(6_000, 100) == 4_800  # tasks of no length: they never do


@pytest.mark.parametrize(
    ("seconds", "slots", "size"),
    [
        (0.0, 1, 100),
        (0.001, 1, 100),
        (0.01, 1, 100),
        (0.04, 1, 25),
        (0.5, 1, 2),
        (1.0, 1, 1),
        (0.5, 16, 25),
        (60.0, 64, 1),
    ],
)
def test_a_message_holds_a_second_of_work_at_most(seconds: float, slots: int, size: int) -> None:
    sizing = Sizing(spec(slots=slots))
    sizing.learn(took(*[seconds] * 16))
    assert sizing.size(10_000) == size


def test_a_few_long_tasks_make_messages_smaller() -> None:
    sizing = Sizing(spec())
    sizing.learn(took(*[0.001] * 15, 1.0))
    assert sizing.size(10_000) == 3  # the mean alone would say 12


def test_messages_shrink_towards_the_end_but_not_below_what_a_fetch_takes() -> None:
    sizing = Sizing(spec(workers=4))
    sizing.learn(took(*[0.004] * 16))
    assert [sizing.size(left) for left in (10_000, 1_600, 800, 100)] == [100, 50, 25, 3]


@pytest.mark.parametrize(("left", "size"), [(4_000, 50), (2_000, 32), (1_300, 21), (400, 12), (60, 3)])
def test_no_message_holds_more_than_an_even_share_of_what_is_left(left: int, size: int) -> None:
    """A fetch takes as long as 50 such tasks. The last are as many as the client keeps up with."""
    sizing = Sizing(spec(workers=64))
    sizing.learn(took(*[0.0004] * 16))
    assert sizing.size(left) == size


def test_where_each_message_is_sized_for_itself_a_share_is_no_bound() -> None:
    """Each would be a little smaller than the one before."""
    sizing = Sizing(spec(workers=64, tasks_per_row=1))
    sizing.learn(took(*[0.0004] * 16))
    assert sizing.size(400) == 50


def test_a_window_of_even_shares_is_all_that_is_left() -> None:
    sizing = Sizing(spec(4_000, workers=64))
    assert sizing.span(4_000, sizing.size(4_000)) == 2_000
    sizing.learn(took(0.0004))
    assert sizing.span(2_000, sizing.size(2_000)) == 2_000


def test_the_client_keeps_up_with_tasks_that_seem_shorter_than_they_are() -> None:
    """What ends first is short: by such a mean one message in three would be left."""
    sizing = Sizing(spec(workers=10_000))
    sizing.learn(took(*[0.0001] * 16))
    assert sizing.size(10_000) == 50


def test_the_beginning_of_a_larger_run_is_packed_like_that() -> None:
    sizing = Sizing(spec(workers=4), following=100_000)
    sizing.learn(took(*[0.004] * 16))
    assert [sizing.size(left) for left in (10_000, 100)] == [100, 100]


@pytest.mark.parametrize(("tasks", "workers", "slots"), [(5, 1, 64), (64, 4, 16), (300, 1_024, 1)])
def test_tasks_that_have_a_slot_each_are_sent_one_by_one_at_once(
    tasks: int, workers: int, slots: int
) -> None:
    sizing = Sizing(spec(tasks, workers=workers, slots=slots))
    assert sizing.size(tasks) == 1
    assert sizing.span(tasks, 1) == tasks, "without a wait for what the first would tell"


@pytest.mark.parametrize(
    ("tasks", "workers", "slots", "following"), [(65, 4, 16, 0), (400, 1_024, 1, 0), (5, 1, 64, 1_000)]
)
def test_more_tasks_than_slots_or_than_are_soon_sent_are_not(
    tasks: int, workers: int, slots: int, following: int
) -> None:
    sizing = Sizing(spec(tasks, workers=workers, slots=slots), following=following)
    assert sizing.span(tasks, sizing.size(tasks)) < tasks


@pytest.mark.parametrize(
    ("tasks", "workers", "slots", "size"),
    [(20, 4, 1, 3), (4_000, 64, 1, 32), (4_096, 1_024, 1, 25), (1_000_000, 4, 1, 100), (70, 1, 64, 35)],
)
def test_half_of_the_run_is_spread_over_all_workers_while_nothing_is_known(
    tasks: int, workers: int, slots: int, size: int
) -> None:
    sizing = Sizing(spec(tasks, workers=workers, slots=slots))
    assert sizing.is_blind
    assert sizing.size(tasks) == size
    assert sizing.span(tasks, size) == min(math.ceil(tasks / 2), workers * size)
    assert sizing.size(tasks - size) == 1  # more by a guess could cost money


@pytest.mark.parametrize(
    ("tasks", "workers", "size"),
    [(3, 1, 1), (16, 4, 1), (17, 4, 3), (20, 16, 1), (64, 16, 1), (132, 64, 1), (134, 64, 5)],
)
def test_a_few_tasks_for_each_worker_come_one_by_one_while_nothing_is_known(
    tasks: int, workers: int, size: int
) -> None:
    """A page of two saves hardly a call, and where they are long one of them is moved out of it."""
    assert Sizing(spec(tasks, workers=workers)).size(tasks) == size


def test_a_guess_is_made_at_once_where_it_costs_nothing() -> None:
    sizing = Sizing(spec(tasks_per_row=1))
    assert (sizing.size(10_000), sizing.is_blind) == (100, False)
    # an eighth of a worker's share, not the half that is spread where it costs something
    assert Sizing(spec(100, tasks_per_row=1)).size(100) == 12


@pytest.mark.parametrize(("seconds", "size"), [(0.001, 50), (0.01, 12), (0.1, 6), (1.0, 1)])
def test_messages_are_large_enough_for_the_client_to_keep_up(seconds: float, size: int) -> None:
    sizing = Sizing(spec(workers=10_000))
    sizing.learn(took(*[seconds] * 16))
    assert sizing.size(10_000) == size


def test_no_more_tasks_are_sized_together_than_memory_has_room_for() -> None:
    sizing = Sizing(spec(bundle=1))
    sizing.fit(1, WINDOW_BYTES / 10, WINDOW_BYTES)
    assert sizing.span(10_000, 1) == 10
    sizing.fit(1, 2.0 * WINDOW_BYTES, WINDOW_BYTES)
    assert sizing.span(10_000, 1) == 1


def test_the_run_is_spread_once_though_nothing_is_learned_then() -> None:
    sizing = Sizing(spec(1_000_000))
    spans = [sizing.span(left, 1) for left in (1_000_000, 999_999)]
    assert spans == [1, FIRST_WINDOW]


def test_what_the_workload_says_needs_no_guess() -> None:
    assert not Sizing(spec(ideal_s=100.0)).is_blind
    assert Sizing(spec(ideal_s=0.0)).size(10_000) == MOST_TASKS


def test_windows_are_small_until_more_is_known() -> None:
    sizing = Sizing(spec(1_000_000))
    assert sizing.span(1_000_000, 100) == 100  # a message for the one worker, to learn from
    sizing.learn(took(0.0))
    spans = [sizing.span(1_000_000, 100) for _ in range(8)]
    assert spans == [300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 20_000]
