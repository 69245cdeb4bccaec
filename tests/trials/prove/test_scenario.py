"""Scenarios: the real client, workers and strategies, under faults and a watch that misses nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from kon.backends.sim.faults import FaultRates, FaultSpans
from kon.backends.sim.schedule import Given
from kon.backends.sim.trace import Trace, story
from kon.core.clock import Clock
from kon.core.errors import first_cause
from kon.core.ledger import Ledger, Record
from kon.core.spec import Plugin
from kon.core.strategy import Claim, Skip, Verdict
from kon.core.task import Outcome, State, Task, attempt_keys
from kon.engine.records.events import Event, Named, Recorder
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease
from kon.strategies.result_once import ResultOnce
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Invariant, MakeStrategy, Played, Scenario
from kon.trials.prove.stage import Stage

STRATEGIES = ("none", "read_then_write", "conditional_put", "lease", "result_once")
SMALL = Scenario(tasks=8, workers=3, horizon=300)

MIX = FaultRates(
    delay=0.05,
    receive_lost=0.05,
    error_after=0.005,
    partition=0.005,
    client_crash=0.4,
    duplicate=0.1,
    answer_duplicate=0.1,
    resurrect=0.05,
    reorder=0.1,
    ack_failed=0.05,
    ack_reply_lost=0.05,
    send_reply_lost=0.05,
    handle_expired=0.05,
    stale_ack_deletes=0.2,
    stale_ack_agrees=0.2,
    stale_depth=0.1,
    write_reply_lost=0.05,
    stale_read=0.1,
    throttle=0.05,
    error_before=0.005,
    crash=0.4,
    pause=0.4,
    skew=1.0,
)


def scenario(strategy: str, rates: FaultRates, **changes: object) -> Scenario:
    return msgspec.structs.replace(SMALL, strategy=Plugin(strategy), rates=rates, **changes)


def first_to_break(of: Scenario, invariant: Invariant) -> Played:
    """The first of 40 schedules that breaks it, promised or not."""
    played = (play(of, seed) for seed in range(40))
    return next(each for each in played if invariant in {one.invariant for one in each.breaks})


# --- while all goes well ---------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("bundle", [1, 3])
def test_without_faults_nothing_breaks_and_every_attempt_is_made_once(strategy: str, bundle: int) -> None:
    for seed in range(5):
        played = play(scenario(strategy, FaultRates(), bundle=bundle, failing=0.5), seed)
        assert played.breaks == ()
        assert played.states[State.DONE] == 8
        assert 8 <= played.starts <= 16
        assert played.lives == 3
        assert played.fired == []


def test_a_seed_always_plays_alike() -> None:
    of = scenario("lease", MIX)
    assert [play(of, seed) for seed in range(5)] == [play(of, seed) for seed in range(5)]


def test_a_trace_changes_nothing_and_tells_a_story() -> None:
    of, trace = scenario("lease", MIX), Trace()
    assert play(of, 1, trace=trace) == play(of, 1)
    told = story(trace, tasks=[0])
    assert "starts task 0" in told
    assert "keeps task 0" in told


def test_a_run_can_be_repeated_from_its_picks_and_faults() -> None:
    of = scenario("lease", MIX)
    for seed in range(5):
        played = play(of, seed)
        assert play(of, seed, schedule=Given(played.picks), plan=played.fired) == played


# --- promises --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_a_strategy_promises_holds_when_all_goes_wrong_at_once(strategy: str) -> None:
    lives = 0
    for seed in range(21):
        played = play(scenario(strategy, MIX, bundle=1 + seed % 3), seed)
        assert played.broken == (), f"seed {seed}"
        lives += played.lives
    assert lives > 21 * 3


def test_a_strategys_options_reach_it() -> None:
    of = msgspec.structs.replace(SMALL, strategy=Plugin("read_then_write", {"record": "before"}))
    lossy = msgspec.structs.replace(of, rates=FaultRates(crash=0.8))
    assert first_to_break(lossy, Invariant.NOTHING_LOST).broken == ()


@pytest.mark.parametrize(
    ("strategy", "rates", "broken"),
    [
        ("none", FaultRates(duplicate=0.3), Invariant.ONE_START),
        ("none", FaultRates(duplicate=0.3), Invariant.ONE_START_WHILE_HELD),
        ("none", FaultRates(duplicate=0.3), Invariant.ONE_RESULT),
        ("read_then_write", FaultRates(duplicate=0.3), Invariant.ONE_RESULT),
        ("conditional_put", FaultRates(crash=0.5), Invariant.NOTHING_LOST),
        ("result_once", FaultRates(duplicate=0.3), Invariant.ONE_START_WHILE_HELD),
        ("lease", FaultRates(crash=0.5), Invariant.ONE_START),
    ],
)
def test_what_a_strategy_does_not_promise_does_break(
    strategy: str, rates: FaultRates, broken: Invariant
) -> None:
    assert first_to_break(scenario(strategy, rates), broken).broken == ()


# --- and mistakes are found ------------------------------------------------------------------------


class UnconditionalCommit(Lease):
    """Writes its result whoever holds the claim by now."""

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        await self.ledger.put(
            [self._result(claim, outcome) for claim, outcome in zip(claims, outcomes, strict=True)]
        )
        return list(outcomes)


class NoSkewBound(Lease):
    """Trusts that all clocks agree."""

    def __init__(self, ledger: Ledger, worker: str, clock: Clock) -> None:
        super().__init__(ledger, worker, clock, skew_s=0.0)


class Gullible(ConditionalPut):
    """Runs whatever it has put, without a look at what it found."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        token = self.new_token()
        await self.ledger.insert_new([Record(key, token) for key in attempt_keys(tasks)])
        return [Claim(task, token) for task in tasks]


