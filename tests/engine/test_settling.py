"""When outcomes are settled: many together while more are coming, at once when none are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pytest

from kon.core.queue import Message
from kon.core.task import State
from kon.engine.settler import MOST_WAITING, SETTLE_BATCH
from kon.kinds.sleep import Sleep
from tests.engine.world import World, in_virtual_time

FLUSH_S = 10.0


def test_tasks_of_no_length_are_settled_together_while_the_queue_has_more() -> None:
    async def main() -> None:
        world = await World.create(1_000, prefetch=9, flush_s=FLUSH_S)
        tally = await world.run([0.0] * 1_000, world.worker(kind=Sleep({})))
        assert tally.counts[State.DONE] == 1_000
        assert len(world.events("claim")) == 101  # the first task alone, then up to ten with each receive
        assert len(world.events("keep")) <= 3

    in_virtual_time(main())


def test_the_last_outcomes_wait_for_no_others() -> None:
    """The last receive brought all that was asked for; only the next one tells that nothing is left."""

    async def main() -> None:
        world = await World.create(11, prefetch=9, flush_s=FLUSH_S)
        await world.run([0.0] * 11, world.worker(kind=Sleep({})))
        ended_s = max(outcome.ended_s for outcome in world.recorded().values())
        assert world.events("ack")[-1]["t"] - ended_s < FLUSH_S / 2

    in_virtual_time(main())


def test_an_outcome_waits_for_no_other_where_the_queue_was_empty() -> None:
    async def main() -> None:
        world = await World.create(1, slots=2, flush_s=FLUSH_S)
        await world.run([{"s": 0.25}], world.worker())  # ends within a long poll for the other slot
        (keep,) = world.events("keep")
        assert keep["t"] == world.recorded()[0].ended_s

    in_virtual_time(main())


def test_a_worker_takes_no_more_than_it_can_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of no length would otherwise pile up in its memory while the store is slow, claims and all."""
    tasks, ahead = 60_000, 1_000

    async def main() -> None:
        world = await World.create(tasks, prefetch=100, bundle=10)
        send = world.channel.answers.send

        async def slow(messages: Sequence[Message]) -> None:
            await asyncio.sleep(1.0)
            await send(messages)

        monkeypatch.setattr(world.channel.answers, "send", slow)
        await world.run([0.0] * tasks, world.worker(kind=Sleep({})))
        lines = sorted(world.events("start") + world.events("ack"), key=lambda line: float(line["t"]))
        changes = [_tasks(line) * (1 if line["e"] == "start" else -1) for line in lines]
        assert sum(changes) == 0
        assert max(accumulate(changes)) <= MOST_WAITING + 2 * ahead + 2 * SETTLE_BATCH

    in_virtual_time(main())


def _tasks(line: dict[str, Any]) -> int:
    return len(line["i"]) if "i" in line else int(line["r"][1])
