"""Packing: batches cut to what a queue takes, and batches in which nothing stands twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from kon.core.queue import Message, QueueLimits
from kon.core.task import Answers, Outcome, encode

_Item = TypeVar("_Item")


def chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """The items in order, at most `size` at a time."""
    if len(items) <= size:
        if items:
            yield items
        return
    for start in range(0, len(items), size):
        yield items[start : start + size]


def batches(messages: Sequence[Message], limits: QueueLimits) -> Iterator[Sequence[Message]]:
    """The messages in order, in batches that one send takes."""
    batch: list[Message] = []
    size_bytes = 0
    for message in messages:
        if batch and (len(batch) == limits.max_batch or size_bytes + len(message.body) > limits.max_bytes):
            yield batch
            batch, size_bytes = [], 0
        batch.append(message)
        size_bytes += len(message.body)
    if batch:
        yield batch


def pack_answers(worker: str, outcomes: Sequence[Outcome], max_bytes: int) -> list[Message]:
    """As few messages as hold these outcomes. One that is too large alone is the sender's error."""
    if not outcomes:
        return []
    body = encode(Answers(worker, list(outcomes)))
    if len(body) <= max_bytes or len(outcomes) == 1:
        return [Message(body)]
    half = len(outcomes) // 2
    first = pack_answers(worker, outcomes[:half], max_bytes)
    return first + pack_answers(worker, outcomes[half:], max_bytes)


def without_repeats(items: Sequence[_Item], index_of: Callable[[_Item], int]) -> Iterator[Sequence[_Item]]:
    """The items in batches in which no index stands twice; one batch, where none repeats."""
    if len({index_of(item) for item in items}) == len(items):
        if items:
            yield items
        return
    left = list(items)
    while left:
        seen: set[int] = set()
        batch: list[_Item] = []
        later: list[_Item] = []
        for item in left:
            index = index_of(item)
            (later if index in seen else batch).append(item)
            seen.add(index)
        yield batch
        left = later