class OwnResult(ResultOnce):
    """Answers with its own result, whatever stands."""

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        await super().commit(claims, outcomes)
        return list(outcomes)


class Inventor(Lease):
    """Answers for a task that it never ran."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        return [Skip(Outcome(task.index, 1, State.DONE, "invented")) for task in tasks]


class Forgetful(Lease):
    """Says that a task was done when it was only begun."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        verdicts = await super().admit(tasks)
        return [verdict if isinstance(verdict, Claim) else Skip() for verdict in verdicts]


@pytest.mark.parametrize(
    ("mistake", "rates", "broken"),
    [
        (UnconditionalCommit, FaultRates(pause=0.5), Invariant.FENCED),
        (UnconditionalCommit, FaultRates(pause=0.5), Invariant.ONE_RESULT),
        (NoSkewBound, FaultRates(crash=0.5, skew=1.0), Invariant.ONE_START_WHILE_HELD),
        (Gullible, FaultRates(duplicate=0.3), Invariant.ONE_START),
        (OwnResult, FaultRates(duplicate=0.3), Invariant.ONE_RESULT),
        (Forgetful, FaultRates(crash=0.5), Invariant.NOTHING_LOST),
        (Inventor, FaultRates(), Invariant.TRUE_COUNTS),
    ],
)
def test_a_mistake_in_a_strategy_is_found(
    mistake: MakeStrategy, rates: FaultRates, broken: Invariant
) -> None:
    of = msgspec.structs.replace(SMALL, rates=rates)
    played = (play(of, seed, make_strategy=mistake) for seed in range(60))
    assert any(broken in {each.invariant for each in one.broken} for one in played)


def test_the_skew_bound_holds_up_to_its_size_and_no_further() -> None:
    rates = FaultRates(crash=0.5, skew=1.0)
    within = msgspec.structs.replace(SMALL, rates=rates)
    broken = {each.invariant for seed in range(40) for each in play(within, seed).breaks}
    assert Invariant.ONE_START_WHILE_HELD not in broken
    beyond = msgspec.structs.replace(within, spans=FaultSpans(skew_s=5.0))
    first_to_break(beyond, Invariant.ONE_START_WHILE_HELD)


