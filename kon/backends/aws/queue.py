"""A queue of Amazon SQS, standard or FIFO.

SQS takes ten messages in a call. This queue takes more, and cuts them itself, so that the calls go out side
by side and whoever calls waits once.

A long poll can't be called off at the service: one that nobody waits for any more is adrift. The next
receive takes it over; what it brings to nobody is given back at once. The file is one life
cycle, that of a message: sent, received, held, and acked or given back.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

import msgspec

from kon.backends.aws.bodies import Overflow, as_bytes, as_text, pointed_at, pointer
from kon.backends.aws.calls import Calls
from kon.backends.aws.pace import side_by_side
from kon.core.errors import BackendRefused, BackendUnavailable, CodecError
from kon.core.queue import (
    Delivery,
    Depth,
    Message,
    Queue,
    QueueLimits,
    check_batch,
    check_send,
    check_visibility,
)

_Reply = TypeVar("_Reply")

CALL_MESSAGES: Final = 10
CALL_BYTES: Final = 1 << 20
"""What one call carries, and one message: SQS's limits."""

RECEIPT_S: Final = 43_200.0
"""From its receipt on SQS hides a message for so long, in seconds, however often that is extended."""

STANDARD: Final = QueueLimits(
    max_batch=100,
    max_bytes=16 << 20,
    max_delay_s=900.0,
    max_visibility_s=RECEIPT_S,
    max_receipt_s=RECEIPT_S,
    stale_depth=True,
    silent_acks=True,
    poll_s=20.0,
    call_batch=CALL_MESSAGES,
)
FIFO: Final = msgspec.structs.replace(STANDARD, max_delay_s=0.0, fifo=True)

LONGEST_POLL_S: Final = 20
_LATE_S: Final = 0.25  # a poll may come back so late and still be waited for
_CALL_S: Final = 60.0
"""How long a call may take, with its repeats, until SQS counts from it, in seconds."""
_TRIES: Final = 6  # of items that the service failed at, while it took others of their batch
_FIRST_PAUSE_S: Final = 0.1

_Receipt = asyncio.Task[list[Delivery]]
_Received = tuple[dict[str, Any], float]
"""A message as SQS hands it out, and when, by the event loop's clock."""


