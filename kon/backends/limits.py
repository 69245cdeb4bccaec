"""A queue's declared limits, kept at its door, so that no service or file has to refuse a call."""

from __future__ import annotations

from collections.abc import Sequence

from kon.core.errors import MessageTooLarge
from kon.core.queue import Message, QueueLimits


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
