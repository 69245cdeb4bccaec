"""Tasks that nobody answers: when the client may call them lost, and what it asks before it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from kon.core.ledger import Record
from kon.core.queue import Depth, Message
from kon.core.spec import Plugin
from kon.core.strategy import Strategy
from kon.core.task import LAST_ATTEMPT, Answers, Outcome, State, attempt_key, encode
from kon.engine.control import Control, Roll, WorkerState
from kon.engine.missing import Missing
from kon.engine.worker import Worker
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease
from kon.strategies.read_then_write import ReadThenWrite
from kon.strategies.result_once import ResultOnce
from tests.engine.auto import PAGED
from tests.engine.world import World, in_virtual_time


def estimate(world: World, seen: Callable[[float], bool], lag_s: float = 60.0) -> None:
    """Make the depth of the task queue an estimate, which sees messages only while `seen` says so."""
    queue, began_s = world.channel.tasks, asyncio.get_running_loop().time()
    true_depth = queue.depth
    queue.limits = msgspec.structs.replace(queue.limits, stale_depth=True, depth_lag_s=lag_s)

    async def depth() -> Depth:
        sees = seen(asyncio.get_running_loop().time() - began_s)
        return await true_depth() if sees else Depth(0, 0, 0)

    queue.depth = depth  # type: ignore[method-assign]


async def ends(world: World, *workers: Worker, task_s: float) -> Outcome:
    """How the run's only task ends."""
    await world.run([{"s": task_s}], *workers)
    return world.recorded()[0]


def test_looks_that_find_nothing_do_not_add_up_across_one_that_finds_a_message() -> None:
    async def main() -> None:
        world = await World.create(1)
        zeros = [100.0, 300.0]

        def seen(now_s: float) -> bool:
            if zeros and now_s >= zeros[0]:
                zeros.pop(0)
                return False
            return True

        estimate(world, seen)
        outcome = await ends(world, world.worker(), task_s=600.0)
        assert not zeros
        assert outcome.state is State.DONE

    in_virtual_time(main())


def test_the_span_begins_again_with_each_look_that_finds_a_message() -> None:
    """No worker is there that could say what it holds: the looks are all there is."""

    async def main() -> None:
        world = await World.create(1)
        await Control(world.channel.control).submitted(1)
        await world.send("held by a worker that can't be asked")
        zeros = [100.0, 300.0]

        def seen(now_s: float) -> bool:
            if zeros and now_s >= zeros[0]:
                zeros.pop(0)
                return False
            return True

        estimate(world, seen)

        async def answer_late() -> None:
            await asyncio.sleep(400.0)
            await world.channel.answers.send([Message(encode(Answers("w", [Outcome(0, 1, State.DONE)])))])

        answering = asyncio.create_task(answer_late())
        tally = await world.client().collect()
        await answering
        assert not zeros
        assert tally.counts[State.DONE] == 1

    in_virtual_time(main())


@pytest.mark.parametrize("strategy", [Lease, ConditionalPut, ResultOnce])
def test_a_task_that_a_live_worker_runs_is_not_lost_however_long_the_estimate_is_zero(
    strategy: type[Strategy],
) -> None:
    async def main() -> None:
        world = await World.create(1)
        estimate(world, lambda now_s: now_s < 10.0)
        outcome = await ends(world, world.worker(strategy=strategy), task_s=600.0)
        assert outcome.state is State.DONE

    in_virtual_time(main())


