"""What a worker may not do says nothing against a task. It asks again for a while, then ends and tells."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kon.core.errors import BackendDenied, first_cause
from kon.core.kind import Attempt
from kon.core.objects import ObjectStore
from kon.core.task import State
from kon.engine.control import Control, WorkerState
from kon.engine.patience import DENIED_S
from tests.engine.world import Scripted, World, in_virtual_time

WHY = "these AWS credentials may not call sqs:SendMessage"

CALLS = {
    "tasks": ("receive", "extend", "ack"),
    "answers": ("send",),
    "ledger": ("insert_new", "replace"),
    "control": ("read",),
    "objects": ("put",),
}

BODIES = [{"s": 3.0}] * 3


class Denied:
    """In place of a queue, a table or a store: one of its calls is denied, for so long."""

    def __init__(self, thing: Any, call: str, until_s: float) -> None:
        self._thing, self._call, self._until_s = thing, call, until_s
        self.times = 0

    def __getattr__(self, name: str) -> Any:
        if name != self._call:
            return getattr(self._thing, name)

        async def asked(*args: Any) -> Any:
            if asyncio.get_running_loop().time() < self._until_s:
                self.times += 1
                raise BackendDenied(WHY)
            return await getattr(self._thing, name)(*args)

        return asked


class Storing(Scripted):
    """Stores something too, as animoto does."""

    async def open(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        await self._objects.put("k", Path(__file__))
        return await super().execute(body, attempt)


each_call = pytest.mark.parametrize(
    ("part", "call"), [(part, call) for part, calls in CALLS.items() for call in calls]
)


async def denied(part: str, call: str, for_s: float) -> tuple[World, Denied, Any]:
    """A run, and the channel of workers that are denied this call."""
    world = await World.create(len(BODIES), visibility_s=4.0, max_receives=3)
    place = Denied(getattr(world.channel, part), call, asyncio.get_running_loop().time() + for_s)
    return world, place, msgspec.structs.replace(world.channel, **{part: place})


@each_call
def test_what_is_denied_for_a_while_costs_time_alone(part: str, call: str) -> None:
    async def main() -> None:
        world, place, theirs = await denied(part, call, 0.8 * DENIED_S)
        tally = await world.run(BODIES, world.worker(channel=theirs, kind=Storing({})))
        assert place.times
        assert tally.counts[State.DONE] == len(BODIES)
        assert world.events("retry") == []

    in_virtual_time(main())


@each_call
def test_what_is_denied_for_good_ends_the_worker_and_no_task(part: str, call: str) -> None:
    """However often one is started again, each task is done once its right is there."""

    async def main() -> None:
        world, place, theirs = await denied(part, call, 1e9)
        collecting = asyncio.create_task(world.client().run(BODIES))
        lives = 0
        while lives < 3 * world.spec.max_receives and not collecting.done():
            with pytest.raises(BaseExceptionGroup) as caught:
                await world.worker(f"w{lives}", channel=theirs, kind=Storing({})).run()
            assert isinstance(first_cause(caught.value), BackendDenied)
            lives += 1
            await asyncio.sleep(world.spec.visibility_s + 1.0)
        assert place.times
        assert [each.denied for each in await Control(world.channel.control).workers()] == [WHY] * lives
        async with asyncio.TaskGroup() as group:
            mended = world.worker("mended", kind=Storing({}))
            group.create_task(mended.run())
            tally = await collecting
            mended.stop()
        assert {each.state: each.error for each in world.recorded().values()} == {State.DONE: None}
        assert tally.counts[State.DONE] == len(BODIES)

    in_virtual_time(main())


def test_a_denied_worker_speaks_for_a_task_once() -> None:
    """What kills its workers by itself is dead all the same, after as many receipts again."""

    async def main() -> None:
        world = await World.create(1, visibility_s=1.0, max_receives=2)
        state = WorkerState("w1.a", gone=True, denied=WHY)
        await Control(world.channel.control).say(1 << 40, state)
        collecting = asyncio.create_task(world.client().run([{}]))
        received = 0
        while not collecting.done():
            received += len(await world.channel.tasks.receive(1, 0.5))
            await asyncio.sleep(1.1)
        assert (await collecting).counts[State.DEAD] == 1
        assert received == 2 * world.spec.max_receives

    in_virtual_time(main())
