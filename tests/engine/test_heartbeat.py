"""A worker's heartbeat: what it keeps alive, what it says, and what it hears."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from kon.core.errors import BackendUnavailable
from kon.core.ledger import Record
from kon.core.strategy import Strategy
from kon.engine.control import Control, Status
from kon.engine.worker import WorkerOptions
from kon.strategies.lease import Lease
from kon.strategies.none import NoDeduplication
from tests.engine.world import World, in_virtual_time


def test_a_worker_at_work_hears_that_its_run_is_over() -> None:
    """It asks nobody else before its task has ended."""

    async def main() -> None:
        world = await World.create(1, visibility_s=9.0, drain_s=2.0)
        await world.send({"s": 1_000.0})
        running = asyncio.create_task(world.worker().run())
        await asyncio.sleep(5.0)
        await Control(world.channel.control).close(Status.CANCELLED)
        await running
        assert asyncio.get_running_loop().time() <= 6.0 + 2.0 + 0.1

    in_virtual_time(main())


def test_each_beat_leaves_in_the_records_what_was_used_and_renewed_so_far() -> None:
    async def main() -> None:
        world = await World.create(1, visibility_s=9.0)
        await world.send({"s": 1_000.0})
        running = asyncio.create_task(world.worker().run())
        await asyncio.sleep(10.0)
        lines = [line["e"] for line in map(msgspec.json.decode, world.journals["w1"].lines)]
        assert lines[-6:] == ["renew", "usage"] * 3
        assert world.tasks_of("renew") == [0, 0, 0]
        running.cancel()
        await asyncio.wait({running})

    in_virtual_time(main())


def test_a_claim_that_is_renewed_is_good_for_a_task_that_waits_longer_than_the_lease() -> None:
    async def main() -> None:
        world = await World.create(2, slots=1, bundle=2, visibility_s=60.0)
        await world.send({"s": 40.0}, {"s": 0.1}, bundle=True)
        running = asyncio.create_task((worker := world.worker(lease_s=6.0)).run())
        await asyncio.sleep(50.0)
        assert world.tasks_of("drop") == []
        assert sorted(world.tasks_of("keep")) == [0, 1]
        worker.stop()
        await running

    in_virtual_time(main())


def test_a_task_that_waits_is_not_started_once_its_claim_is_lost() -> None:
    async def main() -> None:
        world = await World.create(2, slots=1, bundle=2, visibility_s=60.0)
        await world.send({"s": 10.0}, {"s": 0.1}, bundle=True)
        running = asyncio.create_task((worker := world.worker(lease_s=30.0)).run())
        await asyncio.sleep(5.0)
        other = Record(1, "other", owner="b", expires_s=1e12)
        await world.channel.ledger.put([other])
        await asyncio.sleep(20.0)
        assert world.tasks_of("drop") == [1]
        assert world.tasks_of("start") == [0]
        worker.stop()
        await running

    in_virtual_time(main())


def test_a_roll_call_is_answered_once_and_with_what_is_held() -> None:
    async def main() -> None:
        world = await World.create(1, visibility_s=3.0)
        control = Control(world.channel.control)
        await world.send({"s": 1_000.0})
        running = asyncio.create_task((worker := world.worker(options=WorkerOptions(wait_s=0.5))).run())
        await asyncio.sleep(1.5)
        said = 0
        put = world.channel.control.put

        async def putting(records: list[Record]) -> None:
            nonlocal said
            said += 1
            await put(records)

        number = await control.call_roll()
        world.channel.control.put = putting  # type: ignore[method-assign,assignment]
        await asyncio.sleep(20.0)
        [state] = await control.workers()
        assert (state.roll, state.holds, state.gone) == (number, 1, False)
        assert said == 1
        worker.stop()
        running.cancel()
        await asyncio.wait({running})

    in_virtual_time(main())


def test_an_outage_is_in_the_records_while_it_lasts() -> None:
    async def main() -> None:
        world = await World.create(1)

        async def fails(*args: object) -> list[object]:
            raise BackendUnavailable("it is away")

        world.channel.tasks.receive = fails  # type: ignore[method-assign,assignment]
        running = asyncio.create_task(world.worker(strategy=Lease).run())
        await asyncio.sleep(0.05)
        assert {line["error"] for line in world.events("trouble")} == {"it is away"}
        running.cancel()
        await asyncio.wait({running})

    in_virtual_time(main())


RUN_AGAIN = "Another worker may run it a second time meanwhile"
RENEWED = "Its claim is renewed all the same, so that no other worker runs it meanwhile"


@pytest.mark.parametrize(
    ("tasks", "named", "strategy", "comes"),
    [
        (1, "0", Lease, RENEWED),
        (3, "0, 1, 2", NoDeduplication, RUN_AGAIN),
        (4, "0, 1, 2 and 1 more", Lease, RENEWED),
        (6, "0, 1, 2 and 3 more", Lease, RENEWED),
    ],
)
def test_it_is_said_once_which_tasks_outlive_their_receipt(
    caplog: pytest.LogCaptureFixture, tasks: int, named: str, strategy: type[Strategy], comes: str
) -> None:
    async def main() -> None:
        world = await World.create(tasks, slots=tasks, visibility_s=30.0)
        limits = world.channel.tasks.limits
        world.channel.tasks.limits = msgspec.structs.replace(limits, max_receipt_s=3_600.0)
        await world.send(*[{"s": 10_000.0}] * tasks, bundle=True)
        running = asyncio.create_task(world.worker(strategy=strategy).run())
        await asyncio.sleep(3_500.0)
        assert caplog.messages == []
        await asyncio.sleep(5_000.0)
        [said] = caplog.messages
        assert said == (
            f"task {named}: the queue holds its message for 1 h from the receipt and no longer, then it "
            f"comes again. {comes}. Cut tasks that take so long into shorter ones"
        )
        running.cancel()
        await asyncio.wait({running})

    in_virtual_time(main())
