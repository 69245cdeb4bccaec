"""What is particular to the backend in memory."""

from __future__ import annotations

import asyncio
import random

import pytest

from kon.backends.memory import MemoryBackend
from kon.backends.memory.queue import MemoryQueue
from kon.backends.sim.loop import SimLoop, simulate
from kon.core.backend import Channel, ChannelOptions, RequestCount
from kon.core.ledger import Record
from kon.core.queue import Depth, Message

OPTIONS = ChannelOptions(visibility_s=30.0, max_receives=3)


async def opened() -> Channel:
    backend = MemoryBackend({})
    await backend.create("run", OPTIONS)
    return await backend.open("run")


def test_its_workers_share_one_loop() -> None:
    assert MemoryBackend.processes is False


def test_runs_outlive_close() -> None:
    """Client and workers of one process open and close as they please."""

    async def use() -> None:
        backend = MemoryBackend({})
        await backend.create("run", OPTIONS)
        await (await backend.open("run")).tasks.send([Message(b"a")])
        await backend.close()
        assert len(await (await backend.open("run")).tasks.receive(1, 0.0)) == 1

    asyncio.run(use())


def test_objects_of_the_backend_are_apart() -> None:
    async def use() -> None:
        first, second = MemoryBackend({}), MemoryBackend({})
        await first.create("run", OPTIONS)
        await second.create("run", OPTIONS)
        await (await first.open("run")).tasks.send([Message(b"a")])
        assert await (await second.open("run")).tasks.receive(1, 0.0) == []

    asyncio.run(use())


def test_sends_and_receives_without_a_pause_leave_others_their_turn() -> None:
    async def use() -> None:
        queue, turns = MemoryQueue(30.0, RequestCount()), 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        running = asyncio.create_task(others())
        for calls in range(1, 11):
            await queue.send([Message(b"a")])
            assert turns >= 2 * calls - 1
            await queue.receive(1, 0.0)
            assert turns >= 2 * calls
        running.cancel()

    asyncio.run(use())


def test_every_call_is_counted() -> None:
    async def use() -> None:
        requests = RequestCount()
        queue = MemoryQueue(30.0, requests)
        await queue.send([Message(b"a")])
        deliveries = await queue.receive(1, 0.0)
        await queue.extend(deliveries, 1.0)
        await queue.ack(deliveries)
        assert requests.made == 4
        await queue.depth()
        assert requests.made == 5

    asyncio.run(use())


def test_what_is_extended_too_late_leaves_nothing_behind() -> None:
    async def use() -> None:
        queue = MemoryQueue(30.0, RequestCount())
        await queue.send([Message(b"a")])
        deliveries = await queue.receive(1, 0.0)
        await queue.ack(deliveries)
        assert await queue.extend(deliveries, 60.0) == [False]
        assert not queue._extended

    asyncio.run(use())


def test_a_receive_without_a_wait_finds_what_has_come_again() -> None:
    async def use() -> None:
        queue = MemoryQueue(30.0, RequestCount())
        await queue.send([Message(b"a")])
        await queue.receive(1, 0.0)
        await asyncio.sleep(31.0)
        assert [each.receives for each in await queue.receive(1, 0.0)] == [2]

    simulate(use(), SimLoop())


def test_what_is_held_falls_due_in_its_time_after_much_has_been_acked() -> None:
    """Times of what is gone are swept out of the heap, which must stay one."""

    async def use() -> None:
        rng, queue = random.Random(1), MemoryQueue(40_000.0, RequestCount())
        await queue.send([Message(b"%d" % number) for number in range(1_000)])
        held = await queue.receive(1_000, 0.0)
        due_s = [float(rng.randrange(1_000, 30_000)) for _ in held]
        for number, (delivery, visible_s) in enumerate(zip(held, due_s, strict=True)):
            await queue.extend([delivery], visible_s)
            if number == 900:
                await queue.ack(held[:900:3])
        assert len(queue._due) < 1_000, "it was swept"
        left = due_s[1:900:3] + due_s[2:900:3] + due_s[900:]
        for now_s in range(500, 31_000, 1_000):
            await asyncio.sleep(now_s - asyncio.get_running_loop().time())
            assert (await queue.depth()).visible == sum(each <= now_s for each in left)

    simulate(use(), SimLoop(limit_s=1e6))


def test_an_idle_receiver_does_nothing_at_all() -> None:
    async def use() -> None:
        await (await opened()).tasks.receive(1, 1_000_000.0)

    loop = SimLoop()
    simulate(use(), loop)
    assert loop.time() == 1_000_000.0
    assert loop.steps < 20


