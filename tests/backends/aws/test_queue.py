"""What the conformance suite can't see of SQS's queue: how it cuts calls, and what it does in trouble."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest

from kon.backends.aws import queue as queue_module
from kon.backends.aws.queue import CALL_BYTES, FIFO, STANDARD, SqsQueue
from kon.backends.sim.loop import SimLoop, simulate
from kon.core.errors import BackendRefused, BackendUnavailable
from kon.core.queue import Delivery, Message
from tests.backends.aws.given import Make, Reply, once
from tests.backends.aws.queue_bed import Bed, all_of, failing, numbered, on_a_queue

# --- how calls are cut ----------------------------------------------------------------------------------


@on_a_queue
async def test_a_batch_is_cut_in_tens(bed: Bed) -> None:
    await bed.queue.send(numbered(47))
    assert sorted(len(each["Entries"]) for each in bed.made("SendMessageBatch")) == [7, 10, 10, 10, 10]
    held = await all_of(bed.queue, 47)
    assert await bed.queue.extend(held, 60.0) == [True] * 47
    assert await bed.queue.ack(held) == [True] * 47
    for operation in ("ChangeMessageVisibilityBatch", "DeleteMessageBatch"):
        assert sorted(len(each["Entries"]) for each in bed.made(operation)) == [7, 10, 10, 10, 10]


@on_a_queue
async def test_a_batch_is_cut_by_bytes_of_utf_8(bed: Bed) -> None:
    bodies = [("ü" * 200_000).encode()] * 3 + [b"x" * 150_000] * 9
    await bed.queue.send([Message(body) for body in bodies])
    parts = [[entry["MessageBody"] for entry in each["Entries"]] for each in bed.made("SendMessageBatch")]
    for part in parts:
        assert sum(len(text.encode()) for text in part) <= CALL_BYTES
    assert len(parts) == 3, "and no more often than that takes"
    assert sorted(each.body for each in await all_of(bed.queue, 12)) == sorted(bodies)


def test_a_call_is_filled_to_its_last_byte() -> None:
    assert queue_module._parts(range(3), [6, 4, 1], 10) == [[0, 1], [2]]


@on_a_queue
async def test_receives_go_out_side_by_side_while_there_is_plenty(bed: Bed) -> None:
    await bed.queue.send(numbered(95))
    held = await bed.queue.receive(95, 0.0)
    assert len(held) == 95
    assert sorted(each["MaxNumberOfMessages"] for each in bed.made("ReceiveMessage")) == [5] + [10] * 9


@on_a_queue
async def test_no_more_receives_than_receivers_are_in_flight(bed: Bed) -> None:
    in_flight = most = 0

    async def watched(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        nonlocal in_flight, most
        in_flight += operation == "ReceiveMessage"
        most = max(most, in_flight)
        reply = await make()
        in_flight -= operation == "ReceiveMessage"
        return reply

    await bed.queue.send(numbered(60))
    bed.calls.fault = watched
    assert len(await bed.another(receivers=2).receive(60, 0.0)) == 60
    assert most == 2


@on_a_queue
async def test_a_wait_asks_for_more_only_after_a_full_poll(bed: Bed) -> None:
    await bed.queue.send(numbered(25))
    assert len(await bed.queue.receive(100, 5.0)) == 25
    await bed.queue.send(numbered(3))
    before = len(bed.made("ReceiveMessage"))
    assert len(await bed.queue.receive(100, 5.0)) == 3
    assert len(bed.made("ReceiveMessage")) == before, "the poll alone, which goes another way"


@on_a_queue
async def test_a_wait_brings_no_more_than_was_asked_for(bed: Bed) -> None:
    await bed.queue.send(numbered(40))
    assert len(await bed.queue.receive(15, 5.0)) <= 15


def test_a_poll_that_is_a_little_late_is_waited_for() -> None:
    """It would be left adrift each time that a queue is empty."""

    async def receipt(count: int, wait_s: int) -> list[Delivery]:
        await asyncio.sleep(wait_s + 0.2)
        return []

    async def body() -> None:
        nothing: Any = None
        queue: Any = SqsQueue(nothing, "http://queues/1/q", STANDARD, nothing, 4, random.Random(1))
        queue._receipt = receipt
        assert await queue.receive(10, 1.0) == []
        assert queue._adrift == {}

    simulate(body(), SimLoop(limit_s=100.0))


def test_a_wait_of_less_than_a_second_is_not_prolonged() -> None:
    """SQS waits for whole seconds, so that its poll would come late in any case."""

    async def receipt(count: int, wait_s: int) -> list[Delivery]:
        await asyncio.sleep(wait_s)
        return []

    async def body() -> None:
        nothing: Any = None
        queue: Any = SqsQueue(nothing, "http://queues/1/q", STANDARD, nothing, 4, random.Random(1))
        queue._receipt = receipt
        assert await queue.receive(10, 0.5) == []
        assert asyncio.get_running_loop().time() == 0.5
        assert [*queue._adrift.values()] == [10], "what its poll brings is somebody's"

    simulate(body(), SimLoop(limit_s=100.0))


@on_a_queue
async def test_what_is_over_a_limit_is_refused_before_anything_is_sent(bed: Bed) -> None:
    many = [Delivery(("handle", None, 0.0), b"", 1)] * (STANDARD.max_batch + 1)
    with pytest.raises(ValueError, match="a delay of 901 s"):
        await bed.queue.send([Message(b"", delay_s=901)])
    for over in (bed.queue.receive(len(many), 0.0), bed.queue.extend(many, 1.0), bed.queue.ack(many)):
        with pytest.raises(ValueError, match=f"at most {STANDARD.max_batch}"):
            await over
    with pytest.raises(ValueError, match="a visibility of 43201 s"):
        await bed.queue.extend(many[:1], 43_201)
    assert bed.calls.operations == []


@on_a_queue
async def test_delays_are_rounded_up(bed: Bed) -> None:
    delays = [bed.queue._entry(Message(b"", delay_s=delay_s)).get("DelaySeconds") for delay_s in (0, 0.1, 2)]
    assert delays == [None, 1, 2]


@on_a_queue
async def test_fifo_ids_are_made_from_the_content(bed: Bed) -> None:
    fifo = bed.another(FIFO)
    entries = [fifo._entry(Message(body)) for body in (b"a", b"b", b"a")]
    ids = [entry["MessageDeduplicationId"] for entry in entries]
    assert ids[0] == ids[2] != ids[1]
    assert [entry["MessageGroupId"] for entry in entries] == ids, (
        "a group for each, or one would wait for another"
    )
    assert "MessageGroupId" not in bed.queue._entry(Message(b"a"))


# --- items that fail ------------------------------------------------------------------------------------


@on_a_queue
async def test_items_that_the_service_failed_at_are_tried_again_alone(bed: Bed) -> None:
    bed.calls.fault = once("SendMessageBatch", failing({1, 4}, sender=False))
    await bed.queue.send(numbered(6))
    again = bed.made("SendMessageBatch")[1]["Entries"]
    assert [each["MessageBody"] for each in again] == ["1", "4"]
    held = await all_of(bed.queue, 6)
    assert sorted(each.body for each in held) == [b"%d" % number for number in range(6)]
    bed.calls.fault = once("ChangeMessageVisibilityBatch", failing({0}, sender=False))
    assert await bed.queue.extend(held, 60.0) == [True] * 6
    bed.calls.fault = once("DeleteMessageBatch", failing({2, 3}, sender=False))
    assert await bed.queue.ack(held) == [True] * 6
    assert (await bed.queue.depth()).total == 0


@on_a_queue
async def test_items_that_are_wrong_are_not_tried_again(bed: Bed) -> None:
    await bed.queue.send(numbered(3))
    held = await all_of(bed.queue, 3)
    bed.calls.fault = once("DeleteMessageBatch", failing({1}, sender=True))
    assert await bed.queue.ack(held) == [True, False, True]
    assert len(bed.made("DeleteMessageBatch")) == 1
    bed.calls.fault = once("SendMessageBatch", failing({0}, sender=True))
    with pytest.raises(BackendRefused, match=r"refuses a message of .* \(Odd: no\)"):
        await bed.queue.send(numbered(2))


@on_a_queue
async def test_an_item_that_is_wrong_is_known_in_whichever_call_it_went(bed: Bed) -> None:
    await bed.queue.send(numbered(12))
    held = await all_of(bed.queue, 12)

    bed.calls.fault = failing({3, 11}, sender=True)
    assert await bed.queue.ack(held) == [number not in (3, 11) for number in range(12)]


@on_a_queue
async def test_pauses_between_tries_double(bed: Bed) -> None:
    loop, pauses_s = asyncio.get_running_loop(), list[float]()
    later = loop.call_later

    def noted(delay_s: float, *rest: Any, **options: Any) -> asyncio.TimerHandle:
        pauses_s.append(delay_s)
        return later(delay_s, *rest, **options)

    async def fault(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        entries = parameters["Entries"]
        return {"Failed": [{"Id": each["Id"], "SenderFault": False, "Code": "Odd"} for each in entries]}

    queue_module._FIRST_PAUSE_S = 0.001  # type: ignore[misc] # on_a_queue puts it back
    bed.calls.fault = fault
    cast(Any, loop).call_later = noted
    with pytest.raises(BackendUnavailable):
        await bed.queue.send(numbered(1))
    assert len(pauses_s) == 5
    for number, pause_s in enumerate(pauses_s):
        assert 0.0005 * 2**number <= pause_s <= 0.001 * 2**number


@on_a_queue
async def test_items_that_fail_for_ever_are_left_to_the_callers_patience(bed: Bed) -> None:
    bed.calls.fault = failing({0}, sender=False)
    with pytest.raises(BackendUnavailable, match="goes on failing at 1 of 2 messages"):
        await bed.queue.send(numbered(2))
    bed.calls.fault = None
    assert (await bed.queue.depth()).total == 1


@on_a_queue
async def test_what_one_of_several_receives_brought_is_kept_when_another_fails(bed: Bed) -> None:
    async def down(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        raise BackendUnavailable("down")

    await bed.queue.send(numbered(20))
    bed.calls.fault = once("ReceiveMessage", down)
    assert len(await bed.queue.receive(20, 0.0)) == 10
    bed.calls.fault = down
    with pytest.raises(BackendUnavailable):
        await bed.queue.receive(20, 0.0)


@on_a_queue
async def test_one_call_of_several_that_fails_is_an_error_when_the_others_are_through(bed: Bed) -> None:
    async def down(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        raise BackendUnavailable("down")

    bed.calls.fault = once("SendMessageBatch", down)
    with pytest.raises(BackendUnavailable, match="down"):
        await bed.queue.send(numbered(25))
    assert len(await all_of(bed.queue, 15)) == 15
