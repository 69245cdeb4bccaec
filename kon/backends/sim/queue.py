"""A queue that behaves as SQS standard is documented to, in virtual time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import msgspec

from kon.backends.sim.messages import MAX_BATCH, Messages
from kon.backends.sim.network import NetworkCall
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

LIMITS: Final = QueueLimits(max_batch=MAX_BATCH, max_bytes=1 << 20, max_delay_s=900.0)
FIFO_LIMITS: Final = msgspec.structs.replace(LIMITS, max_delay_s=0.0, max_visibility_s=900.0, fifo=True)


class SimQueue(Queue):
    """One queue, as those who call it over the network see it."""

    def __init__(self, messages: Messages) -> None:
        self.name = messages.name
        self.messages: Final = messages
        self._network = messages.network
        self.limits = msgspec.structs.replace(
            FIFO_LIMITS if messages.fifo else LIMITS, stale_depth=messages.stale_depth
        )

    async def send(self, messages: Sequence[Message]) -> None:
        check_send(self.limits, messages)
        messages = list(messages)
        call = self._call("send", messages, "send_reply_lost")
        await self._network.call(call, functools.partial(self.messages.store, messages))

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        check_batch(self.limits, max_messages)
        back = self.messages.take_back
        call = NetworkCall("queue", self.name, "receive", max_messages, wait_s=wait_s, take_back=back)
        return await self._network.call(call, functools.partial(self.messages.serve, max_messages, wait_s))

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        check_batch(self.limits, len(deliveries))
        check_visibility(self.limits, visible_s)
        deliveries = list(deliveries)
        call = self._call("extend", deliveries)
        return await self._network.call(call, functools.partial(self.messages.extend, deliveries, visible_s))

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        check_batch(self.limits, len(deliveries))
        deliveries = list(deliveries)
        call = self._call("ack", deliveries, "ack_reply_lost")
        return await self._network.call(call, functools.partial(self.messages.ack, deliveries))

    async def depth(self) -> Depth:
        return await self._network.call(NetworkCall("queue", self.name, "depth", 1), self.messages.depth)

    def _call(self, op: str, about: Sequence[Message | Delivery], loses: str = "") -> NetworkCall:
        return NetworkCall("queue", self.name, op, len(about), self.messages.tasks(about), loses)
