"""What SQS's queue receives and nobody takes goes back: polls adrift, calls that are cancelled, the end."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from kon.backends.aws.queue import CALL_MESSAGES, SqsQueue
from kon.core.errors import BackendUnavailable
from kon.core.queue import Delivery
from tests.backends.aws.given import Make, Reply
from tests.backends.aws.queue_bed import Bed, all_of, numbered, on_a_queue

GUARD_S = 15.0  # for what would else hang


async def adrift(queue: SqsQueue, count: int = CALL_MESSAGES) -> None:
    """Leave a long poll behind."""
    waiting = asyncio.create_task(queue.receive(count, 20.0))
    await asyncio.sleep(0.3)
    waiting.cancel()
    await asyncio.wait({waiting})


@on_a_queue
async def test_what_a_poll_brings_to_nobody_is_given_back(bed: Bed) -> None:
    """Its visibility timeout outlasts the case."""
    await adrift(bed.queue)
    await bed.queue.send(numbered(2))
    held: list[Delivery] = []
    async with asyncio.timeout(GUARD_S):
        while bed.queue._adrift:  # noqa: ASYNC110 - it has its messages when it is adrift no more
            await asyncio.sleep(0.01)
        while len(held) < 2:
            held += await bed.another().receive(10, 1.0)
        while bed.queue._returning:  # noqa: ASYNC110 - nothing of a call that has ended is kept
            await asyncio.sleep(0.01)
    assert sorted(each.body for each in held) == [b"0", b"1"]


@on_a_queue
async def test_a_poll_that_is_adrift_is_taken_over(bed: Bed) -> None:
    await adrift(bed.queue)
    before = bed.calls.count.made
    receiving = asyncio.create_task(bed.queue.receive(10, 20.0))
    await asyncio.sleep(0.1)
    assert not bed.queue._adrift, "what it brings is not given back as well"
    await bed.another().send(numbered(1))
    (delivery,) = await receiving
    assert delivery.receives == 1, "not given back first"
    assert bed.calls.count.made == before + 1, "the send"


@on_a_queue
async def test_a_poll_that_may_bring_too_much_is_not_taken_over(bed: Bed) -> None:
    await adrift(bed.queue, 10)
    receiving = asyncio.create_task(bed.queue.receive(1, 20.0))
    await asyncio.sleep(0.3)
    await bed.another().send(numbered(5))
    async with asyncio.timeout(GUARD_S):
        assert len(await receiving) == 1


@on_a_queue
async def test_a_receive_that_is_cancelled_between_its_calls_gives_back_what_it_has(bed: Bed) -> None:
    await bed.queue.send(numbered(20))
    reached = asyncio.Event()

    async def stuck(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        if operation == "ReceiveMessage":
            reached.set()
            await asyncio.sleep(1.0)
        return await make()

    bed.calls.fault = stuck
    receiving = asyncio.create_task(bed.queue.receive(20, 5.0))  # ten by a poll, and then ten more
    await reached.wait()
    receiving.cancel()
    await asyncio.wait({receiving})
    assert receiving.cancelled()
    bed.calls.fault = None
    async with asyncio.timeout(GUARD_S):
        assert len({each.body for each in await all_of(bed.another(), 20)}) == 20


@on_a_queue
async def test_a_receive_without_a_wait_that_is_cancelled_gives_back_what_it_has(bed: Bed) -> None:
    await bed.queue.send(numbered(20))
    reached, receives = asyncio.Event(), itertools.count()

    async def stuck(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        reply = await make()
        if operation == "ReceiveMessage" and next(receives) == 1:
            reached.set()
            await asyncio.sleep(0.5)
        return reply

    queue = bed.another(receivers=1)
    bed.calls.fault = stuck
    receiving = asyncio.create_task(queue.receive(20, 0.0))
    await reached.wait()
    receiving.cancel()
    await asyncio.wait({receiving})
    assert receiving.cancelled()
    async with asyncio.timeout(GUARD_S):
        assert len({each.body for each in await all_of(bed.another(), 20)}) == 20
    await queue.close()


@on_a_queue
async def test_what_comes_after_the_wait_is_given_back(bed: Bed) -> None:
    """SQS waits for whole seconds."""
    assert await bed.queue.receive(10, 0.2) == []
    await bed.queue.send(numbered(1))
    async with asyncio.timeout(GUARD_S):
        while bed.queue._adrift:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        while not await bed.another().receive(10, 1.0):
            pass


@on_a_queue
async def test_a_poll_that_fails_when_nobody_waits_is_no_complaint(bed: Bed) -> None:
    async def fail() -> list[Delivery]:
        raise BackendUnavailable("down")

    poll = asyncio.create_task(fail())
    bed.queue._abandon(poll, 1)
    await asyncio.wait({poll})
    await asyncio.sleep(0)
    assert not bed.queue._adrift


@on_a_queue
async def test_a_poll_that_ends_with_the_program_is_no_complaint(bed: Bed) -> None:
    """As the loop's end cancels all tasks that are left."""
    await adrift(bed.queue)
    [poll] = bed.queue._adrift
    poll.cancel()
    await asyncio.wait({poll})
    await asyncio.sleep(0)
    assert not bed.queue._adrift


@on_a_queue
async def test_closing_waits_for_no_poll(bed: Bed) -> None:
    await adrift(bed.queue)
    async with asyncio.timeout(GUARD_S):
        await bed.queue.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@on_a_queue
async def test_closing_waits_for_what_is_given_back(bed: Bed) -> None:
    """Polls that ended a moment ago too. Their messages' visibility timeout outlasts the case."""

    async def slow(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        await asyncio.sleep(0.2)
        return await make()

    await bed.queue.send(numbered(2))
    poll = asyncio.create_task(bed.queue._receipt(1, 0))
    (held,) = await all_of(bed.queue, 1)
    await poll
    bed.queue._adrift[poll] = 1
    bed.calls.fault = slow
    bed.queue._give_back([held])
    await asyncio.sleep(0)
    await bed.queue.close()
    bed.calls.fault = None
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(await all_of(bed.another(), 2)) == 2
