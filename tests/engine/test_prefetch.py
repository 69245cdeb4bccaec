"""How much a worker takes and claims ahead, by how long tasks and receives take."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from kon.core.queue import QueueLimits
from kon.engine.executor import Executor
from kon.engine.prefetch import HORIZON_S, MOST_AHEAD, Prefetch
from tests.engine.auto import AUTO, spec
from tests.engine.world import in_virtual_time

LIMITS = QueueLimits(max_batch=100, max_bytes=1 << 18, max_delay_s=900.0)


class Slots(SimpleNamespace):
    """What a prefetch asks of an executor."""

    waiting: int = 0
    running: int = 0
    mean_s: float | None = None
    last_start_s: float = 0.0


SPEC = msgspec.structs.replace(spec(), tasks=100_000, slots=4, bundle=1)


def prefetch(executor: Slots, limits: QueueLimits = LIMITS, **settings: Any) -> Prefetch:
    return Prefetch(msgspec.structs.replace(SPEC, **settings), limits, cast(Executor, executor))


def test_before_a_task_has_ended_the_slots_are_filled_and_no_more() -> None:
    assert prefetch(Slots()).tasks_wanted(False) == 4
    assert prefetch(Slots(running=1, waiting=2)).tasks_wanted(False) == 1
    assert prefetch(Slots(running=4)).tasks_wanted(False) == 0


@pytest.mark.parametrize(
    ("waiting", "wanted"), [(0, 80), (20, 60), (39, 41), (40, 40), (41, 0), (80, 0), (200, 0)]
)
def test_none_are_claimed_until_half_of_those_ahead_are_used_up(waiting: int, wanted: int) -> None:
    """0.2 s of work for four slots, at 10 ms each."""

    async def main() -> None:
        slots = Slots(running=4, waiting=waiting, mean_s=0.01)
        assert prefetch(slots).tasks_wanted(False) == wanted

    in_virtual_time(main())


def test_fewer_are_claimed_ahead_where_each_claim_is_paid_for() -> None:
    async def main() -> None:
        made = prefetch(Slots(running=4, mean_s=0.01))
        assert made.tasks_wanted(here=True, paid=True) == 32  # 0.08 s of work for four slots
        made.fetched(0.25)  # a round trip of 0.05 s, as of now
        assert made.tasks_wanted(here=True, paid=True) == 80, "four of them"

        def wanted(mean_s: float) -> int:
            return prefetch(Slots(running=4, mean_s=mean_s)).tasks_wanted(here=True, paid=True)

        assert wanted(0.1) == 4, "one for each slot: a claim takes a tenth of such a task"
        assert wanted(0.15) == 4
        assert wanted(0.3) == 2, "as where claims cost nothing"
        assert wanted(1.0) == 0

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("here", "settings", "wanted"),
    [
        (False, {}, MOST_AHEAD),
        (False, {"tasks": 2_000, "workers": 4}, 63),  # an eighth of its share
        (True, {"tasks": 2_000, "workers": 4}, MOST_AHEAD),  # received: no other worker could do them
        (False, {"prefetch": 7}, 7),
        (False, {"prefetch": 7, "bundle": 10}, 70),
        (False, {"prefetch": 0}, 0),
    ],
)
def test_so_much_is_ahead_of_slots_that_run_at_most(
    here: bool, settings: dict[str, Any], wanted: int
) -> None:
    async def main() -> None:
        slots = Slots(running=4, mean_s=1e-6)
        assert prefetch(slots, **settings).tasks_wanted(here) == wanted
        slots.mean_s = 0.0  # it takes no time that can be measured
        assert prefetch(slots, **settings).tasks_wanted(here) == wanted

    in_virtual_time(main())


def test_nothing_is_ahead_of_a_task_that_was_given_back_or_of_those_that_take_longer_than_before() -> None:
    async def main() -> None:
        slots = Slots(running=4, mean_s=0.01)
        made = prefetch(slots)
        assert made.tasks_wanted(False) == 80
        made.gave_back()
        assert made.tasks_wanted(False) == 0
        slots.running = 3  # a free slot takes one all the same
        assert made.tasks_wanted(False) == 81
        slots.running, slots.last_start_s = 4, 0.001  # another was started
        assert made.tasks_wanted(False) == 80
        await asyncio.sleep(HORIZON_S)
        assert made.tasks_wanted(False) == 80
        await asyncio.sleep(0.002)
        assert made.tasks_wanted(False) == 0
        assert prefetch(slots, prefetch=5).tasks_wanted(False) == 5, "as it was asked for"

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("call_batch", "running", "tasks", "messages"),
    [
        (1, 0, 7, 7),
        (1, 0, 500, 100),  # as many as the queue gives at once
        (10, 4, 25, 20),  # not a request for the odd rest alone
        (10, 4, 7, 7),  # but where there is nothing else
        (10, 0, 14, 10),
        (10, 0, 9, 9),
    ],
)
def test_messages_are_asked_for_in_whole_requests(
    call_batch: int, running: int, tasks: int, messages: int
) -> None:
    limits = msgspec.structs.replace(LIMITS, call_batch=call_batch)
    assert prefetch(Slots(running=running), limits).messages_wanted(tasks) == messages


def test_the_odd_rest_is_asked_for_where_a_slot_would_stay_free_without_it() -> None:
    limits = msgspec.structs.replace(LIMITS, call_batch=10)
    made = prefetch(Slots(running=1, waiting=1), limits, slots=14)
    assert made.messages_wanted(12) == 12
    assert prefetch(Slots(running=2, waiting=2), limits, slots=14).messages_wanted(12) == 10


def test_how_many_tasks_a_message_has_is_learned_where_nobody_has_said_it() -> None:
    made = prefetch(Slots(), **AUTO)
    before = made._per_message
    made.received(100, 10)
    assert made._per_message == pytest.approx((before + 10) / 2)
    made.received(0, 5)  # all were turned away
    assert made._per_message == pytest.approx(((before + 10) / 2 + 1) / 2)
    told = prefetch(Slots(), bundle=8)
    told.received(100, 10)
    assert told.messages_wanted(80) == 10


def test_the_slower_a_queue_the_more_is_ahead() -> None:
    made = prefetch(Slots())
    assert made.horizon_s == HORIZON_S
    made.fetched(1.0)
    assert made.horizon_s == pytest.approx(4 * 0.2)
    made.fetched(1.0)
    assert made.horizon_s == pytest.approx(4 * 0.36)
