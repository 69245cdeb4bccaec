"""The strategies without leases, step by step, against a ledger in memory."""

from __future__ import annotations

from typing import Literal

import pytest

from kon.core.clock import Clock
from kon.core.errors import ConfigurationError
from kon.core.strategy import Claim, Skip, Strategy
from kon.core.task import Outcome, State, Task, attempt_key
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.none import NoDeduplication
from kon.strategies.read_then_write import ReadThenWrite
from kon.strategies.result_once import ResultOnce
from tests.engine.counted import Counted
from tests.engine.world import in_virtual_time
from tests.strategies.test_lease import LostReplies, ledger

TASK = Task(7, "body")
DONE = Outcome(7, 1, State.DONE, "r")
CLOCK = Clock(0.0)


async def verdict_of(strategy: Strategy, task: Task = TASK) -> object:
    (verdict,) = await strategy.admit([task])
    return verdict


def test_none_runs_whatever_comes() -> None:
    async def main() -> None:
        strategy = NoDeduplication(await ledger(), "a", CLOCK)
        for _ in range(2):
            assert await verdict_of(strategy) == Claim(TASK)
        assert await strategy.commit([Claim(TASK)], [DONE]) == [DONE]

    in_virtual_time(main())


def test_conditional_put_starts_each_attempt_once() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = ConditionalPut(table, "a", CLOCK), ConditionalPut(table, "b", CLOCK)
        assert isinstance(await verdict_of(a), Claim)
        assert await verdict_of(a) == Skip(), "not even by the same worker"
        assert await verdict_of(b) == Skip()
        assert isinstance(await verdict_of(b, Task(7, "body", 2)), Claim), "the next attempt is another start"

    in_virtual_time(main())


def test_conditional_put_knows_its_own_record_after_a_lost_reply() -> None:
    async def main() -> None:
        assert isinstance(await verdict_of(ConditionalPut(LostReplies(await ledger()), "a", CLOCK)), Claim)

    in_virtual_time(main())


def test_conditional_put_gives_back_what_it_has_not_started_and_nothing_else() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = ConditionalPut(table, "a", CLOCK), ConditionalPut(table, "b", CLOCK)
        claimed = await verdict_of(a)
        assert isinstance(claimed, Claim)
        await b.release([Claim(TASK, "another token")])
        assert await verdict_of(b) == Skip()
        await a.release([claimed])
        assert isinstance(await verdict_of(b), Claim)

    in_virtual_time(main())


def test_read_then_write_after_sees_what_was_recorded_and_not_what_runs() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = ReadThenWrite(table, "a", CLOCK), ReadThenWrite(table, "b", CLOCK)
        claimed = await verdict_of(a)
        assert isinstance(claimed, Claim)
        assert isinstance(await verdict_of(b), Claim), "the gap that it is known for"
        await a.commit([claimed], [DONE])
        assert await verdict_of(b) == Skip(DONE)

    in_virtual_time(main())


def test_read_then_write_before_sees_what_has_begun() -> None:
    async def main() -> None:
        table = await ledger()
        a = ReadThenWrite(table, "a", CLOCK, record="before")
        b = ReadThenWrite(table, "b", CLOCK, record="before")
        claimed = await verdict_of(a)
        assert isinstance(claimed, Claim)
        assert await verdict_of(b) == Skip(), "and should the worker of the first die, it is lost"
        await a.release([claimed])
        assert isinstance(await verdict_of(b), Claim)

    in_virtual_time(main())


@pytest.mark.parametrize("record", ["before", "after"])
def test_read_then_write_takes_the_next_attempt(record: str) -> None:
    async def main() -> None:
        strategy = ReadThenWrite(await ledger(), "a", CLOCK, record=record)  # type: ignore[arg-type]
        claimed = await verdict_of(strategy)
        assert isinstance(claimed, Claim)
        await strategy.commit([claimed], [Outcome(7, 1, State.RETRY, error="no")])
        assert isinstance(await verdict_of(strategy, Task(7, "body", 2)), Claim)

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("record", "state", "is_kept"),
    [("after", State.DONE, True), ("after", State.RETRY, False), ("before", State.DONE, False)],
)
def test_read_then_write_keeps_outcomes_after_a_run_alone_and_none_that_is_not_the_last(
    record: Literal["after", "before"], state: State, is_kept: bool
) -> None:
    async def main() -> None:
        table = await ledger()
        await ReadThenWrite(table, "a", CLOCK, record=record).commit(
            [Claim(TASK, "a")], [Outcome(7, 1, state)]
        )
        [row] = await table.read([attempt_key(7, 1)])
        assert (row is not None) is is_kept

    in_virtual_time(main())


