"""One client for a thousand workers: it does not take their answers one call after another."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count, pairwise

import msgspec

from kon.backends.sim.backend import SimBackend
from kon.core.clock import Clock
from kon.core.journal import MemoryJournal
from kon.core.ledger import Record
from kon.core.queue import Delivery, Depth, Message, Queue
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Answers, Bundle, Outcome, State, Task, encode
from kon.engine.client import LONGEST_WAIT_S, Client, ClientOptions, Listener
from tests.engine.world import World, in_virtual_time

CALL_S = 0.1
"""Of each call, there and back."""


def test_answers_are_taken_abreast_while_there_are_plenty() -> None:
    """1,000 messages are 100 full receives, each with an ack after it: 20 s in single file."""

    async def main() -> float:
        calls = {call: {"median_s": CALL_S, "p99_s": CALL_S} for call in ("queue.receive", "queue.ack")}
        spec = RunSpec("r", "e", Plugin("sim"), Plugin("none"), Plugin("sleep"), tasks=1_000)
        backend = SimBackend({"latency": calls})
        await backend.create("r", spec.channel_options)
        channel = await backend.open("r")
        for first in range(0, 1_000, 10):
            outcomes = [Outcome(index, 1, State.DONE) for index in range(first, first + 10)]
            await channel.answers.send([Message(encode(Answers("w", [each]))) for each in outcomes])
        client = Client(spec, channel, Listener(MemoryJournal()), Clock(0.0), random.Random(1))
        began_s = asyncio.get_running_loop().time()
        tally = await client.collect()
        assert (tally.left, tally.counts[State.DONE], tally.repeated_answers) == (0, 1_000, 0)
        return asyncio.get_running_loop().time() - began_s

    assert in_virtual_time(main()) < 4.0


async def _answered(tasks: int, receive_s: Callable[[int], float]) -> World:
    """A run whose tasks are answered one by one already. receive_s: of each receive, which brings ten."""
    world = await World.create(tasks)
    answers = world.channel.answers
    for index in range(tasks):
        await answers.send([Message(encode(Answers("w", [Outcome(index, 1, State.DONE)])))])
    receive, turn = answers.receive, count()

    async def receiving(max_messages: int, wait_s: float) -> list[Delivery]:
        await asyncio.sleep(receive_s(next(turn)))
        return await receive(max_messages, wait_s)

    answers.receive = receiving  # type: ignore[method-assign]
    answers.limits = msgspec.structs.replace(answers.limits, max_batch=10)
    return world


def test_a_receive_that_takes_long_does_not_hold_up_the_others() -> None:
    """Every 16th takes a second, and the others a hundredth: of 16 abreast, one would hold up each round."""

    async def main() -> float:
        world = await _answered(3_200, lambda turn: 0.01 if turn % 16 else 1.0)
        began_s = asyncio.get_running_loop().time()
        await world.client().collect()
        return asyncio.get_running_loop().time() - began_s

    assert in_virtual_time(main()) < 10.0  # 25 with rounds


def test_the_client_says_how_far_it_is_while_answers_never_stop_to_come() -> None:
    async def main() -> None:
        world = await _answered(16_000, lambda turn: 0.02)
        told_s: list[float] = []
        now_s = asyncio.get_running_loop().time
        listener = Listener(MemoryJournal(), on_progress=lambda _: told_s.append(now_s()))
        await Client(world.spec, world.channel, listener, Clock(0.0), random.Random(1)).collect()
        assert max(after - before for before, after in pairwise(told_s)) < 0.5

    in_virtual_time(main())


class Billed(Queue):
    """A queue whose calls are billed: receives are to wait long. asked: by each, how many messages."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.limits = msgspec.structs.replace(queue.limits, poll_s=20.0, max_batch=100)
        self.asked: list[int] = []

    async def send(self, messages: Sequence[Message]) -> None:
        await self._queue.send(messages)

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        self.asked.append(max_messages)
        return await self._queue.receive(max_messages, wait_s)

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        return await self._queue.extend(deliveries, visible_s)

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        return await self._queue.ack(deliveries)

    async def depth(self) -> Depth:
        return await self._queue.depth()