def test_a_task_whose_message_another_has_acked_is_waited_for_while_it_runs() -> None:
    """Its worker did not extend the message in time; another got it, found the claim, and acked it."""

    async def main() -> None:
        world = await World.create(1, visibility_s=6.0)
        slow = world.worker("a", ConditionalPut)
        running = asyncio.create_task(slow.run())
        collecting = asyncio.create_task(world.client().run([{"s": 100.0}]))
        await asyncio.sleep(1.0)
        await world.channel.tasks.ack([held.delivery for held in slow._holding.deliveries])
        tally = await collecting
        slow.stop()
        await running
        assert tally.counts[State.DONE] == 1

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("strategy", "plugin"),
    [
        (Lease, Plugin("lease")),
        (ResultOnce, Plugin("result_once")),
        (ReadThenWrite, Plugin("read_then_write")),
    ],
)
@pytest.mark.parametrize("rows", [{"tasks_per_row": 1}, {"tasks_per_row": 4}, PAGED])
def test_what_the_ledger_has_is_the_result_when_no_message_is_left(
    strategy: type[Strategy], plugin: Plugin, rows: dict[str, Any]
) -> None:
    """As after a power cut that took the end of the client's journal: all was answered and acked."""

    async def main() -> None:
        world = await World.create(3, **rows, attempts=2)
        world.spec = msgspec.structs.replace(world.spec, strategy=plugin)
        bodies = [{"result": 0}, {"fail": 1, "result": 1}, {"fail": 9}]
        await world.run(bodies, world.worker(strategy=strategy))
        before = world.recorded()
        world.results.lines.clear()
        tally = await world.client().collect()
        assert tally.counts == {**dict.fromkeys(tally.counts, 0), State.DONE: 2, State.FAILED: 1}
        assert world.recorded() == before

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("strategy", "plugin"),
    [
        (Lease, Plugin("lease")),
        (ResultOnce, Plugin("result_once")),
        (ReadThenWrite, Plugin("read_then_write")),
    ],
)
@pytest.mark.parametrize("rows", [{"tasks_per_row": 1}, {"tasks_per_row": 4}, PAGED])
def test_the_result_of_a_task_whose_workers_were_stopped_often_is_found_in_the_ledger(
    strategy: type[Strategy], plugin: Plugin, rows: dict[str, Any]
) -> None:
    """Each stop is followed by another attempt, which is free: more than `attempts` allows."""

    async def main() -> None:
        world = await World.create(1, **rows, attempts=1, drain_s=1.0)
        world.spec = msgspec.structs.replace(world.spec, strategy=plugin)
        collecting = asyncio.create_task(world.client().run([{"s": 10.0, "result": "done"}]))
        for name in ("a", "b", "c"):
            running = asyncio.create_task((worker := world.worker(name, strategy)).run())
            await asyncio.sleep(5.0)
            worker.stop()
            await running
        running = asyncio.create_task((worker := world.worker("last", strategy)).run())
        await collecting
        worker.stop()
        await running
        assert world.recorded()[0].attempt == 4
        world.results.lines.clear()
        tally = await world.client().collect()
        assert tally.counts[State.DONE] == 1
        assert world.recorded()[0].result == "done"

    in_virtual_time(main())


@pytest.mark.parametrize(("workers", "attempts"), [(0, 1), (500, 501), (100_000, LAST_ATTEMPT)])
def test_a_row_is_asked_for_of_each_attempt_that_a_task_may_have_had(
    monkeypatch: pytest.MonkeyPatch, workers: int, attempts: int
) -> None:
    """Each worker may have been told to stop at it. Keys of attempts past the last would be others'."""
    read: list[int] = []

    async def roll(control: Control, number: int) -> Roll:
        return Roll(0, 0, workers=workers)

    async def main() -> None:
        world = await World.create(1, attempts=1)
        world.spec = msgspec.structs.replace(world.spec, strategy=Plugin("read_then_write"))
        await Control(world.channel.control).submitted(1)
        real = world.channel.ledger.read

        async def reading(keys: Sequence[int]) -> list[Record | None]:
            read.extend(keys)
            return await real(keys)

        monkeypatch.setattr(world.channel.ledger, "read", reading)
        monkeypatch.setattr(Control, "roll", roll)
        tally = await world.client().collect()
        assert tally.counts[State.LOST] == 1

    in_virtual_time(main())
    assert set(read) == {attempt_key(0, attempt) for attempt in range(1, attempts + 1)}


@pytest.mark.parametrize(("first_attempt", "ends"), [(1, State.FAILED), (2, State.LOST)])
def test_a_failure_of_an_earlier_round_does_not_stand_for_a_task_that_was_asked_for_again(
    first_attempt: int, ends: State
) -> None:
    async def main() -> None:
        world = await World.create(1, attempts=1)
        await Control(world.channel.control).submitted(1)
        failed = Outcome(0, 1, State.FAILED, None, "before")
        row = Record(0, "w:1!", State.FAILED, 1, outcome=encode(failed))
        await world.channel.ledger.insert_new([row])
        tally = await world.client(first_attempt=first_attempt).collect()
        assert tally.counts[ends] == 1

    in_virtual_time(main())


