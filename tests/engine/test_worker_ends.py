"""A worker's first and last words, and what it does with all that it has when it is told to end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import pytest

from kon.core.clock import Clock
from kon.core.errors import BackendDenied, BackendUnavailable, StoreError, first_cause
from kon.core.ledger import Record
from kon.core.objects import ObjectStore
from kon.core.queue import Delivery
from kon.core.strategy import Strategy, Verdict
from kon.core.task import Task, decode_bundle
from kon.engine.control import Control, Status
from kon.engine.holding import Held, Holding, Job
from kon.engine.worker import WorkerOptions
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease
from kon.strategies.none import NoDeduplication
from tests.engine.test_denied import WHY, Denied
from tests.engine.world import Scripted, World, in_virtual_time


def test_a_worker_says_who_it_is_at_once_and_what_it_used_at_its_end() -> None:
    async def main() -> None:
        world = await World.create(1, slots=3)
        running = asyncio.create_task((worker := world.worker("a")).run())
        await asyncio.sleep(0.1)  # before its first heartbeat: one that is killed now has said it as well
        [up] = world.events("up")
        assert (up["worker"], up["slots"]) == ("a", 3)
        [said] = await Control(world.channel.control).workers()
        assert (said.name, said.gone) == ("a", False)
        worker.stop()
        await running
        assert [line["e"] for line in world.events("usage") + world.events("down")] == ["usage", "down"]
        assert world.events("usage")[0]["calls"]["ledger.put"]["calls"] == 2
        [said] = await Control(world.channel.control).workers()
        assert (said.name, said.gone) == ("a", True)

    in_virtual_time(main())


class Opened(Scripted):
    async def open(self, objects: ObjectStore) -> None:
        raise StoreError("it can't be opened")


@pytest.mark.parametrize("kind", [Scripted, Opened])
def test_its_kind_is_closed_however_a_worker_ends(kind: type[Scripted]) -> None:
    async def main() -> None:
        world = await World.create(1, idle_s=1.0)
        used = kind({})
        with suppress(StoreError):
            await world.worker(kind=used).run()
        assert used.closed

    in_virtual_time(main())


@pytest.mark.parametrize("told_s", [2.0, 8.0])
def test_a_worker_ends_after_the_shorter_of_two_idle_times(told_s: float) -> None:
    async def main() -> None:
        world = await World.create(1, idle_s=5.0)
        worker = world.worker(options=WorkerOptions(wait_s=1.0))
        worker.end_when_idle(told_s)
        await worker.run()
        assert asyncio.get_running_loop().time() == pytest.approx(min(told_s, 5.0), abs=0.1)

    in_virtual_time(main())


@pytest.mark.parametrize(("idle_s", "waits_s"), [(None, [20.0, 20.0]), (30.0, [20.0, 10.0]), (0.3, [1.0])])
def test_no_wait_for_messages_is_longer_than_a_worker_may_be_idle(
    idle_s: float | None, waits_s: list[float]
) -> None:
    """Nor is one so short that it asks in a circle."""

    async def main() -> None:
        world = await World.create(1, idle_s=idle_s)
        receive, asked = world.channel.tasks.receive, list[float]()

        async def receiving(messages: int, wait_s: float) -> list[Delivery]:
            asked.append(wait_s)
            return await receive(messages, wait_s)

        world.channel.tasks.receive = receiving  # type: ignore[method-assign,assignment]
        running = asyncio.create_task((worker := world.worker(options=WorkerOptions(wait_s=20.0))).run())
        await asyncio.sleep(39.0)
        worker.stop()
        await running
        assert asked == pytest.approx(waits_s)

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("slots", "tasks", "sent_s", "task_s", "ends_s"),
    [
        (1, 1, 0.0, 10.0, 15.0),
        (2, 1, 0.0, 10.0, 15.0),
        (2, 2, 0.0, 10.0, 15.0),
        (1, 1, 4.0, 0.0, 9.0),
        (4, 1, 4.0, 0.0, 9.0),
        (1, 1, 4.0, 1.0, 10.0),
    ],
)
def test_a_worker_is_idle_from_its_last_work_on(
    slots: int, tasks: int, sent_s: float, task_s: float, ends_s: float
) -> None:
    async def main() -> None:
        world = await World.create(tasks, idle_s=5.0, prefetch=0, slots=slots)
        running = asyncio.create_task(world.worker(options=WorkerOptions(wait_s=20.0)).run())
        await asyncio.sleep(sent_s)
        await world.send(*[{"s": task_s}] * tasks, bundle=True)
        await running
        assert len(await world.answers()) == tasks
        assert ends_s <= asyncio.get_running_loop().time() <= ends_s + 1.1

    in_virtual_time(main())


def test_an_idle_worker_sees_that_its_run_is_over_long_before_its_next_heartbeat() -> None:
    async def main() -> None:
        world = await World.create(1, visibility_s=3_000.0)
        options = WorkerOptions(wait_s=1.0)
        running = asyncio.create_task(world.worker(strategy=NoDeduplication, options=options).run())
        await asyncio.sleep(5.0)
        await Control(world.channel.control).close(Status.CLOSED)
        await running
        assert asyncio.get_running_loop().time() <= 6.1

    in_virtual_time(main())


def test_a_worker_that_waits_for_messages_ends_at_once() -> None:
    async def main() -> None:
        world = await World.create(1)
        running = asyncio.create_task((worker := world.worker(options=WorkerOptions(wait_s=20.0))).run())
        await asyncio.sleep(5.0)
        worker.stop()
        await running
        assert asyncio.get_running_loop().time() <= 5.1

    in_virtual_time(main())


class SlowAdmit(ConditionalPut):
    """Takes its time for claims."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        verdicts = await super().admit(tasks)
        await asyncio.sleep(2.0)
        return verdicts


