"""Bodies that are too large for a message of SQS, and messages that kon did not write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kon.backends.aws.bodies import pointer
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.queue import CALL_BYTES
from kon.core.errors import BackendUnavailable
from kon.core.queue import Message
from tests.backends.aws.given import once
from tests.backends.aws.queue_bed import Bed, all_of, failing, on_a_queue

LARGE = b'["' + b"x" * CALL_BYTES + b'"]'


@on_a_queue
async def test_a_body_over_the_limit_travels_as_a_pointer(bed: Bed) -> None:
    await bed.queue.send([Message(b"small"), Message(LARGE), Message(b"\x00" * CALL_BYTES)])
    assert await bed.large_bodies() == 2
    held = {delivery.body: delivery for delivery in await all_of(bed.queue, 3)}
    assert held.keys() == {b"small", LARGE, b"\x00" * CALL_BYTES}
    assert await bed.queue.ack([held[LARGE], held[b"small"]]) == [True, True]
    assert await bed.large_bodies() == 1


@on_a_queue
async def test_pointers_share_a_call(bed: Bed) -> None:
    await bed.queue.send([Message(LARGE)] * 10)
    assert [len(each["Entries"]) for each in bed.made("SendMessageBatch")] == [10]


@on_a_queue
async def test_what_is_large_in_base64_alone_is_too_large(bed: Bed) -> None:
    await bed.queue.send([Message(b"\xff" * (CALL_BYTES - 10))])
    assert await bed.large_bodies() == 1


@on_a_queue
async def test_a_body_of_the_limit_is_not_too_large(bed: Bed) -> None:
    await bed.queue.send([Message(b"x" * CALL_BYTES)])
    assert await bed.large_bodies() == 0


@on_a_queue
async def test_a_body_stays_until_its_message_is_gone(bed: Bed) -> None:
    await bed.queue.send([Message(LARGE)])
    (held,) = await all_of(bed.queue, 1)
    bed.calls.fault = once("DeleteMessageBatch", failing({0}, sender=True))
    assert await bed.queue.ack([held]) == [False]
    assert await bed.large_bodies() == 1
    await bed.queue.extend([held], 0)
    (again,) = await all_of(bed.queue, 1)
    assert again.body == LARGE


@on_a_queue
async def test_the_twin_of_a_large_message_that_was_acked_is_dropped(bed: Bed) -> None:
    """A send that was repeated stores one pointer twice."""
    bed.calls.fault = once("SendMessageBatch", failing({0}, sender=False, done=True))
    await bed.queue.send([Message(LARGE)])
    held = await all_of(bed.queue, 2)
    assert [each.body for each in held] == [LARGE, LARGE]
    assert await bed.queue.ack(held[:1]) == [True]
    await bed.queue.extend(held[1:], 0)
    assert await bed.queue.receive(10, 1.0) == []
    while (await bed.queue.depth()).total:  # noqa: ASYNC110 - on a busy machine its poll comes later
        await asyncio.sleep(0.05)


@on_a_queue
async def test_a_body_that_does_not_come_costs_no_second_receipt(bed: Bed) -> None:
    """S3 may be away for longer than a message is hidden: receipts would count until it is dead."""

    def away(client: Any) -> Any:
        raise BackendUnavailable("S3 does not answer")

    await bed.queue.send([Message(LARGE)])
    bed.calls.wrap = away
    for wait_s in (5.0, 1.0, 0.0):
        with pytest.raises(BackendUnavailable):
            await bed.queue.receive(10, wait_s)
    bed.calls.wrap = None
    (held,) = await bed.queue.receive(10, 1.0)
    assert (held.body, held.receives) == (LARGE, 1)
    assert await bed.queue.ack([held]) == [True]


@on_a_queue
async def test_a_message_whose_body_may_not_be_read_is_kept(bed: Bed) -> None:
    """Only of a body that is gone is it known that its task was answered."""

    def may_not(client: Any) -> Any:
        raise CallRefused("may not", "AccessDenied", 403, {})

    await bed.queue.send([Message(LARGE)])
    bed.calls.wrap = may_not
    with pytest.raises(CallRefused, match="may not"):
        await bed.queue.receive(10, 5.0)
    bed.calls.wrap = None
    (held,) = await bed.queue.receive(10, 1.0)
    assert (held.body, held.receives) == (LARGE, 1)


@on_a_queue
async def test_a_body_that_does_not_come_keeps_back_no_other(bed: Bed) -> None:
    def away(client: Any) -> Any:
        raise BackendUnavailable("S3 does not answer")

    def message(body: str) -> tuple[dict[str, Any], float]:
        return {"Body": body, "ReceiptHandle": body, "Attributes": {"ApproximateReceiveCount": "1"}}, 0.0

    bed.calls.wrap = away
    assert [each.body for each in await bed.queue._read([message(pointer("away")), message("here")])] == [
        b"here"
    ]
    with pytest.raises(BackendUnavailable):
        await bed.queue.receive(10, 0.0)


@on_a_queue
async def test_a_receive_that_is_called_off_as_it_fetches_a_body_costs_none_either(bed: Bed) -> None:
    def away(client: Any) -> Any:
        raise BackendUnavailable("S3 does not answer")

    await bed.queue.send([Message(LARGE)])
    bed.calls.wrap = away
    with pytest.raises(BackendUnavailable):
        await bed.queue.receive(10, 5.0)
    bed.calls.wrap = None
    receive = asyncio.create_task(bed.queue.receive(10, 1.0))
    await asyncio.sleep(0)
    receive.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receive
    (held,) = await bed.queue.receive(10, 1.0)
    assert (held.body, held.receives) == (LARGE, 1)


@on_a_queue
async def test_a_fault_of_kons_own_is_no_message(bed: Bed) -> None:
    def odd(client: Any) -> Any:
        raise RuntimeError("a fault of kon's own")

    await bed.queue.send([Message(LARGE)])
    bed.calls.wrap = odd
    with pytest.raises(RuntimeError, match="a fault of kon's own"):
        await bed.queue.receive(10, 5.0)


@on_a_queue
async def test_what_kon_did_not_write_is_handed_over_as_it_is(bed: Bed) -> None:
    await bed.calls.call("sqs", "SendMessage", QueueUrl=bed.url, MessageBody="~by hand")
    (held,) = await all_of(bed.queue, 1)
    assert held.body == b"~by hand"
