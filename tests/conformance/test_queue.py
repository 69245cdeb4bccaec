"""What every queue keeps: messages, receipts, visibility."""

from __future__ import annotations

import asyncio

import pytest

from kon.core.errors import MessageTooLarge
from kon.core.queue import Delivery, Depth, Message
from tests.conformance.bed import LONG_S, Bed, agrees, case, messages, needs_delays, once_each, received

AWKWARD_BODIES = (
    b"",
    b"\x00",
    b"\x00\xff\xfe middle \x00",
    "grüße, 世界 \U0001f680 \u2028".encode(),
    b'{"json": ["\\u0000", null]}',
    b"'; DROP TABLE tasks; --",
    b"line one\r\nline two\n",
)


def now_s() -> float:
    return asyncio.get_running_loop().time()


@case()
async def test_a_message_arrives_as_it_was_sent(bed: Bed) -> None:
    await bed.tasks.send(messages(*AWKWARD_BODIES))
    assert await received(bed.tasks) == sorted(AWKWARD_BODIES)


@case()
async def test_the_first_receipt_counts_one(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    (delivery,) = await bed.tasks.receive(10, 0.0)
    assert (delivery.body, delivery.receives) == (b"a", 1)


@case()
async def test_a_message_held_is_nobody_elses(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a", b"b"))
    assert await received(bed.tasks) == [b"a", b"b"]
    assert await bed.tasks.receive(10, 0.0) == []


@case()
async def test_no_more_are_received_than_asked_for(bed: Bed) -> None:
    await bed.tasks.send(messages(*[b"%d" % number for number in range(10)]))
    sizes = [len(await bed.tasks.receive(4, 0.0)) for _ in range(4)]
    assert sum(sizes) == 10
    assert max(sizes) <= 4


@case()
async def test_a_full_batch_goes_through_every_call(bed: Bed) -> None:
    most = bed.tasks.limits.max_batch
    await bed.tasks.send([Message(b"%d" % number) for number in range(most)])
    came: list[Delivery] = []
    while some := await bed.tasks.receive(most, 0.0):
        came += some
    held = once_each(bed, came)
    assert {delivery.body for delivery in held} == {b"%d" % number for number in range(most)}
    assert await bed.tasks.extend(held, LONG_S) == [True] * most
    assert await bed.tasks.ack(held) == [True] * most


@case()
async def test_more_than_a_batch_is_refused_by_every_call(bed: Bed) -> None:
    most = bed.tasks.limits.max_batch
    await bed.tasks.send(messages(b"a"))
    (held,) = await bed.tasks.receive(1, LONG_S)
    with pytest.raises(ValueError, match=f"at most {most}"):
        await bed.tasks.send([Message(b"b")] * (most + 1))
    with pytest.raises(ValueError, match=f"at most {most}"):
        await bed.tasks.receive(most + 1, 0.0)
    with pytest.raises(ValueError, match=f"at most {most}"):
        await bed.tasks.extend([held] * (most + 1), LONG_S)
    with pytest.raises(ValueError, match=f"at most {most}"):
        await bed.tasks.ack([held] * (most + 1))


@case()
async def test_what_no_queue_can_hold_so_long_is_refused(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    held = await bed.tasks.receive(1, LONG_S)
    for visible_s in (-1.0, 2 * bed.tasks.limits.longest_hold_s):
        with pytest.raises(ValueError, match="a visibility of"):
            await bed.tasks.extend(held, visible_s)


@case()
async def test_empty_batches_do_nothing(bed: Bed) -> None:
    await bed.tasks.send([])
    assert await bed.tasks.extend([], 1.0) == []
    assert await bed.tasks.ack([]) == []
    assert (await bed.tasks.depth()).total == 0


@case(visibility=1)
async def test_what_was_acked_never_comes_again(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a", b"b"))
    held = await bed.tasks.receive(10, 0.0)
    assert await bed.tasks.ack(held) == [True, True]
    assert await bed.tasks.receive(10, 2 * bed.tick_s) == []


@case(visibility=1)
async def test_what_was_not_acked_comes_again_and_counts_on(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    await bed.tasks.receive(10, 0.0)
    (again,) = await bed.tasks.receive(10, LONG_S)
    assert (again.body, again.receives) == (b"a", 2)


@case(visibility=2)
async def test_a_message_is_hidden_for_the_visibility_timeout(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    began_s = now_s()
    await bed.tasks.receive(10, 0.0)
    assert await received(bed.tasks, wait_s=LONG_S) == [b"a"]
    assert now_s() - began_s >= 2 * bed.tick_s


@case(visibility=1)
async def test_a_new_receipt_makes_the_old_handle_stale(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    (old,) = await bed.tasks.receive(10, 0.0)
    (new,) = await bed.tasks.receive(10, LONG_S)
    assert agrees(bed.tasks, await bed.tasks.extend([old], LONG_S), [False])
    assert agrees(bed.tasks, await bed.tasks.ack([old]), [False])
    assert await bed.tasks.ack([new]) == [True]
    assert (await bed.tasks.depth()).total == 0


@case()
async def test_a_handle_is_good_once(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a"))
    held = await bed.tasks.receive(10, 0.0)
    assert await bed.tasks.ack(held) == [True]
    assert agrees(bed.tasks, await bed.tasks.ack(held), [False])
    assert agrees(bed.tasks, await bed.tasks.extend(held, 1.0), [False])


@case()
async def test_a_batch_is_answered_item_by_item(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a", b"b", b"c"))
    first, second, third = await bed.tasks.receive(10, 0.0)
    assert await bed.tasks.ack([second]) == [True]
    assert agrees(bed.tasks, await bed.tasks.extend([first, second, third], LONG_S), [True, False, True])
    assert agrees(bed.tasks, await bed.tasks.ack([third, second, first]), [True, False, True])


@case()
async def test_handles_of_different_receipts_go_in_one_batch(bed: Bed) -> None:
    for number in range(5):
        await bed.tasks.send(messages(b"%d" % number))
    held: list[Delivery] = []
    while some := await bed.tasks.receive(2, 0.0):
        held += some
    assert await bed.tasks.extend(held[::-1], LONG_S) == [True] * 5
    assert await bed.tasks.ack([held[3], held[0], held[4]]) == [True] * 3
    assert agrees(bed.tasks, await bed.tasks.ack(held), [False, True, True, False, False])


@case(visibility=2)
async def test_an_extension_holds_longer(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a", b"b"))
    held = {delivery.body: delivery for delivery in await bed.tasks.receive(10, 0.0)}
    assert await bed.tasks.extend([held[b"a"]], LONG_S) == [True]
    assert await received(bed.tasks, wait_s=LONG_S) == [b"b"]
    assert await bed.tasks.receive(10, bed.tick_s) == []
    assert await bed.tasks.ack([held[b"a"]]) == [True]


@case()
async def test_an_extension_may_shorten(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a", b"b", b"c"))
    held = {delivery.body: delivery for delivery in await bed.tasks.receive(10, 0.0)}
    assert await bed.tasks.extend([held[b"b"]], bed.tick_s) == [True]
    assert await received(bed.tasks, wait_s=LONG_S) == [b"b"]
    assert agrees(bed.tasks, await bed.tasks.ack([held[b"a"], held[b"b"], held[b"c"]]), [True, False, True])


@case()
async def test_zero_gives_a_message_back_at_once(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a", b"b"))
    held = {delivery.body: delivery for delivery in await bed.tasks.receive(10, 0.0)}
    assert await bed.tasks.extend([held[b"a"]], 0.0) == [True]
    (again,) = await bed.tasks.receive(10, bed.tick_s)
    assert (again.body, again.receives) == (b"a", 2)
    assert agrees(bed.tasks, await bed.tasks.ack([held[b"a"], held[b"b"]]), [False, True])


@case()
async def test_a_message_given_back_may_still_be_acked(bed: Bed) -> None:
    """Nobody else has it yet, so the handle is good: a worker may change its mind."""
    await bed.tasks.send(messages(b"a"))
    held = await bed.tasks.receive(10, 0.0)
    await bed.tasks.extend(held, 0.0)
    assert await bed.tasks.ack(held) == [True]
    assert await bed.tasks.receive(10, 0.0) == []


@case()
async def test_extended_again_and_again(bed: Bed) -> None:
    await bed.tasks.send(messages(b"a", b"b", b"c", b"d"))
    held = await bed.tasks.receive(10, 0.0)
    began_s = now_s()
    for ticks in (3, 1, 2):
        assert await bed.tasks.extend(held[1:3], LONG_S) == [True, True]
        began_s = now_s()
        assert await bed.tasks.extend(held[1:3], ticks * bed.tick_s) == [True, True]
    back = await bed.tasks.receive(10, LONG_S)
    while len(back) < 2:
        back += await bed.tasks.receive(10, LONG_S)
    assert now_s() - began_s >= 2 * bed.tick_s
    assert sorted(delivery.body for delivery in back) == sorted(delivery.body for delivery in held[1:3])
    assert {delivery.receives for delivery in back} == {2}


@case()
async def test_a_delay_hides_a_message_at_first(bed: Bed) -> None:
    needs_delays(bed.tasks)
    began_s = now_s()
    await bed.tasks.send([*messages(b"late", delay_s=2 * bed.tick_s), *messages(b"now")])
    assert await received(bed.tasks, most=1) == [b"now"]
    (late,) = await bed.tasks.receive(10, LONG_S)
    assert (late.body, late.receives) == (b"late", 1)
    assert now_s() - began_s >= 2 * bed.tick_s


@case()
async def test_delays_of_one_batch_differ(bed: Bed) -> None:
    needs_delays(bed.tasks)
    began_s = now_s()
    delays = {b"3": 3 * bed.tick_s, b"1": bed.tick_s, b"2": 2 * bed.tick_s, b"long": LONG_S}
    await bed.tasks.send([Message(body, delay_s) for body, delay_s in delays.items()])
    for body in (b"1", b"2", b"3"):
        (delivery,) = await bed.tasks.receive(1, LONG_S)
        assert delivery.body == body
        assert now_s() - began_s >= delays[body]


@case(max_receives=2)
async def test_received_too_often_a_message_goes_to_the_dead(bed: Bed) -> None:
    await bed.tasks.send(messages(b"poison", b"fine"))
    held = {delivery.body: delivery for delivery in await bed.tasks.receive(10, 0.0)}
    await bed.tasks.ack([held[b"fine"]])
    await bed.tasks.extend([held[b"poison"]], 0.0)
    (last,) = await bed.tasks.receive(10, bed.tick_s)
    assert last.receives == 2
    assert await bed.channel.dead.receive(10, 0.0) == []
    await bed.tasks.extend([last], 0.0)
    assert await bed.tasks.receive(10, bed.tick_s) == []
    (dead,) = await bed.channel.dead.receive(10, bed.tick_s)
    assert dead.body == b"poison"
    assert agrees(bed.tasks, await bed.tasks.ack([last]), [False])
    assert await bed.channel.dead.ack([dead]) == [True]


@case(max_receives=1)
async def test_the_dead_make_room_for_the_living(bed: Bed) -> None:
    """A receive that moves messages away still returns those that come after them."""
    await bed.tasks.send(messages(b"1", b"2"))
    await bed.tasks.extend(await bed.tasks.receive(10, 0.0), 0.0)
    await bed.tasks.send(messages(b"3"))
    assert await received(bed.tasks, most=2, wait_s=bed.tick_s) == [b"3"]
    assert await received(bed.channel.dead, wait_s=bed.tick_s) == [b"1", b"2"]


@case(visibility=1, max_receives=1)
async def test_other_queues_have_no_dead_letters(bed: Bed) -> None:
    for queue in (bed.channel.answers, bed.channel.dead):
        await queue.send(messages(b"a"))
        for count in (1, 2, 3):
            (delivery,) = await queue.receive(10, LONG_S)
            assert (delivery.body, delivery.receives) == (b"a", count)


@case()
async def test_queues_are_apart(bed: Bed) -> None:
    await bed.tasks.send(messages(b"task"))
    await bed.channel.answers.send(messages(b"answer"))
    assert await received(bed.channel.dead) == []
    assert await received(bed.channel.answers) == [b"answer"]
    assert await received(bed.tasks) == [b"task"]


@case()
async def test_the_depth_tells_what_is_visible_held_and_delayed(bed: Bed) -> None:
    if bed.tasks.limits.stale_depth:
        pytest.skip("declared: depth is an estimate")
    needs_delays(bed.tasks)
    await bed.tasks.send([*messages(*[b"%d" % n for n in range(6)]), *messages(b"late", delay_s=LONG_S)])
    held = await bed.tasks.receive(4, 0.0)
    assert await bed.tasks.depth() == Depth(visible=2, in_flight=4, delayed=1)
    await bed.tasks.ack(held[:1])
    await bed.tasks.extend(held[1:2], 0.0)
    assert await bed.tasks.depth() == Depth(visible=3, in_flight=2, delayed=1)
    assert (await bed.tasks.depth()).total == 6


@case(visibility=1)
async def test_what_fell_due_is_visible_before_anyone_looks(bed: Bed) -> None:
    if bed.tasks.limits.stale_depth:
        pytest.skip("declared: depth is an estimate")
    await bed.tasks.send(messages(b"a"))
    await bed.tasks.receive(10, 0.0)
    await asyncio.sleep(1.5 * bed.tick_s)
    assert await bed.tasks.depth() == Depth(visible=1, in_flight=0, delayed=0)


@case()
async def test_a_body_over_the_limit_is_refused_whole(bed: Bed) -> None:
    most = bed.tasks.limits.max_bytes
    await bed.tasks.send(messages(b"x" * most))
    with pytest.raises(MessageTooLarge, match=f"{most + 1:,}"):
        await bed.tasks.send(messages(b"fine", b"x" * (most + 1)))
    with pytest.raises(MessageTooLarge):
        await bed.tasks.send(messages(b"x" * (most - most // 2), b"x" * most))
    (largest,) = await bed.tasks.receive(10, 0.0)
    assert len(largest.body) == most
    assert await bed.tasks.receive(10, 0.0) == []


@case()
async def test_a_repeated_send_is_dropped_where_that_is_declared(bed: Bed) -> None:
    if not bed.tasks.limits.fifo:
        pytest.skip("declared: keeps repeated sends")
    await bed.tasks.send(messages(b"same", b"other"))
    held = await bed.tasks.receive(1, 0.0)
    await bed.tasks.ack(held)
    await bed.tasks.send(messages(b"same", b"other", b"third"))
    assert {held[0].body, *await received(bed.tasks)} == {b"same", b"other", b"third"}
    assert await bed.tasks.receive(10, 0.0) == []


@case()
async def test_repeated_sends_are_two_messages(bed: Bed) -> None:
    if bed.tasks.limits.fifo:
        pytest.skip("declared: drops repeated sends")
    await bed.tasks.send(messages(b"same"))
    await bed.tasks.send(messages(b"same"))
    assert await received(bed.tasks) == [b"same", b"same"]