async def _billed(tasks: int) -> tuple[World, Client, Billed]:
    """A client of a run whose queues are billed, and its dead-letter queue."""
    world = await World.create(tasks)
    there = world.channel
    dead = Billed(there.dead)
    channel = msgspec.structs.replace(
        there, tasks=Billed(there.tasks), answers=Billed(there.answers), dead=dead
    )
    return world, world.client(channel), dead


async def _answer_slowly(world: World, indexes: range) -> None:
    for index in indexes:
        await asyncio.sleep(0.1)
        outcome = Outcome(index, 1, State.DONE)
        await world.channel.answers.send([Message(encode(Answers("w", [outcome])))])


def test_dead_letters_are_not_looked_for_after_every_answer_where_that_is_billed() -> None:
    async def main() -> None:
        world, client, dead = await _billed(100)
        async with asyncio.TaskGroup() as group:
            group.create_task(_answer_slowly(world, range(100)))
            group.create_task(client.collect())
        assert client.tally.counts[State.DONE] == 100
        assert len(dead.asked) <= 3  # in 10 s
        assert max(dead.asked) <= 10  # more would be several calls

    in_virtual_time(main())


def test_a_dead_letter_is_found_while_answers_go_on_coming() -> None:
    async def main() -> None:
        world, client, dead = await _billed(300)
        async with asyncio.TaskGroup() as group:
            group.create_task(_answer_slowly(world, range(299)))
            group.create_task(client.collect())
            await asyncio.sleep(1.0)
            await world.channel.dead.send([Message(encode(Bundle("r", [Task(299, {})])))])
            await asyncio.sleep(10.0)
            assert client.tally.counts[State.DEAD] == 1
            assert client.tally.left > 100
            assert max(dead.asked) <= 10, "one call for a look, where that brings them all"

    in_virtual_time(main())


def test_a_dead_letter_is_found_at_once_where_calls_are_not_billed() -> None:
    async def main() -> None:
        world = await World.create(100)
        for queue in (world.channel.answers, world.channel.dead):
            queue.limits = msgspec.structs.replace(queue.limits, poll_s=LONGEST_WAIT_S)
        client = world.client()
        async with asyncio.TaskGroup() as group:
            group.create_task(_answer_slowly(world, range(99)))
            group.create_task(client.collect())
            await asyncio.sleep(1.05)
            await world.channel.dead.send([Message(encode(Bundle("r", [Task(99, {})])))])
            await asyncio.sleep(0.2)
            assert client.tally.counts[State.DEAD] == 1

    in_virtual_time(main())


def test_while_answers_come_the_control_table_is_not_read() -> None:
    async def main() -> None:
        world, client, _ = await _billed(100)
        control, reads = world.channel.control, Counter[str]()
        read, scan = control.read, control.scan

        async def reading(keys: Sequence[int]) -> list[Record | None]:
            reads["read"] += 1
            return await read(keys)

        async def scanning(first: int, limit: int) -> list[Record]:
            reads["scan"] += 1
            return await scan(first, limit)

        control.read, control.scan = reading, scanning  # type: ignore[method-assign]
        async with asyncio.TaskGroup() as group:
            group.create_task(_answer_slowly(world, range(100)))
            group.create_task(client.collect())
        assert not reads

    in_virtual_time(main())


def test_a_client_that_is_to_look_more_often_does() -> None:
    async def main() -> None:
        world, _, _ = await _billed(1)
        answers = world.channel.answers
        waits, receive = list[float](), answers.receive

        async def receiving(max_messages: int, wait_s: float) -> list[Delivery]:
            waits.append(wait_s)
            return await receive(max_messages, wait_s)

        answers.receive = receiving  # type: ignore[method-assign]
        await _answer_slowly(world, range(1))
        options = ClientOptions(wait_s=0.25)
        listener = Listener(MemoryJournal())
        await Client(world.spec, world.channel, listener, Clock(0.0), random.Random(1), options).collect()
        assert waits == [0.25]

    in_virtual_time(main())


def test_many_dead_letters_are_not_taken_ten_at_a_time() -> None:
    async def main() -> float:
        world, client, _ = await _billed(500)
        for index in range(500):
            await world.channel.dead.send([Message(encode(Bundle("r", [Task(index, {})])))])
        began_s = asyncio.get_running_loop().time()
        tally = await client.collect()
        assert tally.counts[State.DEAD] == 500
        return asyncio.get_running_loop().time() - began_s

    assert in_virtual_time(main()) < 60.0
