"""How often a task was received, in all the messages that carried it."""

from __future__ import annotations

import asyncio

import pytest

from kon.core.task import decode_bundle
from tests.engine.world import World, in_virtual_time


def test_a_message_that_is_split_hands_its_receipts_on() -> None:
    """Its own next receipt counts as well: what was received twice has been received twice after it."""

    async def main() -> None:
        world = await World.create(3, visibility_s=1.0)
        await world.send({}, {}, {}, bundle=True)
        queue = world.channel.tasks
        await queue.receive(1, 0.0)
        await asyncio.sleep(1.5)
        deliveries = await queue.receive(1, 0.0)
        assert [delivery.receives for delivery in deliveries] == [2]
        assert await world.worker()._intake.unpack(deliveries) == []
        bundles = [decode_bundle(delivery.body) for delivery in await queue.receive(10, 0.0)]
        assert [(len(bundle.tasks), bundle.receives) for bundle in bundles] == [(1, 1)] * 3

    in_virtual_time(main())


@pytest.mark.parametrize(("earlier", "event"), [(4, "start"), (5, "dead")])
def test_a_task_may_be_received_as_often_as_the_run_allows(earlier: int, event: str) -> None:
    async def main() -> None:
        world = await World.create(1, max_receives=5)
        await world.send({}, receives=earlier)
        worker = world.worker()
        worker.end_when_idle(1.0)
        await worker.run()
        assert world.tasks_of(event) == [0]
        assert len(world.tasks_of("start")) + len(world.tasks_of("dead")) == 1

    in_virtual_time(main())


def test_a_message_with_earlier_receipts_is_not_split_when_it_comes_for_the_first_time() -> None:
    """It stands for one that was: workers that give back would otherwise make a message of each task."""

    async def main() -> None:
        world = await World.create(3)
        await world.send({}, {}, {}, bundle=True, receives=1)
        unpacked = await world.worker()._intake.unpack(await world.channel.tasks.receive(10, 0.0))
        assert [task.index for _, task in unpacked] == [0, 1, 2]

    in_virtual_time(main())