def test_a_receiver_is_woken_in_time_after_another_has_gone() -> None:
    async def use() -> None:
        queue = MemoryQueue(30.0, RequestCount())
        await queue.send([Message(b"a")])
        await queue.receive(1, 0.0)
        waiting = asyncio.create_task(queue.receive(1, 1_000.0))
        assert await queue.receive(1, 10.0) == []
        assert [each.receives for each in await waiting] == [2]
        assert asyncio.get_running_loop().time() == 30.0

    simulate(use(), SimLoop())


def test_a_receiver_may_be_woken_at_the_very_end_of_its_wait() -> None:
    async def use() -> None:
        queue = MemoryQueue(30.0, RequestCount())
        asyncio.get_running_loop().call_at(10.0, queue._wake, 1)
        assert await queue.receive(1, 10.0) == []

    simulate(use(), SimLoop())


def test_a_receiver_sleeps_through_what_was_acked() -> None:
    """The time at which an acked message would have come again wakes nobody for long."""

    async def use() -> None:
        channel = await opened()
        for _ in range(50):
            await channel.tasks.send([Message(b"a")])
            await channel.tasks.ack(await channel.tasks.receive(1, 0.0))
            await asyncio.sleep(0.1)
        assert await channel.tasks.receive(1, 1_000.0) == []

    loop = SimLoop()
    simulate(use(), loop)
    assert loop.steps < 600


def test_one_message_wakes_one_receiver() -> None:
    """A thousand workers may wait at one queue."""

    async def use() -> None:
        tasks = (await opened()).tasks
        receivers = [asyncio.create_task(tasks.receive(1, 1_000.0)) for _ in range(1_000)]
        await asyncio.sleep(1.0)
        before = loop.steps
        await tasks.send([Message(b"a")])
        await asyncio.sleep(1.0)
        assert sum(receiver.done() for receiver in receivers) == 1
        assert loop.steps - before < 10
        assert receivers[0].done(), "the first to wait is the first to get"

    loop = SimLoop()
    simulate(use(), loop)


def test_what_it_holds_does_not_grow_with_what_went_through() -> None:
    async def use() -> None:
        channel = await opened()
        queue = channel.tasks
        assert isinstance(queue, MemoryQueue)
        await queue.send([Message(b"straggler")])
        straggler = await queue.receive(1, 0.0)
        for _ in range(20_000):
            await queue.send([Message(b"a")])
            held = await queue.receive(1, 0.0)
            await queue.extend(held, 20.0)
            await queue.ack(held)
        await queue.extend(straggler, 100.0)
        assert len(queue._due) < 3_000
        assert len(queue._held) == len(queue._extended) == 1
        assert await queue.depth() == Depth(0, 1, 0)

    simulate(use(), SimLoop())


def test_a_queue_may_be_used_on_one_loop_after_another() -> None:
    backend = MemoryBackend({})

    async def wait_in_vain() -> None:
        tasks = (await backend.open("run")).tasks
        await tasks.send([Message(b"a")])
        (delivery,) = await tasks.receive(1, 0.0)
        await tasks.extend([delivery], 0.05)
        waiting = asyncio.create_task(tasks.receive(1, 30.0))
        for _ in range(5):
            await asyncio.sleep(0)
        waiting.cancel()

    async def wait() -> None:
        tasks = (await backend.open("run")).tasks
        async with asyncio.timeout(10.0):
            assert len(await tasks.receive(1, 30.0)) == 1

    asyncio.run(backend.create("run", OPTIONS))
    asyncio.run(wait_in_vain())
    asyncio.run(wait())


def test_batches_over_the_limit_are_the_callers_fault() -> None:
    async def use() -> None:
        channel = await opened()
        over = channel.tasks.limits.max_batch + 1
        with pytest.raises(ValueError, match="1001 items"):
            await channel.tasks.send([Message(b"")] * over)
        with pytest.raises(ValueError, match="1001 items"):
            await channel.tasks.receive(over, 0.0)

    asyncio.run(use())


@pytest.mark.parametrize("delay_s", [-1.0, float("nan"), float("inf"), 43_201.0])
def test_a_delay_that_can_not_be_kept_is_the_callers_fault(delay_s: float) -> None:
    async def use() -> None:
        tasks = (await opened()).tasks
        with pytest.raises(ValueError, match="a delay of"):
            await tasks.send([Message(b"a", delay_s)])
        with pytest.raises(ValueError, match="a visibility of"):
            await tasks.extend([], delay_s)

    asyncio.run(use())


def test_inserting_one_record_object_twice_is_seen() -> None:
    """The rows are the callers' own objects; that must not hide who was first."""

    async def use() -> None:
        ledger = (await opened()).ledger
        record = Record(1, "t")
        assert await ledger.insert_new([record]) == [None]
        assert await ledger.insert_new([record]) == [record]
        assert await ledger.insert_new([Record(0, "u"), record]) == [None, record]

    asyncio.run(use())