def test_a_start_that_is_not_recorded_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Recorder):
        def tasks(self, event: Event, tasks: Sequence[Task | Outcome] | Named, **fields: object) -> None:
            if event is not Event.START:
                super().tasks(event, tasks, **fields)

    monkeypatch.setattr("kon.trials.prove.stage.Recorder", Silent)
    (found,) = play(msgspec.structs.replace(SMALL, failing=0.0), 1).broken
    assert found.invariant is Invariant.TRUE_COUNTS
    assert found.how == "recorded are 0 starts, and 8 were made"


def test_an_outcome_that_is_not_recorded_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Stage._recorded
    monkeypatch.setattr(Stage, "_recorded", lambda stage: recorded(stage)[1:])
    found = play(SMALL, 1).broken
    assert {each.invariant for each in found} == {Invariant.TRUE_COUNTS}
    assert found[-1].how == "7 tasks are recorded"


class Hoarder(Lease):
    """Defers every task for ever."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        await self.ledger.put([Record(task.index, "hoarded", expires_s=1e12) for task in tasks])
        return await super().admit(tasks)


def test_a_run_that_does_not_end_is_a_break_and_not_a_hang() -> None:
    of = msgspec.structs.replace(SMALL, limit_s=1_000.0)
    played = play(of, 1, make_strategy=Hoarder)
    assert [each.invariant for each in played.broken] == [Invariant.DRAINS]
    assert "1000.0 s of virtual time" in played.broken[0].how


def test_messages_that_are_left_are_a_break() -> None:
    of = msgspec.structs.replace(SMALL, rates=FaultRates(ack_failed=1.0), drain_s=300.0)
    played = play(of, 1)
    assert [each.invariant for each in played.broken] == [Invariant.DRAINS]
    assert "8 messages are left 300 s after" in played.broken[0].how


def test_a_client_that_is_started_again_records_nothing_twice() -> None:
    crashed = 0
    for seed in range(30):
        trace = Trace()
        played = play(scenario("lease", FaultRates(client_crash=0.8)), seed, trace=trace)
        crashed += any(step.host == "client" and step.op == "crashes" for step in trace.steps)
        assert Invariant.TRUE_COUNTS not in {each.invariant for each in played.breaks}
    assert crashed > 5


def test_a_worker_that_is_cut_off_for_too_long_gives_up_and_is_replaced() -> None:
    of = scenario("lease", FaultRates(partition=0.05), spans=FaultSpans(partition_s=2_000.0))
    assert any(gives_up(of, seed) for seed in range(10))


def gives_up(of: Scenario, seed: int) -> bool:
    trace = Trace()
    play(of, seed, trace=trace)
    return any(step.op == "gives up" for step in trace.steps)


def test_a_skewed_clock_is_what_the_worker_reads() -> None:
    trace = Trace()
    play(scenario("lease", FaultRates(skew=1.0), spans=FaultSpans(skew_s=5.0)), 1, trace=trace)
    claims = [step for step in trace.steps if step.op == "insert_new" and "until" in step.note]
    offsets_s = {step.host: float(step.note.split()[-1]) - 30.0 - step.at_s for step in claims}
    told_s = {step.host: float(step.note.split()[1]) for step in trace.steps if step.op == "clock"}
    assert len(offsets_s) == 3
    for host, offset_s in offsets_s.items():
        assert abs(offset_s - told_s[host]) < 0.1


def test_a_crash_of_a_strategy_is_no_broken_promise_but_an_error() -> None:
    class Faulty(Lease):
        async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
            raise ZeroDivisionError("a fault of the strategy's own")

    with pytest.raises(ExceptionGroup) as caught:
        play(SMALL, 1, make_strategy=Faulty)
    assert isinstance(first_cause(caught.value), ZeroDivisionError)


def test_a_break_says_when_to_which_task_and_how() -> None:
    played = next(
        one
        for one in (play(scenario("none", FaultRates(duplicate=0.3)), seed) for seed in range(30))
        if one.breaks
    )
    first = played.breaks[0]
    assert first.invariant is Invariant.ONE_START
    assert first.task in range(8)
    assert 0.0 < first.at_s < played.virtual_s
    assert first.how == "attempt 1 is started twice"
