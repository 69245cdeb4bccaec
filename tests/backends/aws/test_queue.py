"""What the conformance suite can't see of SQS's queue: how it cuts calls, and what it does in trouble."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from kon.backends.aws import queue as queue_module
from kon.backends.aws.bodies import Overflow
from kon.backends.aws.queue import CALL_BYTES, CALL_MESSAGES, FIFO, STANDARD, SqsQueue
from kon.backends.emulator import Emulator
from kon.backends.sim.loop import SimLoop, simulate
from kon.core.errors import BackendRefused, BackendUnavailable
from kon.core.queue import Delivery, Message, QueueLimits
from tests.backends.aws.given import FaultyCalls, Make, Reply, fresh_name, make_queue, once

GUARD_S = 15.0  # for what would else hang


class Bed:
    """A queue of its own, with a bucket for large bodies, on the emulator in use."""

    def __init__(self, calls: FaultyCalls, url: str, bucket: str) -> None:
        self.calls = calls
        self.url = url
        self.bucket = bucket
        self.numbers = itertools.count()
        self.queue = self.another()

    def another(self, limits: QueueLimits = STANDARD, receivers: int = 4) -> SqsQueue:
        overflow = Overflow(self.calls, self.bucket, "overflow/", lambda: f"{next(self.numbers)}")
        return SqsQueue(self.calls, self.url, limits, overflow, receivers, random.Random(1))

    def made(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of each call of this kind so far."""
        both = zip(self.calls.operations, self.calls.parameters, strict=False)
        return [parameters for called, parameters in both if called == operation]

    async def large_bodies(self) -> int:
        reply = await self.calls.call("s3", "ListObjectsV2", Bucket=self.bucket)
        return int(reply["KeyCount"])


Body = Callable[[Bed], Coroutine[Any, Any, None]]


def on_a_queue(body: Body) -> Callable[[Emulator, pytest.MonkeyPatch], None]:
    """Makes a test of a coroutine function. Pauses between tries take no time."""

    def test(on_ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queue_module, "_FIRST_PAUSE_S", 0.0)

        async def whole() -> None:
            calls, name = FaultyCalls(), fresh_name()
            await calls.call("s3", "CreateBucket", Bucket=name)
            url = await make_queue(calls, name, Attributes={"VisibilityTimeout": "30"})
            bed = Bed(calls, url, name)
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            calls.operations.clear()
            calls.parameters.clear()
            try:
                async with asyncio.timeout(60.0):
                    await body(bed)
            finally:
                calls.fault = None
                await bed.queue.close()
                await calls.close()

        complaints: list[dict[str, Any]] = []
        asyncio.run(whole())
        assert complaints == [], "which would be tracebacks in a log"

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test


def numbered(count: int) -> list[Message]:
    return [Message(b"%d" % number) for number in range(count)]


async def all_of(queue: SqsQueue, count: int) -> list[Delivery]:
    held: list[Delivery] = []
    while len(held) < count:
        some = await queue.receive(min(100, count - len(held)), 1.0)
        assert some, f"{len(held)} of {count} came"
        held += some
    return held


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


def failing(numbers: set[int], *, sender: bool, done: bool = False) -> Any:
    """These items of a batch fail, by their place in it. done: they take place all the same."""

    async def fault(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        failed = [each for each in parameters["Entries"] if int(each["Id"]) in numbers]
        parameters["Entries"] = [e for e in parameters["Entries"] if done or int(e["Id"]) not in numbers]
        reply = await make() if parameters["Entries"] else {}
        reply["Failed"] = [
            {"Id": each["Id"], "SenderFault": sender, "Code": "Odd", "Message": "no"} for each in failed
        ]
        return reply

    return fault


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


# --- polls that nobody waits for ------------------------------------------------------------------------


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
    assert sorted(each.body for each in held) == [b"0", b"1"]


@on_a_queue
async def test_a_poll_that_is_adrift_is_taken_over(bed: Bed) -> None:
    await adrift(bed.queue)
    before = bed.calls.count.made
    receiving = asyncio.create_task(bed.queue.receive(10, 20.0))
    await asyncio.sleep(0.1)
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


# --- bodies that are too large --------------------------------------------------------------------------

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
    assert (await bed.queue.depth()).total == 0


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