def test_what_is_being_claimed_when_its_worker_is_stopped_is_given_back() -> None:
    """A claim that never runs out would stand without its worker, and the tasks would be lost."""

    async def main() -> None:
        world = await World.create(4, drain_s=1.0, slots=2, bundle=4)
        await world.send(*[{"s": 60.0}] * 4, bundle=True)
        running = asyncio.create_task((worker := world.worker("a", SlowAdmit)).run())
        await asyncio.sleep(1.0)
        worker.stop()
        await running
        bundles = [decode_bundle(each.body) for each in await world.channel.tasks.receive(10, 0.0)]
        again = {task.index: task.attempt for bundle in bundles for task in bundle.tasks}
        assert again.keys() == {0, 1, 2, 3}
        rows = {row.key for row in await world.channel.ledger.scan(0, 100)}
        assert rows == {index for index, attempt in again.items() if attempt > 1}

    in_virtual_time(main())


def test_a_worker_that_may_not_even_register_leaves_the_rows_of_others_alone() -> None:
    """The status of its run has the number that it would have before it has one."""

    async def main() -> None:
        world = await World.create(1)
        control, put = Control(world.channel.control), world.channel.control.put

        async def putting(records: Sequence[Record]) -> None:
            if records[0].key >= 1 << 40:
                raise BackendDenied(WHY)
            await put(records)

        await control.close(Status.OPEN)
        world.channel.control.put = putting  # type: ignore[method-assign]
        with pytest.raises(BackendDenied, match=WHY):
            await world.worker(options=WorkerOptions(denied_s=1.0)).run()
        assert (await control.read()).status is Status.OPEN
        assert await control.workers() == []

    in_virtual_time(main())


@pytest.mark.parametrize("error", [StoreError, BackendUnavailable])
def test_a_worker_that_is_denied_ends_with_that_though_its_last_words_are_lost(
    error: type[Exception],
) -> None:
    async def main() -> None:
        world = await World.create(1)

        async def fails(*args: object) -> None:
            raise error("no last words")

        channel = msgspec.structs.replace(world.channel, tasks=Denied(world.channel.tasks, "receive", 1e9))
        running = asyncio.create_task(
            world.worker(channel=channel, options=WorkerOptions(denied_s=1.0)).run()
        )
        await asyncio.sleep(0.5)
        channel.control.put = fails  # type: ignore[method-assign,assignment]
        with pytest.raises(BaseExceptionGroup) as caught:
            await running
        assert isinstance(first_cause(caught.value), BackendDenied)

    in_virtual_time(main())


def test_a_task_whose_claim_ran_out_before_a_slot_was_free_is_left_to_its_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And nothing names it any more: the garbage collector does not look at jobs."""
    ended: list[Held] = []
    settle = Holding.settle

    def noted(holding: Holding, jobs: Sequence[Job]) -> list[Held]:
        some = settle(holding, jobs)
        ended.extend(some)
        return some

    monkeypatch.setattr(Holding, "settle", noted)

    async def main() -> None:
        world = await World.create(2, slots=1, prefetch=2, visibility_s=40.0)
        world.clock = clock = Clock(1_000_000.0)
        worker = world.worker("a", options=WorkerOptions(heartbeat_s=1_000.0), lease_s=5.0, clock=clock)
        running = asyncio.create_task(worker.run())
        await world.send({"s": 0.1}, {"s": 20.0}, {"s": 0.1})
        await asyncio.sleep(30.0)
        assert world.tasks_of("start") == [0, 1]
        assert world.tasks_of("drop") == [2]
        assert [held.bundle.tasks[0].index for held in ended if 2 in _indexes(held)] == [2]
        assert not [held for held in ended if held.jobs]
        await asyncio.sleep(30.0)
        assert 2 in world.tasks_of("keep"), "its message came again"
        worker.stop()
        await running

    in_virtual_time(main())


def _indexes(held: Held) -> list[int]:
    return [task.index for task in held.bundle.tasks]


def test_a_worker_goes_on_where_the_last_that_waited_was_dropped() -> None:
    """Nothing runs then that would end, and have it look for more."""

    async def main() -> None:
        world = await World.create(2, slots=1, prefetch=0, bundle=2, visibility_s=40.0)
        await world.send({"s": 20.0}, {"s": 0.1}, bundle=True)
        worker = world.worker("a", options=WorkerOptions(heartbeat_s=1_000.0), lease_s=5.0)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(120.0)
        assert world.tasks_of("drop") == [1]
        assert 1 in world.tasks_of("keep")
        worker.stop()
        await running

    in_virtual_time(main())


@pytest.mark.parametrize(("strategy", "renews"), [(ConditionalPut, False), (Lease, True)])
def test_claims_that_never_run_out_are_not_renewed(strategy: type[Strategy], renews: bool) -> None:
    async def main() -> None:
        world = await World.create(1, visibility_s=6.0)
        await world.run([{"s": 10.0}], world.worker("a", strategy))
        assert bool(world.events("renew")) is renews

    in_virtual_time(main())
