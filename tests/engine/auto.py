"""What tests of found sizes share: settings, what was learned, pages, and messages that are queued."""

from __future__ import annotations

import asyncio
from typing import Any

from kon.core.ledger import Ledger
from kon.core.queue import Message
from kon.core.task import Bundle, Outcome, Segment, State, Task, decode_bundle, encode
from kon.engine.control import Control
from kon.engine.layout import SegmentPages
from kon.engine.paged_ledger import PagedLedger
from tests.engine.world import World

AUTO: dict[str, Any] = {"bundle": None, "prefetch": None}

PAGED: dict[str, Any] = {**AUTO, "tasks_per_row": None}


async def messages(world: World) -> list[Bundle]:
    """Every message that is queued, received and left alone."""
    bundles: list[Bundle] = []
    while deliveries := await world.channel.tasks.receive(100, 0.0):
        bundles += [decode_bundle(delivery.body) for delivery in deliveries]
    return bundles


def spec(tasks: int = 10_000, **settings: Any) -> Any:
    return asyncio.run(World.create(tasks, **{**PAGED, **settings})).spec


def took(*seconds: float) -> list[Outcome]:
    return [Outcome(at, 1, State.DONE, None, None, 0.0, each) for at, each in enumerate(seconds)]


def paged(below: Ledger, writer: str, *segments: Segment) -> PagedLedger:
    layout = SegmentPages()
    for segment in segments:
        layout.add(segment)
    return PagedLedger(below, writer, layout)


LONG_FIRST = [{"s": 100.0}] + [{"s": 0.001}] * 99


async def one_long(names: str = "ab", **settings: Any) -> World:
    """One task of 100 s in a message with 99 of 1 ms, and two workers."""
    world = await World.create(100, **{**AUTO, "workers": 2, **settings})
    tasks = [Task(index, body) for index, body in enumerate(LONG_FIRST)]
    segment = Segment(0, 100, 100) if world.spec.tasks_per_row is None else None
    await world.channel.tasks.send([Message(encode(Bundle("r", tasks, segment=segment)))])
    await Control(world.channel.control).submitted(100)
    group = [asyncio.create_task(world.worker(name).run()) for name in names]
    await asyncio.sleep(2.0)
    for task in group:
        task.cancel()
    await asyncio.gather(*group, return_exceptions=True)
    return world
