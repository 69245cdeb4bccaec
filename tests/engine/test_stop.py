"""Stopped is not failed: what a graceful stop, a drain and a cancel do to tasks that run."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

import pytest

from kon.core.ledger import Record
from kon.core.queue import Message
from kon.core.strategy import Claim, Strategy
from kon.core.task import Answers, Outcome, State, Task, decode_bundle, encode
from kon.engine.control import Control, Status
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease
from kon.strategies.none import NoDeduplication
from kon.strategies.read_then_write import ReadThenWrite
from kon.strategies.result_once import ResultOnce
from tests.engine.world import World, in_virtual_time

BEFORE = functools.partial(ReadThenWrite, record="before")

STRATEGIES = [Lease, ConditionalPut, NoDeduplication, ReadThenWrite, ResultOnce]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("bundle", "slots"), [(1, 1), (4, 2)])
def test_a_stop_costs_no_attempt_and_no_receipt(strategy: type[Strategy], bundle: int, slots: int) -> None:
    """Its task is stopped twelve times, where one attempt and one receipt are all that is allowed."""

    async def main() -> None:
        world = await World.create(4, drain_s=1.0, attempts=1, max_receives=1, bundle=bundle, slots=slots)
        collecting = asyncio.create_task(world.client().run([{"s": 30.0, "result": n} for n in range(4)]))
        for stop in range(12):
            worker = world.worker(f"w{stop}", strategy)
            running = asyncio.create_task(worker.run())
            await asyncio.sleep(5.0)
            assert world.tasks_of("start", f"w{stop}"), "it is at work at once, not after a lease"
            began_s = asyncio.get_running_loop().time()
            worker.stop()
            await running
            assert asyncio.get_running_loop().time() - began_s <= 1.1
        assert len(world.tasks_of("stop")) == 12 * slots
        last = asyncio.create_task((worker := world.worker("last", strategy)).run())
        tally = await collecting
        worker.stop()
        await last
        assert tally.counts[State.DONE] == 4
        assert {index: outcome.result for index, outcome in world.recorded().items()} == {
            n: n for n in range(4)
        }

    in_virtual_time(main())


def test_attempts_that_failed_count_and_those_that_were_stopped_do_not() -> None:
    async def main() -> None:
        world = await World.create(1, drain_s=1.0, attempts=3, backoff_s=0.1)
        # attempts 1 and 2 are stopped, 3 to 5 fail
        collecting = asyncio.create_task(world.client().run([{"s": 10.0, "fail": 9}]))
        for stop in range(2):
            running = asyncio.create_task((worker := world.worker(f"w{stop}")).run())
            await asyncio.sleep(5.0)
            worker.stop()
            await running
        running = asyncio.create_task((worker := world.worker("last")).run())
        await collecting
        worker.stop()
        await running
        assert len(world.tasks_of("start", "last")) == 3
        assert world.recorded()[0].state is State.FAILED
        assert world.recorded()[0].error == "ValueError: attempt 5 fails"

    in_virtual_time(main())


def test_a_repeat_of_the_message_of_an_attempt_that_was_stopped_does_not_start_it_again() -> None:
    """Where no attempt may start twice, its claim stays when it is stopped."""

    async def main() -> None:
        world = await World.create(1, drain_s=1.0)
        await world.send({"s": 30.0})
        running = asyncio.create_task((worker := world.worker("a", ConditionalPut)).run())
        await asyncio.sleep(5.0)
        worker.stop()
        await running
        [again] = await world.channel.tasks.receive(10, 0.0)
        assert decode_bundle(again.body).tasks == [Task(0, {"s": 30.0}, attempt=2)]
        await world.send({"s": 30.0})  # a repeat of the first one
        running = asyncio.create_task((worker := world.worker("b", ConditionalPut)).run())
        await asyncio.sleep(5.0)
        worker.stop()
        await running
        assert world.tasks_of("start", "b") == []
        assert world.tasks_of("skip", "b") == [0]

    in_virtual_time(main())


def test_an_outcome_that_is_there_when_the_worker_stops_is_committed_and_answered() -> None:
    async def main() -> None:
        world = await World.create(2, drain_s=5.0, slots=2, flush_s=60.0, prefetch=0)
        await world.send({"s": 1.0}, {"s": 8.0})
        running = asyncio.create_task((worker := world.worker()).run())
        await asyncio.sleep(4.0)
        worker.stop()
        await running
        assert sorted(outcome.index for outcome in await world.answers()) == [0, 1]
        assert (await world.channel.tasks.depth()).total == 0

    in_virtual_time(main())


def test_an_answer_that_comes_while_a_cancelled_run_drains_is_read() -> None:
    async def main() -> None:
        world = await World.create(3, drain_s=20.0, slots=2)
        running = asyncio.create_task((worker := world.worker()).run())
        collecting = asyncio.create_task(world.client().run([{"s": 8.0}, {"s": 100.0}, {"s": 8.0}]))
        await asyncio.sleep(2.0)
        await Control(world.channel.control).close(Status.CANCELLED)
        worker.stop()
        tally = await collecting
        await running
        assert tally.counts[State.DONE] == 1
        assert tally.counts[State.CANCELLED] == 2
        assert tally.counts[State.FAILED] == 0
        assert await world.answers() == []

    in_virtual_time(main())


@pytest.mark.parametrize("estimated", [False, True])
def test_the_client_of_a_cancelled_run_waits_no_longer_than_its_workers_may_take(estimated: bool) -> None:
    async def main(dies: bool) -> float:
        world = await World.create(1, drain_s=20.0, visibility_s=30.0)
        running = asyncio.create_task((worker := world.worker()).run())
        if estimated:
            world.estimate_depth()
        collecting = asyncio.create_task(world.client().run([{"s": 1_000.0}]))
        await asyncio.sleep(2.0)
        await Control(world.channel.control).close(Status.CANCELLED)
        if dies:
            running.cancel()
        else:
            worker.stop()
        began_s = asyncio.get_running_loop().time()
        tally = await collecting
        assert tally.counts[State.CANCELLED] == 1
        await asyncio.wait({running})
        return asyncio.get_running_loop().time() - began_s

    assert 20.0 <= in_virtual_time(main(dies=False)) <= 25.0
    assert in_virtual_time(main(dies=True)) <= 41.0


def test_a_task_that_ends_in_the_last_second_of_its_drain_is_done_though_its_run_was_cancelled() -> None:
    """Its worker hears of the cancel at its next heartbeat, and the queue's depth is an estimate."""

    async def main() -> None:
        world = await World.create(1, drain_s=20.0, visibility_s=30.0)
        world.estimate_depth()
        beat_s = 10.0
        running = asyncio.create_task(world.worker().run())
        collecting = asyncio.create_task(world.client().run([{"s": 2 * beat_s + 20.0 - 0.5}]))
        await asyncio.sleep(beat_s + 0.5)
        await Control(world.channel.control).close(Status.CANCELLED)
        tally = await collecting
        await running
        assert tally.counts[State.DONE] == 1

    in_virtual_time(main())


