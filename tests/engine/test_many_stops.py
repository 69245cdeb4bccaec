"""A task whose worker is stopped again and again: every stop has another attempt follow, and none is the last
for want of a number."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

import msgspec
import pytest

from kon.core.queue import Message
from kon.core.spec import Plugin
from kon.core.strategy import Strategy
from kon.core.task import Bundle, State, Task, encode
from kon.engine import executor
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease
from kon.strategies.none import NoDeduplication
from kon.strategies.read_then_write import ReadThenWrite
from kon.strategies.result_once import ResultOnce
from tests.engine.world import World, in_virtual_time

STOPS = 40
"""More than the attempts that a task may fail at."""

BEFORE = functools.partial(ReadThenWrite, record="before")

STRATEGIES = [Lease, ConditionalPut, NoDeduplication, ReadThenWrite, BEFORE, ResultOnce]


async def _stopped(world: World, strategy: Callable[..., Strategy], seconds: float, times: int) -> None:
    for stop in range(times):
        running = asyncio.create_task((worker := world.worker(f"w{stop}", strategy)).run())
        await asyncio.sleep(seconds)
        worker.stop()
        await running


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("tasks_per_row", [1, 2, 100, None])
def test_a_task_that_is_stopped_forty_times_is_done_once(
    strategy: Callable[..., Strategy], tasks_per_row: int | None
) -> None:
    async def main() -> None:
        sizes = {"bundle": 2} if tasks_per_row else {"bundle": None, "prefetch": None}
        world = await World.create(
            2, drain_s=1.0, attempts=2, slots=2, max_receives=1, tasks_per_row=tasks_per_row, **sizes
        )
        bodies = [{"s": 30.0, "result": n} for n in range(2)]
        collecting = asyncio.create_task(world.client().run(bodies))
        await _stopped(world, strategy, 3.0, STOPS)
        last = asyncio.create_task((worker := world.worker("last", strategy)).run())
        tally = await collecting
        worker.stop()
        await last
        assert {outcome.attempt for outcome in world.recorded().values()} == {STOPS + 1}
        assert tally.counts[State.DONE] == 2
        assert {index: outcome.result for index, outcome in world.recorded().items()} == {
            n: n for n in range(2)
        }
        assert len(world.tasks_of("keep")) == 2, "each is counted once"
        rows = await world.channel.ledger.scan(0, 10_000)
        assert all(row.key < 2**53 for row in rows)

    in_virtual_time(main())


def test_a_task_that_was_done_after_forty_stops_is_found_in_the_ledger_when_its_answer_is_lost() -> None:
    async def main() -> None:
        world = await World.create(1, drain_s=1.0, slots=1)
        world.spec = msgspec.structs.replace(world.spec, strategy=Plugin("read_then_write"))
        submitting = world.client()
        await submitting.submit([{"s": 30.0, "result": "done"}])
        await _stopped(world, ReadThenWrite, 3.0, STOPS)
        last = asyncio.create_task((worker := world.worker("last", ReadThenWrite)).run())
        await asyncio.sleep(60.0)
        worker.stop()
        await last
        assert [outcome.attempt for outcome in await world.answers()] == [STOPS + 1]  # and so they are lost
        tally = await world.client().collect()
        assert tally.counts[State.DONE] == 1

    in_virtual_time(main())


def test_a_task_that_was_stopped_as_often_as_there_are_attempts_fails_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor, "LAST_ATTEMPT", 12)

    async def main() -> None:
        world = await World.create(2, drain_s=1.0, slots=2, bundle=2)
        collecting = asyncio.create_task(world.client().run([{"s": 30.0}, {"s": 30.0, "result": "x"}]))
        await _stopped(world, Lease, 3.0, 12)
        tally = await collecting
        assert tally.counts[State.FAILED] == 2
        assert {(each.attempt, each.error) for each in world.recorded().values()} == {
            (12, "its worker was told to stop 12 times as it ran")
        }
        assert len(world.tasks_of("stop")) == 2 * 11
        assert (await world.channel.tasks.depth()).total == 0

    in_virtual_time(main())


def test_an_attempt_that_fails_after_the_last_number_is_not_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor, "LAST_ATTEMPT", 5)

    async def main() -> None:
        world = await World.create(1, drain_s=1.0, backoff_s=0.1, attempts=3)
        collecting = asyncio.create_task(world.client().run([{"s": 5.0, "fail": 99}]))
        await _stopped(world, Lease, 1.5, 4)
        running = asyncio.create_task((worker := world.worker("last")).run())
        tally = await collecting
        worker.stop()
        await running
        assert tally.counts[State.FAILED] == 1
        assert world.recorded()[0].error == "ValueError: attempt 5 fails"

    in_virtual_time(main())


@pytest.mark.parametrize(("attempt", "stops", "pauses"), [(2, 0, 2.0), (40, 39, 1.0), (2_000, 3, 2.0**31)])
def test_the_pause_before_another_attempt_grows_with_failures_and_not_with_stops(
    attempt: int, stops: int, pauses: float
) -> None:
    """It doubles, but no further than a number can."""

    async def main() -> None:
        world = await World.create(1, attempts=3_000, backoff_s=1.0)
        queue = world.channel.tasks
        queue.limits = msgspec.structs.replace(queue.limits, max_delay_s=1e12)
        bundle = Bundle("r", [Task(0, {"fail": 9_999}, attempt)], stops=stops)
        await queue.send([Message(encode(bundle))])
        sent: list[float] = []

        async def sending(messages: Sequence[Message]) -> None:
            sent.extend(message.delay_s for message in messages)

        queue.send = sending  # type: ignore[method-assign]
        running = asyncio.create_task((worker := world.worker()).run())
        await asyncio.sleep(5.0)
        worker.stop()
        await running
        [delay_s] = sent
        assert 0.5 * pauses <= delay_s <= pauses

    in_virtual_time(main())
