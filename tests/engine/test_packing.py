"""How tasks and outcomes are put into messages, and messages into batches."""

from __future__ import annotations

import pytest

from kon.core.errors import MessageTooLarge
from kon.core.queue import Message, QueueLimits
from kon.core.task import Outcome, State, Task, decode_answers, decode_bundle
from kon.engine.packing import batches, chunks, messages_of, pack_answers, without_repeats


def outcomes(count: int) -> list[Outcome]:
    return [Outcome(index, 1, State.DONE, "x", None, 0.0, 1.0) for index in range(count)]


@pytest.mark.parametrize(
    ("items", "parts"),
    [("", []), ("ab", ["ab"]), ("abc", ["abc"]), ("abcd", ["abc", "d"]), ("abcdef", ["abc", "def"])],
)
def test_chunks_are_of_the_size_but_for_the_last(items: str, parts: list[str]) -> None:
    assert list(chunks(items, 3)) == parts


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([], []),
        ([1, 1, 1], [3]),
        ([1] * 4, [3, 1]),  # three messages to a batch
        ([5, 5], [2]),  # ten bytes to a batch
        ([5, 5, 1], [2, 1]),
        ([5, 6], [1, 1]),
        ([11, 1], [1, 1]),  # the queue says what is wrong with it
    ],
)
def test_a_batch_is_no_larger_than_a_send_takes(sizes: list[int], parts: list[int]) -> None:
    limits = QueueLimits(max_batch=3, max_bytes=10, max_delay_s=0.0)
    messages = [Message(b"x" * size) for size in sizes]
    packed = list(batches(messages, limits))
    assert [len(batch) for batch in packed] == parts
    assert [message for batch in packed for message in batch] == messages


def test_tasks_that_just_fit_share_a_message_and_others_are_halved() -> None:
    tasks = [Task(index, "x" * 50) for index in range(4)]
    [whole] = messages_of(tasks, "r", 10_000)
    fits = len(whole.body)
    assert [len(decode_bundle(each.body).tasks) for each in messages_of(tasks, "r", fits)] == [4]
    halves = list(messages_of(tasks, "r", fits - 1))
    assert [[task.index for task in decode_bundle(each.body).tasks] for each in halves] == [[0, 1], [2, 3]]


def test_a_task_that_is_too_large_alone_is_named() -> None:
    with pytest.raises(
        MessageTooLarge, match=r"task r/7 has \d+ bytes, and a message of this backend takes 40"
    ):
        list(messages_of([Task(7, "x" * 50)], "r", 40))


def test_outcomes_that_just_fit_share_a_message_and_others_are_halved() -> None:
    some = outcomes(5)
    [whole] = pack_answers("w", some, 10_000)
    fits = len(whole.body)
    assert pack_answers("w", some, fits) == [whole]
    halves = [decode_answers(each.body) for each in pack_answers("w", some, fits - 1)]
    assert [answers.outcomes for answers in halves] == [some[:2], some[2:]]
    assert {answers.worker for answers in halves} == {"w"}


def test_an_outcome_that_is_too_large_alone_is_left_to_the_queue_and_none_is_no_message() -> None:
    [one] = outcomes(1)
    assert [decode_answers(each.body).outcomes for each in pack_answers("w", [one], 1)] == [[one]]
    assert pack_answers("w", [], 10_000) == []


@pytest.mark.parametrize(
    ("items", "parts"),
    [("", []), ("abc", ["abc"]), ("abab", ["ab", "ab"]), ("abacaa", ["abc", "a", "a", "a"])],
)
def test_no_index_stands_twice_in_a_batch(items: str, parts: list[str]) -> None:
    assert ["".join(batch) for batch in without_repeats(items, ord)] == parts