def test_an_answer_that_overtakes_the_last_look_at_workers_is_read_though_the_run_was_cancelled() -> None:
    """The last worker answers and ends between the look for answers and the question to the workers."""

    async def main() -> None:
        world = await World.create(1)
        control = world.channel.control
        await Control(control).close(Status.CANCELLED)
        scan, is_sent = control.scan, False

        async def answered_just_before(first: int, limit: int) -> list[Record]:
            nonlocal is_sent
            if not is_sent:
                is_sent = True
                await world.channel.answers.send([Message(encode(Answers("w", [Outcome(0, 1, State.DONE)])))])
            return await scan(first, limit)

        control.scan = answered_just_before  # type: ignore[method-assign]
        tally = await world.client().collect()
        assert is_sent
        assert tally.counts[State.DONE] == 1

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("strategy", "number"),
    [(BEFORE, 2), (ReadThenWrite, 2), (Lease, 1), (ConditionalPut, 1), (NoDeduplication, 1)],
)
def test_a_claim_that_may_be_read_after_its_release_is_left_behind_under_its_own_number(
    strategy: Callable[..., Strategy], number: int
) -> None:
    """Else a worker that reads it, though it is gone, takes the task for begun and drops its last message."""

    async def main() -> None:
        world = await World.create(6, drain_s=1.0, slots=1, bundle=3, prefetch=1)
        await world.send(*[{"s": 30.0}] * 3, bundle=True)
        await world.send(*[{"s": 30.0}] * 3, bundle=True)
        running = asyncio.create_task((worker := world.worker("a", strategy)).run())
        await asyncio.sleep(5.0)
        worker.stop()
        await running
        bundles = [decode_bundle(each.body) for each in await world.channel.tasks.receive(10, 0.0)]
        waited = [bundle for bundle in bundles if bundle.tasks[0].index]
        assert {(task.attempt, bundle.stops) for bundle in waited for task in bundle.tasks} == {
            (number, number - 1)
        }
        assert {bundle.receives for bundle in bundles} == {0}

    in_virtual_time(main())


