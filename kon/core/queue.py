"""The queue, as kon needs it: at least once, like SQS.

A message may come twice, late, and out of order; an ack may fail. Whoever receives a message holds
it for the visibility timeout, under a receipt handle that a later receive makes stale.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from kon.core.errors import MessageTooLarge


class QueueLimits(msgspec.Struct, frozen=True):
    """What a queue can do, declared, so that no caller learns it from a failing call.

    max_batch: messages in one send, receive, extend or ack.
    max_bytes: the largest body, in bytes, and the largest sum of bodies in one send.
    max_delay_s: the longest delay of a message, in seconds; 0 where messages can't be delayed.
    max_visibility_s: the longest visibility timeout, in seconds; 0 for the same as `max_delay_s`.
    fifo: keeps order and drops repeated sends within a window.
    stale_depth: `depth` is an estimate that may lag.
    depth_lag_s: by how much, at most, in seconds.
    silent_acks: `ack` and `extend` may answer True for a stale receipt handle.
    poll_s: how long a receive that is in no hurry should wait, in seconds: where each call is billed, long.
    max_receipt_s: how long one receipt can hold a message in all, however often it is extended, in seconds.
    call_batch: messages that one request brings at most, so that multiples of it are the cheapest to receive.
    """

    max_batch: int
    max_bytes: int
    max_delay_s: float
    fifo: bool = False
    stale_depth: bool = False
    max_visibility_s: float = 0.0
    silent_acks: bool = False
    depth_lag_s: float = 60.0
    poll_s: float = 1.0
    call_batch: int = 1
    max_receipt_s: float = math.inf

    @property
    def longest_hold_s(self) -> float:
        """The longest visibility timeout, in seconds."""
        return self.max_visibility_s or self.max_delay_s


class Message(msgspec.Struct, frozen=True, gc=False):
    """What is sent. `delay_s`: seconds before anyone may receive it."""

    body: bytes
    delay_s: float = 0.0


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One receipt of a message.

    handle: the receipt handle; its form is the backend's own business.
    receives: how often this message has been received, this time included.
    """

    handle: Any
    body: bytes
    receives: int


class Depth(msgspec.Struct, frozen=True):
    """How many messages a queue holds: to be had now, held by receivers, not yet due."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        return self.visible + self.in_flight + self.delayed


class Queue(ABC):
    """One queue. Every call takes at most `limits.max_batch` items and is safe to repeat.

    All calls raise BackendUnavailable when the service can't be reached after the backend's own
    retries, and StoreError when the store can't be used at all.
    """

    limits: QueueLimits

    @abstractmethod
    async def send(self, messages: Sequence[Message]) -> None:
        """Return when every message is safely stored. A repeat after an error may store it twice.

        Raises MessageTooLarge for a body over `limits.max_bytes`; then none was stored.
        """

    @abstractmethod
    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        """Up to `max_messages` that are visible, oldest first where that costs nothing.

        Waits up to `wait_s` for the first, without spinning; an empty list after that. A message
        that has been received `max_receives` times already moves to the dead-letter queue instead.
        """

    @abstractmethod
    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        """Hold each for `visible_s` seconds from now; 0 gives it back at once.

        False where the receipt handle is stale: somebody else has the message, or it is gone. A queue
        whose limits say `silent_acks` may answer True for it.
        """

    @abstractmethod
    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        """Delete each for good. False where it was gone or the receipt handle is stale, or True there
        too, where `silent_acks` says so."""

    @abstractmethod
    async def depth(self) -> Depth:
        """How many messages there are; an estimate where `limits.stale_depth` says so."""


def check_batch(limits: QueueLimits, size: int) -> None:
    """Raises ValueError for a batch over `limits.max_batch`: the caller's fault, not the user's."""
    if size > limits.max_batch:
        raise ValueError(f"a batch of {size} items, and this queue takes at most {limits.max_batch}")


def check_visibility(limits: QueueLimits, visible_s: float) -> None:
    """Raises ValueError for a visibility timeout that the queue can't keep."""
    if not 0 <= visible_s <= limits.longest_hold_s:
        raise ValueError(f"a visibility of {visible_s} s; this queue takes 0 to {limits.longest_hold_s:g} s")


def check_send(limits: QueueLimits, messages: Sequence[Message]) -> bool:
    """Whether any of the messages has a delay.

    Raises MessageTooLarge for bodies over `limits.max_bytes`, ValueError for a batch that is too
    long or a delay that the queue can't keep.
    """
    check_batch(limits, len(messages))
    size_bytes = sum([len(message.body) for message in messages])
    if size_bytes > limits.max_bytes:
        _refuse(limits, max([len(message.body) for message in messages]), size_bytes)
    delayed = False
    for delay_s in [message.delay_s for message in messages if message.delay_s]:
        delayed = True
        if not 0 <= delay_s <= limits.max_delay_s:  # NaN fails this too
            raise ValueError(f"a delay of {delay_s} s; this queue takes 0 to {limits.max_delay_s:g} s")
    return delayed


def _refuse(limits: QueueLimits, largest_bytes: int, sum_bytes: int) -> None:
    if largest_bytes > limits.max_bytes:
        raise MessageTooLarge(
            f"a message of {largest_bytes:,} bytes is too large: this backend takes {limits.max_bytes:,}. "
            "Nothing of its batch was sent. Put large inputs into files and name those in the task."
        )
    raise MessageTooLarge(
        f"a batch of {sum_bytes:,} bytes is too large: this backend takes {limits.max_bytes:,} at once. "
        "Nothing of it was sent. Send fewer messages at a time."
    )
