"""SQS: its calls, as HTTP has them, on the messages of the simulator."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kon.backends.sim.faults import Far
from kon.backends.sim.messages import Messages
from kon.backends.sim.network import Network
from kon.backends.sim.trace import What
from kon.core.queue import Delivery, Message
from kon.trials.prove.amazon.http import Refused

MOST_ENTRIES: Final = 10
MOST_BYTES: Final = 1 << 20

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Reply = dict[str, Any]


class SqsModel:
    """One queue.

    hold_s: how long one receipt may be extended to in all, in seconds: 12 hours at Amazon.
    """

    def __init__(self, messages: Messages, network: Network, fifo: bool) -> None:
        self.messages = messages
        self.hold_s = 43_200.0
        self._name = messages.name
        self._network = network
        self._fifo = fifo
        self._numbers = itertools.count(1)
        self._given: dict[str, tuple[Delivery, float]] = {}  # by receipt handle, and since when

    def do(self, operation: str, given: Mapping[str, Any], host: str) -> Reply | asyncio.Future[Reply]:
        """Raises Refused."""
        calls: dict[str, Callable[[Mapping[str, Any], str], Reply | asyncio.Future[Reply]]] = {
            "SendMessageBatch": self._send,
            "ReceiveMessage": self._receive,
            "DeleteMessageBatch": self._delete,
            "DeleteMessage": self._delete_one,
            "ChangeMessageVisibilityBatch": self._change,
            "GetQueueAttributes": self._attributes,
        }
        if operation not in calls:
            raise Refused("UnsupportedOperation")
        return calls[operation](given, host)

    def _send(self, given: Mapping[str, Any], host: str) -> Reply:
        def one(entry: Mapping[str, Any]) -> None:
            body, delay_s = entry["MessageBody"], entry.get("DelaySeconds", 0)
            if not body or _FORBIDDEN.search(body):
                raise Refused("InvalidMessageContents")
            if not isinstance(delay_s, int) or not 0 <= delay_s <= 900 or (self._fifo and delay_s):
                raise Refused("InvalidParameterValue")
            if self._fifo and not (entry["MessageDeduplicationId"] and entry["MessageGroupId"]):
                raise Refused("MissingParameter")
            self.messages.store([Message(body.encode(), float(delay_s))], host)

        entries = given["Entries"]
        if sum(len(entry["MessageBody"].encode()) for entry in entries) > MOST_BYTES:
            raise Refused("BatchRequestTooLong")
        return self._batch("send", entries, host, one)

    def _receive(self, given: Mapping[str, Any], host: str) -> Reply | asyncio.Future[Reply]:
        most, wait_s = given["MaxNumberOfMessages"], given.get("WaitTimeSeconds", 0)
        if not 1 <= most <= 10 or not 0 <= wait_s <= 20 or not isinstance(wait_s, int):
            raise Refused("InvalidParameterValue")
        if not wait_s and not self.messages.has_room:
            self._tell(What.FAULT, host, "receive", "too many messages are in flight")
            raise Refused("OverLimit", 403)
        taken = self.messages.serve(most, float(wait_s), host)
        if not isinstance(taken, asyncio.Future):
            return self._received(taken)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()

        def came(found: asyncio.Future[list[Delivery]]) -> None:
            if not answer.done():
                answer.set_result(self._received(found.result()))

        taken.add_done_callback(came, context=self._network.context)
        return answer

    def _received(self, taken: Sequence[Delivery]) -> Reply:
        if not taken:
            return {}
        now_s = asyncio.get_running_loop().time()
        told = []
        for delivery in taken:
            handle = f"{self._name}/{next(self._numbers)}"
            self._given[handle] = (delivery, now_s)
            told.append(
                {
                    "MessageId": handle,
                    "ReceiptHandle": handle,
                    "Body": delivery.body.decode(),
                    "Attributes": {"ApproximateReceiveCount": str(delivery.receives)},
                }
            )
        return {"Messages": told}

    def _delete(self, given: Mapping[str, Any], host: str) -> Reply:
        def one(entry: Mapping[str, Any]) -> None:
            delivery, _ = self._found(entry)
            [deleted] = self.messages.ack([delivery], host)
            if not deleted and not self.messages.is_gone(delivery):
                raise Refused("ReceiptHandleIsInvalid")

        return self._batch("ack", given["Entries"], host, one)

    def _delete_one(self, given: Mapping[str, Any], host: str) -> Reply:
        self.messages.ack([self._found(given)[0]], host)
        return {}

    def _change(self, given: Mapping[str, Any], host: str) -> Reply:
        now_s = asyncio.get_running_loop().time()

        def one(entry: Mapping[str, Any]) -> None:
            visible_s = entry["VisibilityTimeout"]
            if not isinstance(visible_s, int) or not 0 <= visible_s <= 43_200:
                raise Refused("InvalidParameterValue")
            delivery, since_s = self._found(entry)
            if now_s + visible_s > since_s + self.hold_s:
                self._tell(What.FAULT, host, "extend", f"held for longer than {self.hold_s:g} s in all")
                raise Refused("InvalidParameterValue", text="Total VisibilityTimeout is beyond the limit")
            [held] = self.messages.extend([delivery], float(visible_s), host)
            if not held:
                raise Refused(
                    "MessageNotInflight" if self.messages.is_gone(delivery) else "ReceiptHandleIsInvalid"
                )

        return self._batch("extend", given["Entries"], host, one)

    def _attributes(self, given: Mapping[str, Any], host: str) -> Reply:
        depth = self.messages.depth(host)
        every = {"": depth.visible, "NotVisible": depth.in_flight, "Delayed": depth.delayed}
        told = {f"ApproximateNumberOfMessages{name}": str(count) for name, count in every.items()}
        return {"Attributes": {name: told[name] for name in given["AttributeNames"]}}

    def _found(self, entry: Mapping[str, Any]) -> tuple[Delivery, float]:
        if entry["ReceiptHandle"] not in self._given:
            raise Refused("ReceiptHandleIsInvalid")
        return self._given[entry["ReceiptHandle"]]

    def _batch(
        self,
        op: str,
        entries: Sequence[Mapping[str, Any]],
        host: str,
        one: Callable[[Mapping[str, Any]], None],
    ) -> Reply:
        ids = [entry["Id"] for entry in entries]
        if not entries:
            raise Refused("EmptyBatchRequest")
        if len(entries) > MOST_ENTRIES:
            raise Refused("TooManyEntriesInBatchRequest")
        if len(set(ids)) < len(ids):
            raise Refused("BatchEntryIdsNotDistinct")
        done: list[Reply] = []
        failed: list[Reply] = []
        for entry in entries:
            far = self._fires("item_failed")
            after = far is not None and far.random() < 0.5
            try:
                if far is None or after:
                    one(entry)
            except Refused as refused:
                failed.append({"Id": entry["Id"], "Code": refused.code, "SenderFault": True})
                continue
            if far is None:
                done.append({"Id": entry["Id"]})
            else:
                self._tell(What.FAULT, host, op, f"an item fails {'after' if after else 'before'} its effect")
                failed.append({"Id": entry["Id"], "Code": "InternalError", "SenderFault": False})
        # SQS leaves out what is empty
        return {name: items for name, items in (("Successful", done), ("Failed", failed)) if items}

    def _fires(self, fault: str) -> Far | None:
        return None if self._network.faults is None else self._network.faults.fires(fault, self._name)

    def _tell(self, what: What, host: str, op: str, note: str) -> None:
        if self._network.trace is not None:
            self._network.trace.add(asyncio.get_running_loop().time(), what, host, self._name, op, (), note)
