"""Long polls: they end with the first message, or at their time, and lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kon.core.queue import Delivery
from tests.conformance.bed import LONG_S, Bed, case, messages, needs_delays, once_each, received

PROMPT_S = LONG_S / 3  # far less than a receiver would wait, and far more than a slow machine needs


async def while_waiting(bed: Bed, act: Callable[[], Awaitable[object]]) -> list[Delivery]:
    """What a receiver gets that has been waiting when `act` is done."""
    receiver = asyncio.create_task(bed.tasks.receive(10, LONG_S))
    await asyncio.sleep(bed.tick_s)
    assert not receiver.done()
    await act()
    async with asyncio.timeout(PROMPT_S):
        return await receiver


@case()
async def test_a_wait_for_nothing_ends_in_time(bed: Bed) -> None:
    now_s = asyncio.get_running_loop().time
    began_s = now_s()
    assert await bed.tasks.receive(10, bed.tick_s) == []
    assert bed.tick_s <= now_s() - began_s < PROMPT_S


@case()
async def test_a_send_wakes_a_receiver(bed: Bed) -> None:
    (delivery,) = await while_waiting(bed, lambda: bed.tasks.send(messages(b"a")))
    assert delivery.body == b"a"


@case()
async def test_a_send_by_another_channel_wakes_a_receiver(bed: Bed) -> None:
    other = await bed.backend.open("conformance")
    (delivery,) = await while_waiting(bed, lambda: other.tasks.send(messages(b"a")))
    assert delivery.body == b"a"


@case()
async def test_a_send_by_another_backend_object_wakes_a_receiver(bed: Bed) -> None:
    backend = bed.world.make(bed.folder) if bed.backend.processes else bed.backend
    other = await backend.open("conformance")
    (delivery,) = await while_waiting(bed, lambda: other.tasks.send(messages(b"a")))
    assert delivery.body == b"a"
    await backend.close()


@case()
async def test_a_message_given_back_wakes_a_receiver(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    held = await bed.tasks.receive(10, 0.0)
    (delivery,) = await while_waiting(bed, lambda: bed.tasks.extend(held, 0.0))
    assert delivery.body == b"a"


@case()
async def test_a_shorter_hold_wakes_a_receiver_in_time(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    held = await bed.tasks.receive(10, 0.0)
    (delivery,) = await while_waiting(bed, lambda: bed.tasks.extend(held, bed.tick_s))
    assert delivery.body == b"a"


@case()
async def test_a_delayed_message_wakes_a_receiver_in_time(bed: Bed) -> None:
    needs_delays(bed.tasks)
    (delivery,) = await while_waiting(bed, lambda: bed.tasks.send(messages(b"a", delay_s=bed.tick_s)))
    assert delivery.body == b"a"


@case(visibility=2)
async def test_a_passed_visibility_wakes_a_receiver(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    await bed.tasks.receive(10, 0.0)
    async with asyncio.timeout(PROMPT_S):
        assert await received(bed.tasks, wait_s=LONG_S) == [b"a"]


@case(max_receives=1)
async def test_a_dead_letter_wakes_whoever_waits_for_it(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    await bed.tasks.extend(await bed.tasks.receive(10, 0.0), 0.0)
    undertaker = asyncio.create_task(bed.channel.dead.receive(10, LONG_S))
    await asyncio.sleep(bed.tick_s)
    assert await bed.tasks.receive(10, 0.0) == []
    async with asyncio.timeout(PROMPT_S):
        (delivery,) = await undertaker
    assert delivery.body == b"a"


@case()
async def test_each_of_many_receivers_gets_its_share(bed: Bed) -> None:
    receivers = [asyncio.create_task(bed.tasks.receive(1, LONG_S)) for _ in range(8)]
    await asyncio.sleep(bed.tick_s)
    await bed.tasks.send(messages(*[b"%d" % number for number in range(5)]))
    await bed.tasks.send(messages(*[b"%d" % number for number in range(5, 8)]))
    came = [delivery for some in await asyncio.gather(*receivers) for delivery in some]
    async with asyncio.timeout(PROMPT_S):
        while (
            bed.world.twice and len(once_each(bed, came)) < 8
        ):  # what was delivered twice took another's place
            came += await bed.tasks.receive(8, LONG_S)
    bodies = sorted(delivery.body for delivery in once_each(bed, came))
    assert bodies == [b"%d" % number for number in range(8)]


@case()
async def test_a_cancelled_wait_loses_no_message(bed: Bed) -> None:
    waiting = asyncio.create_task(bed.tasks.receive(10, LONG_S))
    await asyncio.sleep(bed.tick_s)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    await bed.tasks.send(messages(b"a"))
    assert await received(bed.tasks, wait_s=PROMPT_S) == [b"a"]


@case()
async def test_a_receive_cancelled_at_any_point_loses_no_message(bed: Bed) -> None:
    """The message is with whoever waits still, or comes to the next; here its hold outlasts the case."""
    for pauses in range(12):
        first = asyncio.create_task(bed.tasks.receive(10, LONG_S))
        second = asyncio.create_task(bed.tasks.receive(10, LONG_S))
        await asyncio.sleep(0)
        sending = asyncio.create_task(bed.tasks.send(messages(b"%d" % pauses)))
        for _ in range(pauses):
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        async with asyncio.timeout(PROMPT_S):
            await sending
            if not first.cancelled():
                (delivery,) = first.result()
                second.cancel()
                await asyncio.wait({second})
            else:
                (delivery,) = await second
        assert delivery.body == b"%d" % pauses
        await bed.tasks.ack([delivery])
    assert (await bed.tasks.depth()).total == 0
