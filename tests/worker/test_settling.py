"""When outcomes are settled: many together while more are coming, at once when none are."""

from __future__ import annotations

from kon.kinds.sleep import Sleep
from kon.task import State
from tests.worker.world import World, in_virtual_time

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
