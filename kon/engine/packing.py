"""Packing: tasks and outcomes in messages, and messages in batches that a queue takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from kon.core.errors import MessageTooLarge
from kon.core.queue import Message, QueueLimits
from kon.core.task import Answers, Bundle, Outcome, Segment, Task, encode, task_id

_Item = TypeVar("_Item")


def chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """The items in order, at most `size` at a time."""
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


def messages_of(
    tasks: Sequence[Task], run: str, max_bytes: int, segment: Segment | None = None
) -> Iterator[Message]:
    """The tasks in one message, or in several where they are too large for one.

    Raises MessageTooLarge for a task that is too large alone.
    """
    body = encode(Bundle(run, list(tasks), segment=segment))
    if len(body) <= max_bytes:
        yield Message(body)
    elif len(tasks) > 1:
        half = len(tasks) // 2
        yield from messages_of(tasks[:half], run, max_bytes, segment)
        yield from messages_of(tasks[half:], run, max_bytes, segment)
    else:
        raise MessageTooLarge(
            f"task {task_id(run, tasks[0].index)} has {len(body)} bytes, and a message of this "
            f"backend takes {max_bytes}. It and those after it were not queued. Put large "
            "inputs into files or the object store, and their names into the task"
        )


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