def test_a_claim_that_still_holds_is_waited_for() -> None:
    async def main() -> None:
        world = await World.create(1)
        await Control(world.channel.control).submitted(1)
        until_s = world.clock.now_s() + 400.0
        await world.channel.ledger.insert_new([Record(0, "somebody:1", expires_s=until_s)])
        tally = await world.client().collect()
        assert tally.counts[State.LOST] == 1
        assert world.clock.now_s() >= until_s

    in_virtual_time(main())


def test_workers_that_are_gone_or_dead_are_not_waited_for_for_long() -> None:
    async def main(dies: bool) -> float:
        world = await World.create(1, visibility_s=30.0)
        await Control(world.channel.control).submitted(1)
        worker = world.worker(strategy=ConditionalPut)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(5.0)
        running.cancel() if dies else worker.stop()
        await asyncio.wait({running})
        began_s = asyncio.get_running_loop().time()
        tally = await world.client().collect()
        assert tally.counts[State.LOST] == 1
        return asyncio.get_running_loop().time() - began_s

    assert in_virtual_time(main(dies=False)) < 10.0
    assert 20.0 <= in_virtual_time(main(dies=True)) < 30.0, "two beats of its heart"


def test_a_worker_that_dies_after_it_has_said_what_it_holds_is_asked_again() -> None:
    async def main() -> None:
        world = await World.create(1, visibility_s=30.0)
        estimate(world, lambda now_s: now_s < 10.0)
        running = asyncio.create_task(world.worker(strategy=ConditionalPut).run())
        collecting = asyncio.create_task(world.client().run([{"s": 10_000.0}]))
        await asyncio.sleep(200.0)
        assert not collecting.done()
        running.cancel()
        await asyncio.wait({running})
        tally = await asyncio.wait_for(collecting, 60.0)
        assert tally.counts[State.LOST] == 1

    in_virtual_time(main())


@pytest.mark.parametrize("plugin", [Plugin("lease"), Plugin("result_once"), Plugin("read_then_write")])
def test_a_task_that_an_earlier_round_has_done_is_done(plugin: Plugin) -> None:
    async def main() -> None:
        world = await World.create(1, attempts=1)
        world.spec = msgspec.structs.replace(world.spec, strategy=plugin)
        await Control(world.channel.control).submitted(1)
        done = Outcome(0, 1, State.DONE, "before")
        await world.channel.ledger.insert_new([Record(0, "w:1!", State.DONE, 1, outcome=encode(done))])
        tally = await world.client(first_attempt=2).collect()
        assert tally.counts[State.DONE] == 1

    in_virtual_time(main())


def judge(world: World) -> Missing:
    return Missing(world.spec, world.channel, Control(world.channel.control), world.clock, 300.0, 1)


def test_a_cancelled_run_has_stopped_when_no_worker_was_at_work_in_two_looks() -> None:
    async def main() -> None:
        world = await World.create(1)
        missing, control = judge(world), Control(world.channel.control)
        assert not await missing.is_stopped()
        await world.send({})
        await world.channel.tasks.receive(1, 0.0)
        await control.say(1 << 40, WorkerState("w", holds=1))  # it came late
        assert not await missing.is_stopped()
        await control.say(1 << 40, WorkerState("w", gone=True))
        assert not await missing.is_stopped()
        assert await missing.is_stopped()

    in_virtual_time(main())


@pytest.mark.parametrize("is_estimate", [True, False])
def test_an_estimate_that_nothing_is_in_flight_says_nothing_of_a_worker_that_may_live(
    is_estimate: bool,
) -> None:
    async def main() -> None:
        world = await World.create(1)
        if is_estimate:
            world.estimate_depth()
        await Control(world.channel.control).say(1 << 40, WorkerState("w", holds=1))
        missing = judge(world)
        assert [await missing.is_stopped() for _ in range(3)] == [False, not is_estimate, not is_estimate]

    in_virtual_time(main())
