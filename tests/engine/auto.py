"""What tests of found sizes share: settings, what was learned, pages, and messages that are queued."""

from __future__ import annotations

import asyncio
from typing import Any

from kon.core.ledger import Ledger
from kon.core.task import Bundle, Outcome, Segment, State, decode_bundle
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