def test_read_then_write_after_gives_no_outcome_back() -> None:
    """A stale read may have claimed what is done."""

    async def main() -> None:
        table = await ledger()
        a = ReadThenWrite(table, "a", CLOCK)
        await a.commit([Claim(TASK, "a")], [DONE])
        await a.release([Claim(TASK, "a")])
        assert await verdict_of(a) == Skip(DONE)

    in_virtual_time(main())


def test_read_then_write_promises_what_its_option_allows() -> None:
    async def main() -> None:
        table = await ledger()
        assert ReadThenWrite(table, "a", CLOCK).guarantee.nothing_lost
        assert not ReadThenWrite(table, "a", CLOCK, record="before").guarantee.nothing_lost
        with pytest.raises(ConfigurationError, match='"after" or "before"'):
            ReadThenWrite(table, "a", CLOCK, record="never")  # type: ignore[arg-type]

    in_virtual_time(main())


@pytest.mark.parametrize("record", ["before", "after"])
def test_read_then_write_recalls_the_last_result_but_a_done_one_before_a_later_failure(record: str) -> None:
    async def main() -> None:
        strategy = ReadThenWrite(await ledger(), "a", CLOCK, record=record)  # type: ignore[arg-type]
        failed = [Outcome(6, attempt, State.FAILED, error="no") for attempt in (1, 2)]
        for outcome in (*failed, DONE, Outcome(7, 2, State.FAILED, error="no")):
            claim = await verdict_of(strategy, Task(outcome.index, "body", outcome.attempt))
            assert isinstance(claim, Claim)
            await strategy.commit([claim], [outcome])
        begun = await verdict_of(strategy, Task(8, "body", 1))
        assert isinstance(begun, Claim)
        # what is recorded before a task is begun has no outcome
        first, last, done = (*failed, DONE) if record == "after" else (None, None, None)
        assert await strategy.recall([6, 7, 8, 9], range(1, 3)) == [last, done, None, None]
        assert await strategy.recall([6], range(1, 2)) == [first]

    in_virtual_time(main())


def test_read_then_write_recalls_a_done_task_without_a_look_at_the_attempts_after() -> None:
    async def main() -> None:
        table = Counted()
        strategy = ReadThenWrite(table, "a", CLOCK)
        claim = await verdict_of(strategy)
        assert isinstance(claim, Claim)
        await strategy.commit([claim], [DONE])
        table.calls.clear()
        assert await strategy.recall([7], range(1, 1_000)) == [DONE]
        assert table.calls["read"] == 1

    in_virtual_time(main())


def test_result_once_keeps_the_first_result_and_answers_with_it() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = ResultOnce(table, "a", CLOCK), ResultOnce(table, "b", CLOCK)
        claims = [await verdict_of(a), await verdict_of(b)]
        assert [type(each) for each in claims] == [Claim, Claim]
        assert (await a.commit([Claim(TASK)], [DONE]))[0] is DONE
        assert await b.commit([Claim(TASK)], [Outcome(7, 1, State.DONE, "other")]) == [DONE]
        assert await verdict_of(b) == Skip(DONE)

    in_virtual_time(main())


def test_result_once_knows_its_own_record_after_a_lost_reply() -> None:
    async def main() -> None:
        strategy = ResultOnce(LostReplies(await ledger()), "a", CLOCK)
        assert (await strategy.commit([Claim(TASK)], [DONE]))[0] is DONE

    in_virtual_time(main())


def test_result_once_keeps_no_failed_attempt_that_is_made_again() -> None:
    async def main() -> None:
        strategy = ResultOnce(await ledger(), "a", CLOCK)
        again = Outcome(7, 1, State.RETRY, error="no")
        assert (await strategy.commit([Claim(TASK)], [again]))[0] is again
        assert isinstance(await verdict_of(strategy, Task(7, "body", 2)), Claim)

    in_virtual_time(main())


def test_result_once_recalls_the_results_that_stand() -> None:
    async def main() -> None:
        strategy = ResultOnce(await ledger(), "a", CLOCK)
        await strategy.commit([Claim(TASK)], [DONE])
        assert await strategy.recall([7, 8], range(1, 2)) == [DONE, None]

    in_virtual_time(main())