def test_a_worker_that_drains_renews_what_runs_there_and_no_more() -> None:
    async def main() -> None:
        world = await World.create(2, drain_s=20.0, slots=1, bundle=2, visibility_s=6.0)
        await world.send({"s": 15.0}, {"s": 15.0}, bundle=True)
        running = asyncio.create_task((worker := world.worker("a")).run())
        await asyncio.sleep(3.0)
        assert world.tasks_of("renew") == [0, 1]
        worker.stop()
        await running
        assert world.tasks_of("renew")[2:] == [0] * 6
        assert world.tasks_of("keep") == [0]

    in_virtual_time(main())


class SlowRenewal(Lease):
    """Hears late that its renewal was written."""

    async def renew(self, claims: Sequence[Claim]) -> list[Claim | None]:
        renewed = await super().renew(claims)
        await asyncio.sleep(1.5)
        return renewed


def test_claims_that_are_being_renewed_when_their_worker_is_stopped_are_let_go_of_after_that() -> None:
    """Before, the row has a token that the worker does not know: its claim would stand until it ran out."""

    async def main() -> None:
        world = await World.create(2, drain_s=0.2, slots=1, bundle=2, visibility_s=6.0)
        await world.send({"s": 30.0}, {"s": 30.0}, bundle=True)
        running = asyncio.create_task((worker := world.worker("a", SlowRenewal)).run())
        await asyncio.sleep(2.5)  # within the first renewal
        worker.stop()
        await running
        assert await world.channel.ledger.scan(0, 10) == []
        assert (await world.channel.tasks.depth()).visible == 2

    in_virtual_time(main())


@pytest.mark.parametrize("strategy", [BEFORE, ReadThenWrite, Lease, ConditionalPut])
def test_what_was_not_claimed_yet_when_its_worker_stops_goes_back_once_and_as_it_came(
    strategy: Callable[..., Strategy],
) -> None:
    async def main() -> None:
        world = await World.create(8, drain_s=0.0, bundle=None, prefetch=None)
        await world.send(*[{"s": 60.0}] * 8, bundle=True)
        running = asyncio.create_task((worker := world.worker("a", strategy)).run())
        await asyncio.sleep(0.01)
        assert world.tasks_of("claim") == [0]
        worker.stop()
        await running
        bundles = [decode_bundle(each.body) for each in await world.channel.tasks.receive(10, 0.0)]
        again = sorted((task.index, task.attempt) for bundle in bundles for task in bundle.tasks)
        assert again == [(0, 2), *((index, 1) for index in range(1, 8))]

    in_virtual_time(main())


@pytest.mark.parametrize("strategy", [Lease, ConditionalPut])
def test_what_was_not_claimed_yet_when_its_worker_stops_is_not_released(
    strategy: type[Strategy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no row: where each is a request of its own, that would cost time and money for nothing."""
    released: list[int] = []
    release = strategy.release

    async def noted(self: Strategy, claims: Sequence[Claim]) -> None:
        released.extend(claim.task.index for claim in claims)
        await release(self, claims)

    monkeypatch.setattr(strategy, "release", noted)

    async def main() -> None:
        world = await World.create(8, drain_s=0.0, bundle=None, prefetch=None, slots=2)
        await world.send(*[{"s": 60.0}] * 8, bundle=True)
        running = asyncio.create_task((worker := world.worker("a", strategy)).run())
        await asyncio.sleep(0.01)
        claimed = world.tasks_of("claim")
        worker.stop()
        await running
        assert len(claimed) < 8
        assert set(released) <= set(claimed)
        assert len(world.tasks_of("give_back") + world.tasks_of("stop")) == 8

    in_virtual_time(main())
