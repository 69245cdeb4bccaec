"""Shrinking, and the story that is told of what is left."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import pytest

from kon.backends.sim.faults import Fired
from kon.core.spec import Plugin
from kon.trials.prove import playing
from kon.trials.prove.classes import fault_class
from kon.trials.prove.drawn import SCENARIO, play_seed, scenario_of
from kon.trials.prove.playing import Counterexample, play, taken_from, without_trailing_zeros
from kon.trials.prove.scenario import MEANING, Invariant
from kon.trials.prove.shrink import PLAYS, shorten, shortest
from kon.trials.prove.telling import WIDTH, tell

BEFORE = Plugin("read_then_write", {"record": "before"})


@functools.cache
def long_one() -> Counterexample:
    """Two starts of a task among eight, under more than fifty faults."""
    for seed in range(1_000):
        played = play_seed(SCENARIO, BEFORE, fault_class("all"), seed)
        if len(played.fired) > 50 and Invariant.ONE_START in {each.invariant for each in played.breaks}:
            return taken_from(
                played, scenario_of(SCENARIO, BEFORE, fault_class("all"), seed), Invariant.ONE_START
            )
    raise AssertionError("no seed breaks it")


@functools.cache
def shortened() -> Counterexample:
    return shorten(long_one())


@functools.cache
def short_one(strategy: str, fault: str, invariant: Invariant) -> Counterexample:
    found = shortest(SCENARIO, Plugin(strategy), fault_class(fault), invariant)
    assert found is not None
    return found


def breaks(example: Counterexample) -> bool:
    return example.break_in(example.replay()) is not None


# --- shrinking ---------------------------------------------------------------------------------------


def test_a_counterexample_is_replayed_without_its_rates() -> None:
    example = long_one()
    assert len(example.faults) > 50
    assert example.scenario.rates.active() == {}
    assert tuple(example.replay().fired) == example.faults
    assert breaks(example)


@pytest.mark.long
def test_what_it_does_not_take_is_left_out() -> None:
    short = shortened()
    assert breaks(short)
    assert 1 <= len(short.faults) < 10
    assert short.deviations < long_one().deviations / 10
    # none of what is left can be spared: no fault, and no turn out of order
    for at in range(len(short.faults)):
        left = short.faults[:at] + short.faults[at + 1 :]
        assert not breaks(msgspec.structs.replace(short, faults=left)), short.faults[at]
    for at, pick in enumerate(short.picks):
        if pick:
            picks = (*short.picks[:at], 0, *short.picks[at + 1 :])
            assert not breaks(msgspec.structs.replace(short, picks=picks)), at


@pytest.mark.long
def test_shortening_always_comes_to_the_same() -> None:
    assert shorten(long_one()) == shortened()


def test_whatever_it_comes_to_breaks_when_it_is_replayed() -> None:
    """Also where the last fault of a kind that had no occasion is left out, and the services promise more."""
    assert [plays for plays in (7, 30) if not breaks(shorten(long_one(), plays))] == []


@pytest.mark.parametrize("plays", [0, 1, 7])
def test_no_more_schedules_are_played_than_allowed(plays: int, monkeypatch: pytest.MonkeyPatch) -> None:
    example = long_one()
    played = 0

    def counted(*args: Any, **kwargs: Any) -> object:
        nonlocal played
        played += 1
        return play(*args, **kwargs)

    monkeypatch.setattr(playing, "play", counted)
    short = shorten(example, plays)
    assert played == plays < PLAYS
    assert breaks(short)
    if not plays:
        assert short == example


@pytest.mark.long
def test_one_task_and_two_workers_are_enough_for_most() -> None:
    for strategy, fault, invariant in (
        ("none", "duplicate", Invariant.ONE_RESULT),
        ("lease", "crash", Invariant.ONE_START),
        ("conditional_put", "crash", Invariant.NOTHING_LOST),
        ("result_once", "duplicate", Invariant.ONE_START_WHILE_HELD),
    ):
        short = short_one(strategy, fault, invariant)
        assert (short.scenario.tasks, short.scenario.workers) == (1, 2)
        assert [fired.fault for fired in short.faults] == [fault]
        assert short.picks == ()
        assert breaks(short)


def test_what_takes_a_retry_is_found_with_a_task_that_fails() -> None:
    short = shortest(
        SCENARIO,
        Plugin("tests.trials.prove.mistakes:UnconditionalCommit"),
        fault_class("pause"),
        Invariant.ONE_RESULT,
    )
    assert short is not None
    assert short.scenario.tasks == 1


def test_where_nothing_breaks_there_is_no_counterexample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kon.trials.prove.shrink._SEEDS", 3)
    assert shortest(SCENARIO, Plugin("lease"), fault_class("crash"), Invariant.ONE_RESULT) is None


def test_a_strategy_that_raises_has_no_counterexample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kon.trials.prove.shrink._SEEDS", 3)
    faulty = Plugin("tests.trials.prove.mistakes:Faulty")
    assert shortest(SCENARIO, faulty, fault_class("none"), Invariant.ONE_START) is None


def test_picks_in_order_at_the_end_say_nothing() -> None:
    assert without_trailing_zeros([0, 2, 0, 0]) == (0, 2)
    assert without_trailing_zeros([0, 0]) == ()


# --- telling -----------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_story_says_what_it_takes_what_happens_and_what_breaks() -> None:
    told = tell(short_one("lease", "crash", Invariant.ONE_START))
    assert told is not None
    first, *lines, last, rest = told.splitlines()
    assert first == "lease: 1 task, 2 workers, 1 fault (crash)."
    assert f"{last} {rest}".endswith(
        f"attempt 1 is started twice. One start means that {MEANING[Invariant.ONE_START]}."
    )
    for happens in ("starts task 0", "crashes", "BROKEN: one start"):
        assert any(happens in line for line in lines), happens
    assert max(map(len, told.splitlines())) <= WIDTH


def test_a_story_ends_with_the_break_and_tells_of_no_other() -> None:
    example = short_one("none", "duplicate", Invariant.ONE_RESULT)
    told = tell(example)
    assert told is not None
    assert told.count("BROKEN") == 1
    table = told.split("\n\n")[1]
    assert "BROKEN: one result" in table.splitlines()[-1]


def test_breaks_of_one_schedule_are_told_together() -> None:
    example = short_one("none", "duplicate", Invariant.ONE_RESULT)
    told = tell(example, [Invariant.ONE_START])
    assert told is not None
    assert told.count("BROKEN") == 2
    assert told.index('"one start" is broken') < told.index('"one result" is broken')


@pytest.mark.long
def test_what_the_client_finds_is_told_as_well() -> None:
    told = tell(short_one("conditional_put", "crash", Invariant.NOTHING_LOST))
    assert told is not None
    assert "client BROKEN: nothing lost" in told


@pytest.mark.long
def test_repeats_of_a_call_without_a_reply_are_told_once() -> None:
    example = short_one("conditional_put", "partition", Invariant.NOTHING_LOST)
    told = tell(example)
    assert told is not None
    assert told.count("cut") == len(example.faults)
    assert len(told.splitlines()) < 60


def test_the_worker_that_the_fault_befalls_has_a_column() -> None:
    example = short_one("lease", "crash", Invariant.ONE_START)
    told = tell(example)
    assert told is not None
    assert example.faults[0].service in told.split("\n\n")[1].splitlines()[0].split()


def test_what_does_not_break_any_more_has_no_story() -> None:
    example = short_one("lease", "crash", Invariant.ONE_START)
    assert tell(msgspec.structs.replace(example, faults=())) is None
    assert tell(msgspec.structs.replace(example, faults=(Fired("crash", "w1", 99),))) is None
