"""The simulated queue: SQS standard while it behaves, and each way in which it is documented not to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kon.backends.sim.faults import FaultRates, FaultSpans, Fired
from kon.backends.sim.loop import SimLoop, simulate
from kon.core.errors import MessageTooLarge
from kon.core.queue import Delivery, Depth, Message
from kon.core.task import decode_bundle
from tests.backends.sim.world import VISIBILITY_S, World, messages, run


def indexes(deliveries: Sequence[Delivery]) -> list[int]:
    return [decode_bundle(delivery.body).tasks[0].index for delivery in deliveries]


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def receive_until(world: World, until_s: float) -> list[tuple[float, int, int]]:
    """Receive without an ack until then: when, which task, and its receive count."""
    seen = []
    while (left_s := until_s - now_s()) > 0:
        for delivery in await world.queue.receive(10, min(20.0, left_s)):
            seen.append((now_s(), indexes([delivery])[0], delivery.receives))
    return seen


# --- while it behaves ------------------------------------------------------------------------------


def test_messages_come_oldest_first() -> None:
    async def main() -> list[int]:
        world = World()
        await world.queue.send(messages(range(5)))
        await world.queue.send(messages(range(5, 8)))
        return indexes(await world.queue.receive(4, 0.0)) + indexes(await world.queue.receive(10, 0.0))

    assert run(main()) == list(range(8))


def test_a_message_comes_again_after_its_visibility_timeout_and_goes_to_the_dead_in_the_end() -> None:
    async def main() -> tuple[list[tuple[float, int, int]], list[int]]:
        world = World(max_receives=3)
        await world.queue.send(messages([7]))
        seen = await receive_until(world, 200.0)
        return seen, indexes(await world.dead.receive(10, 0.0))

    seen, dead = run(main())
    assert seen == [(0.0, 7, 1), (VISIBILITY_S, 7, 2), (2 * VISIBILITY_S, 7, 3)]
    assert dead == [7]


def test_an_acked_message_is_gone() -> None:
    async def main() -> None:
        world = World()
        await world.queue.send(messages([1, 2]))
        deliveries = await world.queue.receive(10, 0.0)
        assert await world.queue.ack(deliveries[:1]) == [True]
        assert await world.queue.ack(deliveries[:1]) == [False]
        assert [index for _, index, _ in await receive_until(world, 40.0)] == [2]

    run(main())


def test_a_later_receive_makes_a_handle_stale() -> None:
    async def main() -> None:
        world = World()
        await world.queue.send(messages([1]))
        first = await world.queue.receive(1, 0.0)
        second = await world.queue.receive(1, 40.0)
        assert await world.queue.extend(first, 10.0) == [False]
        assert await world.queue.ack(first) == [False]
        assert await world.queue.extend(second, 10.0) == [True]
        assert await world.queue.ack(second) == [True]

    run(main())


def test_an_extension_holds_a_message_longer_and_none_gives_it_back() -> None:
    async def main() -> None:
        world = World()
        await world.queue.send(messages([1, 2]))
        held = await world.queue.receive(2, 0.0)
        await asyncio.sleep(20.0)
        assert await world.queue.extend(held[:1], 30.0) == [True]
        assert await world.queue.extend(held[1:], 0.0) == [True]
        assert await receive_until(world, 60.0) == [(20.0, 2, 2), (50.0, 1, 2), (50.0, 2, 3)]

    run(main())


def test_a_handle_that_nobody_made_stale_still_holds() -> None:
    async def main() -> None:
        world = World()
        await world.queue.send(messages([1]))
        held = await world.queue.receive(1, 0.0)
        await asyncio.sleep(VISIBILITY_S + 1.0)
        assert world.queue.messages.true_depth() == Depth(visible=1, in_flight=0, delayed=0)
        assert await world.queue.extend(held, 10.0) == [True]
        assert world.queue.messages.true_depth() == Depth(visible=0, in_flight=1, delayed=0)
        await asyncio.sleep(11.0)
        assert await world.queue.ack(held) == [True]
        assert await receive_until(world, 200.0) == []

    run(main())


def test_a_delayed_message_comes_when_it_is_due() -> None:
    async def main() -> list[tuple[float, int, int]]:
        world = World()
        await world.queue.send([*messages([1], delay_s=12.0), *messages([2])])
        assert await world.queue.depth() == Depth(visible=1, in_flight=0, delayed=1)
        return await receive_until(world, 25.0)

    assert run(main()) == [(0.0, 2, 1), (12.0, 1, 1)]


def test_a_receive_waits_without_spinning() -> None:
    loop = SimLoop()

    async def main() -> tuple[float, list[Delivery]]:
        return_value = await World().queue.receive(1, 20.0)
        return now_s(), return_value

    assert simulate(main(), loop) == (20.0, [])
    assert loop.steps < 10


def test_who_waits_longest_is_served_first_and_no_more_than_asked() -> None:
    async def main() -> list[list[int]]:
        world = World()
        waiting = [asyncio.create_task(world.queue.receive(2, 20.0)) for _ in range(3)]
        await asyncio.sleep(5.0)
        await world.queue.send(messages(range(3)))
        return [indexes(await each) for each in waiting]

    assert run(main()) == [[0, 1], [2], []]


def test_who_hung_up_is_not_served() -> None:
    async def main() -> list[int]:
        world = World()
        gone = asyncio.create_task(world.queue.receive(1, 20.0))
        await asyncio.sleep(5.0)
        gone.cancel()
        await asyncio.sleep(1.0)
        await world.queue.send(messages([1]))
        return indexes(await world.queue.receive(1, 0.0))

    assert run(main()) == [1]


def test_depth_counts_each_message_once() -> None:
    async def main() -> None:
        world = World()
        await world.queue.send(messages(range(6)))
        held = await world.queue.receive(4, 0.0)
        await world.queue.send(messages([9], delay_s=100.0))
        assert await world.queue.depth() == Depth(visible=2, in_flight=4, delayed=1)
        await world.queue.ack(held[:1])
        await world.queue.extend(held[1:2], 0.0)
        assert await world.queue.depth() == Depth(visible=3, in_flight=2, delayed=1)
        await asyncio.sleep(101.0)
        assert await world.queue.depth() == Depth(visible=6, in_flight=0, delayed=0)

    run(main())


def test_limits_are_kept() -> None:
    async def main() -> None:
        queue = World().queue
        with pytest.raises(ValueError, match="batch of 11"):
            await queue.send(messages(range(11)))
        with pytest.raises(ValueError, match="batch of 11"):
            await queue.receive(11, 0.0)
        with pytest.raises(ValueError, match="delay"):
            await queue.send(messages([1], delay_s=901.0))
        with pytest.raises(MessageTooLarge):
            await queue.send([Message(bytes(1 << 20)), Message(b"x")])
        assert queue.messages.true_depth().total == 0

    run(main())


def test_the_heap_does_not_grow_with_messages_long_acked() -> None:
    async def main() -> None:
        world = World()
        for _ in range(6_000):
            await world.queue.send(messages([1]))
            await world.queue.ack(await world.queue.receive(1, 0.0))
        assert len(world.queue.messages._hidden) < 2_000

    run(main())


# --- and when it does not -------------------------------------------------------------------------


def test_a_message_is_received_twice_at_once_or_while_its_first_copy_runs() -> None:
    async def main() -> list[tuple[float, int, int]]:
        world = World(FaultRates(duplicate=1.0), spans=FaultSpans(duplicate_s=20.0))
        await world.queue.send(messages(range(10)))
        return await receive_until(world, 29.0)

    seen = run(main())
    assert sorted(index for _, index, _ in seen) == sorted([*range(10), *range(10)])
    copies = [at_s for at_s, _, receives in seen if receives == 2]
    assert sum(at_s == 0.0 for at_s in copies) in range(1, 10)
    assert all(at_s <= 20.0 for at_s in copies)


def test_a_second_copy_is_a_message_of_its_own() -> None:
    async def main() -> None:
        world = World(FaultRates(duplicate=1.0), spans=FaultSpans(duplicate_s=0.0))
        await world.queue.send(messages([1]))
        first = await world.queue.receive(1, 0.0)
        second = await world.queue.receive(1, 0.0)
        assert await world.queue.ack(first) == [True]
        assert await world.queue.extend(second, 10.0) == [True]
        assert await world.queue.ack(second) == [True]
        assert await receive_until(world, 100.0) == []

    run(main())


def test_a_message_comes_back_long_after_its_ack_and_just_once() -> None:
    async def main() -> list[float]:
        world = World(FaultRates(resurrect=1.0), seed=3)
        await world.queue.send(messages([1]))
        came = []
        while now_s() < 3_500.0:
            for delivery in await world.queue.receive(1, 20.0):
                came.append(now_s())
                assert await world.queue.ack([delivery]) == [True]
        return came

    came = run(main())
    assert len(came) == 2
    assert came[1] > VISIBILITY_S


def test_a_message_is_late() -> None:
    async def main() -> list[tuple[float, int, int]]:
        world = World(FaultRates(delay=1.0), spans=FaultSpans(delay_s=20.0))
        await world.queue.send(messages(range(10)))
        return await receive_until(world, 25.0)

    seen = run(main())
    assert sorted(index for _, index, _ in seen) == list(range(10))
    assert 10.0 < max(at_s for at_s, _, _ in seen) <= 20.0


def test_messages_come_out_of_order() -> None:
    async def main() -> list[int]:
        world = World(FaultRates(reorder=1.0))
        await world.queue.send(messages(range(10)))
        return indexes(await world.queue.receive(10, 0.0))

    came = run(main())
    assert came != list(range(10))
    assert sorted(came) == list(range(10))


def test_a_message_that_falls_out_of_a_reply_comes_back_after_its_visibility_timeout() -> None:
    async def main() -> list[tuple[float, int, int]]:
        world = World(FaultRates(receive_lost=0.5))
        await world.queue.send(messages(range(10)))
        return await receive_until(world, VISIBILITY_S + 1.0)

    seen = run(main())
    at_once = {index for at_s, index, _ in seen if at_s == 0.0}
    assert 0 < len(at_once) < 10
    assert all(receives == 2 for at_s, _, receives in seen if at_s == VISIBILITY_S)
    assert any(index not in at_once for at_s, index, _ in seen if at_s == VISIBILITY_S)


def test_a_receive_that_waits_goes_on_waiting_when_its_messages_fall_out_of_the_reply() -> None:
    async def main() -> tuple[float, list[Delivery]]:
        world = World(FaultRates(receive_lost=1.0))
        waiting = asyncio.create_task(world.queue.receive(10, 10.0))
        await asyncio.sleep(1.0)
        await world.queue.send(messages(range(10)))
        return_value = await waiting
        return now_s(), return_value

    assert run(main()) == (10.0, [])


def test_a_receive_that_waits_gets_the_next_message_when_one_falls_out() -> None:
    async def main() -> tuple[float, list[int]]:
        world = World(plan=[Fired("receive_lost", "tasks", 0)])
        waiting = asyncio.create_task(world.queue.receive(1, 10.0))
        await asyncio.sleep(1.0)
        await world.queue.send(messages(range(2)))
        came = indexes(await waiting)
        return now_s(), came

    assert run(main()) == (1.0, [1])


def test_an_ack_fails_and_the_message_stays() -> None:
    async def main() -> list[tuple[float, int, int]]:
        world = World(FaultRates(ack_failed=1.0))
        await world.queue.send(messages([1]))
        assert await world.queue.ack(await world.queue.receive(1, 0.0)) == [False]
        return await receive_until(world, 40.0)

    assert run(main()) == [(VISIBILITY_S, 1, 2)]


def test_an_acks_reply_is_lost_and_its_repeat_finds_the_message_gone() -> None:
    async def main() -> None:
        world = World(FaultRates(ack_reply_lost=1.0))
        await world.queue.send(messages([1]))
        assert await world.queue.ack(await world.queue.receive(1, 0.0)) == [False]
        assert now_s() > 1.0
        assert world.queue.messages.true_depth().total == 0

    run(main())


def test_a_sends_reply_is_lost_and_its_repeat_stores_the_message_again() -> None:
    async def main() -> list[int]:
        world = World(FaultRates(send_reply_lost=1.0))
        await world.queue.send(messages([1]))
        return indexes(await world.queue.receive(10, 0.0))

    assert run(main()) == [1, 1]


def test_a_handle_expires_for_good_while_the_message_stays_hidden() -> None:
    async def main() -> list[tuple[float, int, int]]:
        world = World(plan=[Fired("handle_expired", "tasks", 0)])
        await world.queue.send(messages([1]))
        held = await world.queue.receive(1, 0.0)
        assert await world.queue.extend(held, 100.0) == [False]
        assert await world.queue.ack(held) == [False]
        return await receive_until(world, 40.0)

    assert run(main()) == [(VISIBILITY_S, 1, 2)]


@pytest.mark.parametrize(
    ("rates", "verdict", "left"),
    [
        (FaultRates(), False, 1),
        (FaultRates(stale_ack_deletes=1.0), True, 0),
        (FaultRates(stale_ack_agrees=1.0), True, 1),
    ],
)
def test_an_ack_with_a_stale_handle_may_or_may_not_delete(
    rates: FaultRates, verdict: bool, left: int
) -> None:
    async def main() -> None:
        world = World(rates)
        await world.queue.send(messages([1]))
        first = await world.queue.receive(1, 0.0)
        second = await world.queue.receive(1, 40.0)
        assert await world.queue.ack(first) == [verdict]
        assert world.queue.messages.true_depth().total == left
        assert await world.queue.ack(second) == [left == 1]

    run(main())


def test_the_depth_may_be_an_old_one_and_says_so() -> None:
    async def main() -> None:
        world = World(FaultRates(stale_depth=1.0), spans=FaultSpans(stale_s=2.0))
        assert world.queue.limits.stale_depth
        await asyncio.sleep(10.0)
        await world.queue.send(messages(range(5)))
        assert (await world.queue.depth()).total == 0
        await asyncio.sleep(3.0)
        assert (await world.queue.depth()).total == 5
        for _ in range(200):
            await world.queue.send(messages([1]))
            await asyncio.sleep(1.0)
        assert len(world.queue.messages._past_depths) < 5

    run(main())
    assert not World().queue.limits.stale_depth
