"""The lease, step by step, against a ledger in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from kon.backends.memory import MemoryBackend
from kon.core.backend import ChannelOptions
from kon.core.clock import Clock
from kon.core.errors import ConfigurationError
from kon.core.ledger import Ledger, Record
from kon.core.strategy import Claim, Defer, Skip
from kon.core.task import Outcome, State, Task
from kon.strategies.lease import Lease
from tests.engine.world import in_virtual_time

TASK = Task(7, "body")


def done(task: Task = TASK, result: str = "r") -> Outcome:
    return Outcome(task.index, task.attempt, State.DONE, result)


async def ledger() -> Ledger:
    backend = MemoryBackend({})
    await backend.create("r", ChannelOptions())
    return (await backend.open("r")).ledger


def lease(table: Ledger, worker: str, skew_s: float = 0.5, ahead_s: float = 0.0) -> Lease:
    return Lease(table, worker, Clock(1_000.0 + ahead_s), lease_s=30.0, skew_s=skew_s)


async def claim(strategy: Lease, task: Task = TASK) -> Claim:
    (verdict,) = await strategy.admit([task])
    assert isinstance(verdict, Claim), verdict
    return verdict


class LostReplies(Ledger):
    """A ledger whose every reply is lost once: the call is made again, and meets its own record."""

    def __init__(self, inner: Ledger) -> None:
        self._inner = inner
        self.max_batch = inner.max_batch

    async def _twice(self, call: Callable[[], Awaitable[list[Record | None]]]) -> list[Record | None]:
        await call()
        return await call()

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        return await self._inner.read(keys)

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        return await self._twice(lambda: self._inner.insert_new(records))

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        return await self._twice(lambda: self._inner.replace(records, if_tokens))

    async def put(self, records: Sequence[Record]) -> None:
        await self._inner.put(records)

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        return await self._inner.delete(keys, if_tokens)

    async def scan(self, first: int, limit: int) -> list[Record]:
        return await self._inner.scan(first, limit)


def test_the_first_claims_and_the_second_waits_until_the_lease_has_passed() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = lease(table, "a"), lease(table, "b")
        claimed = await claim(a)
        assert claimed.until_s == 1_030.0
        (verdict,) = await b.admit([TASK])
        assert isinstance(verdict, Defer)
        assert verdict.delay_s == 30.5, "the lease, and as much as clocks may differ"

    in_virtual_time(main())


def test_a_passed_lease_is_taken_over_and_its_holder_may_not_commit() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = lease(table, "a"), lease(table, "b")
        old = await claim(a)
        await asyncio.sleep(30.4)
        assert isinstance((await b.admit([TASK]))[0], Defer), "within the skew"
        await asyncio.sleep(0.2)
        new = await claim(b)
        assert await a.commit([old], [done()]) == [None]
        kept = done(result="b")
        assert (await b.commit([new], [kept]))[0] is kept
        (verdict,) = await a.admit([TASK])
        assert verdict == Skip(kept)

    in_virtual_time(main())


def test_what_the_ledger_has_is_recalled() -> None:
    """An outcome, how long a claim may still hold, or nothing."""

    async def main() -> None:
        a = lease(await ledger(), "a")
        first, second, third, fourth = (Task(index) for index in range(4))
        for task in (first, second):
            await claim(a, task)
        await a.commit([await claim(a, third)], [Outcome(third.index, 1, State.RETRY)])
        await a.commit([await claim(a, fourth)], [done(fourth)])
        await asyncio.sleep(10.0)
        assert await a.recall([0, 2, 3, 9], range(1, 4)) == [Defer(20.5), None, done(fourth), None]
        await asyncio.sleep(20.5)
        assert await a.recall([0, 1], range(1, 4)) == [None, None], "both have run out, to the moment"

    in_virtual_time(main())


def test_a_claim_that_has_run_out_is_taken_over_at_that_moment_and_counted() -> None:
    """A task that is to be tried again was given back, and taken over from nobody."""

    async def main() -> None:
        table = await ledger()
        a, b = lease(table, "a"), lease(table, "b")
        given_back = Task(8)
        await claim(a)
        await a.commit([await claim(a, given_back)], [Outcome(8, 1, State.RETRY)])
        await claim(b, given_back)
        assert b.takeovers == 0
        await asyncio.sleep(30.5)
        await claim(b)
        assert b.takeovers == 1

    in_virtual_time(main())


def test_a_clock_that_is_ahead_by_less_than_the_skew_takes_nothing_over_too_early() -> None:
    async def main() -> None:
        table = await ledger()
        await claim(lease(table, "a"))
        early = lease(table, "b", ahead_s=0.4)
        await asyncio.sleep(29.9)
        assert isinstance((await early.admit([TASK]))[0], Defer)
        await asyncio.sleep(0.3)
        assert isinstance((await early.admit([TASK]))[0], Claim)

    in_virtual_time(main())


def test_a_renewed_lease_holds_from_its_renewal() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = lease(table, "a"), lease(table, "b")
        claimed = await claim(a)
        await asyncio.sleep(20.0)
        (renewed,) = await a.renew([claimed])
        assert renewed is not None
        assert renewed.until_s == 1_050.0
        await asyncio.sleep(25.0)
        assert isinstance((await b.admit([TASK]))[0], Defer)
        assert (await a.commit([renewed], [done()]))[0] is not None

    in_virtual_time(main())


def test_a_takeover_that_saw_the_lease_before_its_renewal_fails() -> None:
    """The row was read as passed; by the time of the write, its holder had renewed it."""

    async def main() -> None:
        table = await ledger()
        a, b = lease(table, "a"), lease(table, "b")
        claimed = await claim(a)
        (seen,) = await table.read([TASK.index])
        assert seen is not None
        await asyncio.sleep(40.0)
        assert (await a.renew([claimed]))[0] is not None
        (verdict,) = await b._take_over([TASK], [seen])
        assert isinstance(verdict, Defer)
        assert verdict.delay_s > 29.0

    in_virtual_time(main())


def test_a_renewal_that_was_lost_is_renewed_from_where_it_stands() -> None:
    """Its write took place, but nobody heard: the claim in hand has an old token, and is still ours."""

    async def main() -> None:
        table = await ledger()
        a = lease(table, "a")
        claimed = await claim(a)
        await a.renew([claimed])
        await asyncio.sleep(5.0)
        (renewed,) = await a.renew([claimed])
        (row,) = await table.read([TASK.index])
        assert renewed is not None
        assert row is not None
        assert row.expires_s == renewed.until_s == 1_035.0
        kept = done()
        assert (await a.commit([claimed], [kept]))[0] is kept

    in_virtual_time(main())


def test_a_renewal_that_comes_after_the_commit_does_not_reopen_the_task() -> None:
    async def main() -> None:
        table = await ledger()
        a = lease(table, "a")
        claimed = await claim(a)
        kept = done()
        assert (await a.commit([claimed], [kept]))[0] is kept
        assert await a.renew([claimed]) == [None]
        assert await lease(table, "b").admit([TASK]) == [Skip(kept)]

    in_virtual_time(main())


def test_lost_replies_change_nothing() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = lease(LostReplies(table), "a"), lease(LostReplies(table), "b")
        claimed = await claim(a)
        (renewed,) = await a.renew([claimed])
        assert renewed is not None
        await asyncio.sleep(31.0)
        taken = await claim(b)
        assert await a.commit([renewed], [done()]) == [None]
        kept = done()
        assert (await b.commit([taken], [kept]))[0] is kept
        assert await a.admit([TASK]) == [Skip(kept)]

    in_virtual_time(main())


def test_a_failed_attempt_hands_the_next_one_to_whoever_comes() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = lease(table, "a"), lease(table, "b")
        claimed = await claim(a)
        failed = Outcome(7, 1, State.RETRY, error="no")
        assert (await a.commit([claimed], [failed]))[0] is failed
        # a late copy of the first attempt's message does the second attempt, and no third
        again = await claim(b, TASK)
        assert again.task.attempt == 2
        assert isinstance((await a.admit([Task(7, "body", 2)]))[0], Defer)

    in_virtual_time(main())


def test_a_released_claim_is_free_at_once() -> None:
    async def main() -> None:
        table = await ledger()
        a, b = lease(table, "a"), lease(table, "b")
        await a.release([await claim(a)])
        await claim(b)

    in_virtual_time(main())


def test_two_that_take_over_at_once_get_one_claim() -> None:
    async def main() -> None:
        table = await ledger()
        await claim(lease(table, "a"))
        await asyncio.sleep(31.0)
        verdicts = await asyncio.gather(*(lease(table, name).admit([TASK]) for name in "bc"))
        assert sorted(type(verdict).__name__ for (verdict,) in verdicts) == ["Claim", "Defer"]

    in_virtual_time(main())


@pytest.mark.parametrize("options", [{"lease_s": 0.1}, {"lease_s": float("nan")}, {"skew_s": -1.0}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError):
            Lease(await ledger(), "a", Clock(0.0), **options)

    in_virtual_time(main())


def test_a_row_that_another_took_over_and_gave_back_meanwhile_is_deferred_and_no_takeover() -> None:
    async def main() -> None:
        table = await ledger()
        await claim(lease(table, "dead"))
        await asyncio.sleep(31.0)
        replace, other, late = table.replace, lease(table, "quick"), lease(table, "late")

        async def overtaken(records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
            table.replace = replace  # type: ignore[method-assign]
            held = await claim(other)
            failed = Outcome(TASK.index, TASK.attempt, State.RETRY, error="it fails")
            assert await other.commit([held], [failed]) == [failed]
            return await replace(records, if_tokens)

        table.replace = overtaken  # type: ignore[method-assign]
        assert await late.admit([TASK]) == [Defer(0.0)]
        assert (other.takeovers, late.takeovers) == (1, 0)

    in_virtual_time(main())
