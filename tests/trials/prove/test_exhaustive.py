"""The small model, searched in whole: what is tried, what is counted, and that it finds what is there."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from kon.backends.sim.faults import FAULTS, FaultRates, Fired
from kon.backends.sim.schedule import Given
from kon.core.clock import Clock
from kon.core.ledger import Ledger
from kon.core.plugins import strategy_class
from kon.core.spec import Plugin
from kon.core.task import State
from kon.trials.prove.classes import NO_FAULT, registered_strategies
from kon.trials.prove.exhaustive import SMALL, VISIBILITY_S, Exhausted, Orders, exhaust, exhaust_each
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Invariant, MakeStrategy
from tests.trials.prove.mistakes import NoTokenCompare, UnconditionalCommit

LEASE = Plugin("lease")


def needs_fifo(strategy: Plugin) -> bool:
    return strategy_class(strategy.name).needs_fifo


def schedules_of(exhausted: Exhausted, fault: str) -> int:
    return next(each.schedules for each in exhausted.searched if each.fault == fault)


NO_OCCASION = {
    # they need another fault first, or a second message
    *("reorder", "stale_ack_deletes", "stale_ack_agrees", "stale_depth", "depth_low", "receive_missed"),
    # they are of clients and of whole runs, which the small model leaves to the search of seeds
    *("cancel", "client_pause", "second_client", "late", "stop", "denied", "denied_for_good"),
}
"""Faults that the small model does not have; a search of seeds has each of them."""

MARKS = {"lease": [pytest.mark.long], "fifo": [pytest.mark.long]}
"""One without a queue of its own order and one with one. `make soak` and test_search.py try all."""


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(each, id=each.label, marks=MARKS.get(each.label, [pytest.mark.slow]))
        for each in registered_strategies()
    ],
)
def test_every_promise_holds_under_every_single_fault(strategy: Plugin) -> None:
    exhausted = exhaust(strategy, 0)
    assert exhausted.broken == ()
    assert exhausted.occasions > 700
    assert [each.fault for each in exhausted.searched] == [NO_FAULT, *FAULTS]
    none_of = {each.fault for each in exhausted.searched if not each.occasions}
    assert none_of == (NO_OCCASION | {"duplicate"} if needs_fifo(strategy) else NO_OCCASION)


@pytest.mark.parametrize(
    "strategy",
    [pytest.param("lease", marks=pytest.mark.slow), pytest.param("conditional_put", marks=pytest.mark.long)],
)
def test_every_promise_holds_where_two_workers_share_a_page(strategy: str) -> None:
    paged = msgspec.structs.replace(SMALL, tasks=2, tasks_per_row=2)
    exhausted = exhaust(Plugin(strategy), 0, scenario=paged)
    assert exhausted.broken == ()
    assert exhausted.schedules > 1_000


@pytest.mark.long
def test_every_promise_of_a_lease_holds_in_other_orders_too() -> None:
    exhausted = exhaust(LEASE, 1, ["duplicate", "ack_failed", "write_reply_lost"])
    assert exhausted.broken == ()
    assert schedules_of(exhausted, "write_reply_lost") > 100


@pytest.mark.long
def test_without_a_bound_the_search_is_whole_and_with_a_sharp_one_it_says_so() -> None:
    lonely = msgspec.structs.replace(SMALL, workers=1)
    sizes = [exhaust(Plugin("none"), bound, [], scenario=lonely) for bound in (0, 1, 2, None)]
    assert [each.schedules for each in sizes] == sorted(each.schedules for each in sizes)
    assert sizes[0].schedules == 1
    assert [each.searched[0].whole for each in sizes] == [False, False, False, True]
    assert "every order, without a fault" in sizes[-1].extent()
    assert sizes[-1].extent().endswith("there are no others")
    assert "at most 1 pre-emption" in sizes[1].extent()
    assert "no others" not in sizes[1].extent()


def test_no_schedule_is_tried_twice() -> None:
    seen: list[tuple[int, ...]] = []

    class Noted(Orders):
        def __init__(self, picks: Sequence[int]) -> None:
            super().__init__(picks)
            seen.append(())

        def pick(self, ready: int) -> int:
            chosen = super().pick(ready)
            seen[-1] = tuple(self.choices.picks)
            return chosen

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("kon.trials.prove.exhaustive.Orders", Noted)
        exhausted = exhaust(LEASE, 2, [])
    assert len(seen) == len(set(seen)) == exhausted.schedules > 100


def test_hosts_go_on_between_requests_as_on_a_loop_of_their_own() -> None:
    """First come, first served is one schedule, whichever way it is told."""
    scenario = msgspec.structs.replace(SMALL, strategy=LEASE)
    for fault in (Fired("duplicate", "tasks", 0), Fired("send_reply_lost", "tasks", 0)):
        played = play(scenario, 0, schedule=Orders(), plan=[fault])
        assert played.states[State.DONE] == 1
        assert played.fired == [fault]
        again = play(scenario, 0, schedule=Given(played.picks), plan=[fault])
        assert again == played


@pytest.mark.long
def test_each_single_fault_is_tried_once_and_at_every_occasion() -> None:
    exhausted = exhaust(LEASE, 0, ["ack_failed", "crash"])
    _, acks, crashes = exhausted.searched
    acked = play(
        msgspec.structs.replace(SMALL, strategy=LEASE, rates=FaultRates(ack_failed=1e-12)),
        0,
        schedule=Orders(),
    )
    assert acks.occasions == 2, "of the task's message and of its answer's"
    assert crashes.occasions == 2 * acked.steps, "of two workers, before each step"


@pytest.mark.long
def test_the_places_of_one_strategy_are_shared_among_processes_and_it_comes_to_the_same() -> None:
    faults = ["ack_failed", "partition", "crash", "ack_failed"]
    alone = exhaust(LEASE, 0, faults)
    assert [each.fault for each in alone.searched] == [NO_FAULT, "ack_failed", "partition", "crash"]
    told: list[Exhausted] = []
    assert exhaust_each([LEASE], 0, faults, jobs=2, on_progress=told.append) == [alone] == told


class ShortUnconditional(UnconditionalCommit):
    """With a lease that a pause outlasts, as the small model has it."""

    def __init__(self, ledger: Ledger, worker: str, clock: Clock) -> None:
        super().__init__(ledger, worker, clock, lease_s=VISIBILITY_S)


@pytest.mark.parametrize(
    ("mistake", "strategy", "fault", "broken"),
    [
        (NoTokenCompare, "conditional_put", "write_reply_lost", Invariant.LOST_BY_OUTAGE),
        (ShortUnconditional, "lease", "pause", Invariant.FENCED),
    ],
)
def test_a_mistake_is_found_and_can_be_seen_again(
    mistake: MakeStrategy, strategy: str, fault: str, broken: Invariant
) -> None:
    exhausted = exhaust(Plugin(strategy), 0, [fault], make_strategy=mistake)
    found = next(each for each in exhausted.broken if each.invariant is broken)
    (fired,) = found.faults
    assert fired.fault == fault
    assert found.break_in(found.replay(make_strategy=mistake)) is not None
    assert found.replay().broken == (), "with the safeguard in its place nothing breaks"