class SqsQueue(Queue):
    """One queue, as one channel sees it.

    url: what SQS knows it by. receivers: receives in flight at most, where no wait is asked for.
    message_bytes: what one message carries, and one call.
    """

    def __init__(
        self,
        calls: Calls,
        url: str,
        limits: QueueLimits,
        overflow: Overflow,
        receivers: int,
        rng: random.Random,
        message_bytes: int = CALL_BYTES,
    ) -> None:
        self.limits = limits
        self._message_bytes = message_bytes
        self._calls = calls
        self._url = url
        self._overflow = overflow
        self._receivers = receivers
        self._rng = rng
        self._adrift: dict[_Receipt, int] = {}  # polls that nobody waits for, and how many each may bring
        self._unread: list[_Received] = []  # their bodies could not be fetched
        self._returning: set[asyncio.Task[None]] = set()

    async def send(self, messages: Sequence[Message]) -> None:
        check_send(self.limits, messages)
        entries = [self._entry(message) for message in messages]
        sizes = [_size_bytes(message.body, entry["MessageBody"]) for message, entry in zip(messages, entries)]
        large = [at for at, size_bytes in enumerate(sizes) if size_bytes > self._message_bytes]
        if large:
            keys = await asyncio.gather(*[self._overflow.put(entries[at]["MessageBody"]) for at in large])
            for at, key in zip(large, keys):
                entries[at]["MessageBody"] = pointer(key)
                sizes[at] = len(entries[at]["MessageBody"])
        for fault in await self._in_batches("SendMessageBatch", entries, sizes):
            if fault is not None:
                raise BackendRefused(
                    f"SQS refuses a message of {self._name} ({fault}). It and maybe others of its batch "
                    f"were not sent. Run the same command again once the cause is mended"
                )

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        check_batch(self.limits, max_messages)
        if self._unread:
            unread, self._unread = self._unread[:max_messages], self._unread[max_messages:]
            try:
                return await self._read(unread)
            except asyncio.CancelledError:
                self._unread += unread
                raise
        if wait_s <= 0:
            return await self._receive_now(max_messages)
        taken = await self._receive_in_time(min(max_messages, CALL_MESSAGES), wait_s)
        if len(taken) == CALL_MESSAGES < max_messages:  # where a full call came there may be more
            try:
                taken += await self._receive_now(max_messages - CALL_MESSAGES)
            except BackendUnavailable:
                return taken
            except BaseException:
                self._give_back(taken)
                raise
        return taken

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        check_batch(self.limits, len(deliveries))
        check_visibility(self.limits, visible_s)
        now_s = asyncio.get_running_loop().time()
        extended = [False] * len(deliveries)
        places, entries = list[int](), list[dict[str, Any]]()
        for at, delivery in enumerate(deliveries):
            # SQS refuses what would go on for longer, and leaves the message to end even earlier
            left_s = delivery.handle[2] + RECEIPT_S - _CALL_S - now_s
            if left_s >= 1 or not visible_s:
                hidden_s = math.ceil(min(visible_s, max(0.0, left_s)))
                places.append(at)
                entries.append({"ReceiptHandle": delivery.handle[0], "VisibilityTimeout": hidden_s})
        for at, fault in zip(places, await self._in_batches("ChangeMessageVisibilityBatch", entries)):
            extended[at] = fault is None
        return extended

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        check_batch(self.limits, len(deliveries))
        entries = [{"ReceiptHandle": delivery.handle[0]} for delivery in deliveries]
        gone = [fault is None for fault in await self._in_batches("DeleteMessageBatch", entries)]
        large = [delivery.handle[1] for delivery, deleted in zip(deliveries, gone) if deleted]
        if any(large):
            await self._overflow.delete([key for key in large if key])
        return gone

    async def depth(self) -> Depth:
        """An estimate: SQS's own, which may lag by a minute."""
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        reply = await self._call("GetQueueAttributes", AttributeNames=names)
        attributes = reply.get("Attributes", {})
        return Depth(*[int(attributes.get(name, 0)) for name in names])

    async def close(self) -> None:
        """Give back what polls have brought to nobody, and leave the others to themselves.

        What one of those is handed from here on comes again after its visibility timeout.
        """
        adrift, self._adrift = list(self._adrift), {}
        for poll in adrift:
            if poll.done():
                self._give_back_what(poll)
            else:
                poll.cancel()
        await asyncio.gather(*adrift, *self._returning, return_exceptions=True)

    # --- sending ---------------------------------------------------------------------------------------

    def _entry(self, message: Message) -> dict[str, Any]:
        entry: dict[str, Any] = {"MessageBody": as_text(message.body)}
        if message.delay_s:
            entry["DelaySeconds"] = math.ceil(message.delay_s)
        if self.limits.fifo:
            # made from the content alone, so that a repeated send is the same; a group of its own for
            # each, as messages of one group wait for each other
            digest = hashlib.sha256(message.body).hexdigest()
            entry["MessageDeduplicationId"] = entry["MessageGroupId"] = digest
        return entry

    async def _in_batches(
        self, operation: str, entries: Sequence[dict[str, Any]], sizes: Sequence[int] | None = None
    ) -> list[str | None]:
        """Make the calls side by side, and again for items that the service failed at.

        What it says against each item that is the item's own fault, None where there is nothing. Raises
        BackendUnavailable where it goes on failing at some.
        """
        for number, entry in enumerate(entries):
            entry["Id"] = str(number)
        verdicts: list[str | None] = [None] * len(entries)
        left: Sequence[int] = range(len(entries))
        failed: list[tuple[int, str]] = []
        most_bytes = self._message_bytes
        for tried in range(_TRIES):
            if tried:
                await asyncio.sleep(_FIRST_PAUSE_S * 2 ** (tried - 1) * self._rng.uniform(0.5, 1.0))
            failed = []
            for reply in await side_by_side(
                [
                    self._call(operation, Entries=[entries[at] for at in part])
                    for part in _parts(left, sizes, most_bytes)
                ]
            ):
                for failure in reply.get("Failed", ()):
                    at, why = int(failure["Id"]), f"{failure.get('Code')}: {failure.get('Message', '')}"
                    if failure.get("SenderFault"):
                        verdicts[at] = why
                    else:
                        failed.append((at, why))
            if not failed:
                return verdicts
            left = [at for at, _ in failed]
        raise BackendUnavailable(
            f"SQS goes on failing at {len(failed)} of {len(entries)} messages of {self._name} "
            f"({operation}, {failed[0][1]})"
        )

    # --- receiving -------------------------------------------------------------------------------------

    async def _receive_now(self, max_messages: int) -> list[Delivery]:
        """What is there, without waiting, by several receives at once; more while they come back full."""
        taken: list[Delivery] = []
        while len(taken) < max_messages:
            left = min(max_messages - len(taken), CALL_MESSAGES * self._receivers)
            receipts = {
                asyncio.create_task(self._receipt(size, 0)): size
                for size in (min(CALL_MESSAGES, left - at) for at in range(0, left, CALL_MESSAGES))
            }
            try:
                await asyncio.wait(receipts)
            except BaseException:
                for receipt, size in receipts.items():
                    self._abandon(receipt, size)
                self._give_back(taken)
                raise
            errors = [error for receipt in receipts if (error := receipt.exception()) is not None]
            some = [delivery for each in receipts if each.exception() is None for delivery in each.result()]
            taken += some
            if errors and not taken:
                raise errors[0]
            if len(some) < left:
                break
        return taken

    async def _receive_in_time(self, count: int, wait_s: float) -> list[Delivery]:
        """Wait for the first message, by one long poll after another."""
        now_s = asyncio.get_running_loop().time
        deadline_s = now_s() + wait_s
        while (left_s := deadline_s - now_s()) > 0:
            poll, size = self._adopted(count), count
            if poll is None:
                whole_s = min(LONGEST_POLL_S, math.ceil(left_s))
                poll = asyncio.create_task(self._receipt(count, whole_s))
            try:
                await asyncio.wait({poll}, timeout=left_s + (_LATE_S if left_s >= 1 else 0.0))
            except BaseException:
                self._abandon(poll, size)
                raise
            if not poll.done():
                self._abandon(poll, size)
            elif taken := poll.result():
                return taken
        return []

    async def _receipt(self, count: int, wait_s: int) -> list[Delivery]:
        """One call. Not to be cancelled: what it brings has to go somewhere."""
        parameters: dict[str, Any] = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": count,
            "WaitTimeSeconds": wait_s,
            "MessageSystemAttributeNames": ["ApproximateReceiveCount"],
        }
        if wait_s:
            reply = await self._calls.poll("sqs", "ReceiveMessage", **parameters)
        else:
            reply = await self._calls.call("sqs", "ReceiveMessage", **parameters)
        messages = reply.get("Messages", ())
        # by this moment SQS has hidden them already: that ends no later than counted from here
        now_s = asyncio.get_running_loop().time()
        if not any(message["Body"].startswith("^") for message in messages):
            return [_delivery(message, now_s, message["Body"]) for message in messages]
        return await self._read([(message, now_s) for message in messages])

    async def _read(self, received: Sequence[_Received]) -> list[Delivery]:
        """Messages with their bodies, wherever these are. One whose body does not come is kept for the next
        receive: to have it from SQS again would count as another receipt, until it is dead."""
        read: list[Delivery] = []
        errors: list[BackendUnavailable | BackendRefused] = []
        fetching = itertools.starmap(self._fetched, received)
        for each, reply in zip(received, await asyncio.gather(*fetching, return_exceptions=True)):
            if isinstance(reply, BackendUnavailable | BackendRefused):
                self._unread.append(each)
                errors.append(reply)
            elif isinstance(reply, BaseException):
                raise reply
            elif reply is not None:
                read.append(reply)
        if errors and not read:
            raise errors[0]
        return read

    async def _fetched(self, message: dict[str, Any], received_s: float) -> Delivery | None:
        key = pointed_at(message["Body"])
        if key is None:
            return _delivery(message, received_s, message["Body"])
        text = await self._overflow.get(key)
        if text is None:  # it was sent twice, and its twin has been acked
            await self._call("DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
            return None
        return _delivery(message, received_s, text, key)

    def _adopted(self, count: int) -> _Receipt | None:
        """A poll that is adrift and brings no more than that."""
        for poll, size in self._adrift.items():
            if size <= count:
                del self._adrift[poll]
                return poll
        return None

    def _abandon(self, receipt: _Receipt, size: int) -> None:
        self._adrift[receipt] = size
        receipt.add_done_callback(self._drifted)

    def _drifted(self, poll: _Receipt) -> None:
        if self._adrift.pop(poll, None) is not None:
            self._give_back_what(poll)

    def _give_back_what(self, poll: _Receipt) -> None:
        if not poll.cancelled() and poll.exception() is None:
            self._give_back(poll.result())

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Have them visible again at once, behind the back of whoever was called off."""
        if deliveries:
            returning = asyncio.create_task(self._return(deliveries))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)

    async def _return(self, deliveries: Sequence[Delivery]) -> None:
        try:
            await self.extend(deliveries, 0)
        except (BackendUnavailable, BackendRefused):
            pass  # they come again after their visibility timeout

    # --- calls -----------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self._url.rpartition("/")[2]

    def _call(self, operation: str, **parameters: Any) -> Coroutine[Any, Any, dict[str, Any]]:
        return self._calls.call("sqs", operation, QueueUrl=self._url, **parameters)


def _delivery(message: dict[str, Any], received_s: float, text: str, key: str | None = None) -> Delivery:
    try:
        body = as_bytes(text)
    except CodecError:
        body = text.encode()  # not kon's: whoever reads it says so
    receives = int(message["Attributes"]["ApproximateReceiveCount"])
    return Delivery((message["ReceiptHandle"], key, received_s), body, receives)


def _size_bytes(body: bytes, text: str) -> int:
    """As SQS counts: in UTF-8."""
    return len(text) if text.isascii() else len(body)


def _parts(items: Sequence[int], sizes: Sequence[int] | None, most_bytes: int) -> list[list[int]]:
    """Which items go into one call: at most ten, and no more bytes than one takes."""
    if sizes is None:
        return [list(items[at : at + CALL_MESSAGES]) for at in range(0, len(items), CALL_MESSAGES)]
    parts: list[list[int]] = []
    part_bytes = 0
    for at in items:
        if not parts or len(parts[-1]) == CALL_MESSAGES or part_bytes + sizes[at] > most_bytes:
            parts.append([])
            part_bytes = 0
        parts[-1].append(at)
        part_bytes += sizes[at]
    return parts
