"""How a client submits: window by window, what it notes of each, and what it waits for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from kon.core.errors import StoreError, WorkloadError, first_cause
from kon.core.queue import Message
from kon.core.spec import Faults
from kon.core.task import Outcome, Segment, State
from kon.engine.client import Client, ClientOptions, Listener
from kon.engine.control import Control
from kon.engine.submitter import PILOT_S
from tests.engine.auto import AUTO, PAGED, messages, took
from tests.engine.world import World, in_virtual_time


def now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(
    ("settings", "is_noted"),
    [
        ({"bundle": 5, "tasks_per_row": 1}, False),
        ({"bundle": 5, "tasks_per_row": None}, True),
        (AUTO, True),
        (PAGED, True),
    ],
)
def test_windows_are_noted_where_kon_finds_sizes_or_rows_follow_messages(
    settings: dict[str, Any], is_noted: bool
) -> None:
    async def main() -> None:
        world = await World.create(20, **settings)
        await world.client().submit([{}] * 20)
        assert (await Control(world.channel.control).planned() is not None) is is_noted

    in_virtual_time(main())


def test_a_window_s_note_counts_the_messages_before_it_also_those_of_a_dead_client() -> None:
    async def main() -> None:
        world = await World.create(1_500, **AUTO)
        queue = world.channel.tasks
        send = queue.send

        async def dies_with_the_second_window(messages: Sequence[Message]) -> None:
            if (await queue.depth()).total:
                raise StoreError("gone")
            await send(messages)

        queue.send = dies_with_the_second_window  # type: ignore[method-assign]
        with pytest.raises(ExceptionGroup):
            await world.client().submit([{}] * 1_500)
        queue.send = send  # type: ignore[method-assign]
        await world.client().submit([{}] * 1_500)
        last = await Control(world.channel.control).planned()
        assert last is not None
        before = [each for each in await messages(world) if each.tasks[0].index < last.first]
        assert 0 < last.first < 1_500
        assert last.messages == len(before)

    in_virtual_time(main())


def test_a_batch_whose_send_is_cancelled_from_within_is_not_taken_for_sent() -> None:
    """As nobody heard of it, its tasks were called lost."""

    async def main() -> None:
        world = await World.create(3, bundle=1)

        async def cancelled(messages: Sequence[Message]) -> None:
            raise asyncio.CancelledError

        world.channel.tasks.send = cancelled  # type: ignore[method-assign]
        client = world.client()
        with pytest.raises(ExceptionGroup) as raised:
            await asyncio.wait_for(client.run([{}] * 3), 100_000.0)
        assert str(first_cause(raised.value)).startswith("queue.send of the backend was cancelled")
        assert not world.recorded()

    in_virtual_time(main())


def test_a_window_that_a_dead_client_noted_is_divided_as_it_said_whatever_is_left_of_it() -> None:
    """Else a task's row would be in two places. What is left here are its larger tasks."""

    async def main() -> None:
        world = await World.create(200, **PAGED)
        limits = world.channel.tasks.limits
        world.channel.tasks.limits = msgspec.structs.replace(limits, max_bytes=10_000)
        bodies = ["x" * (10 if index < 95 else 2_000) for index in range(200)]
        queue, control = world.channel.tasks, Control(world.channel.control)
        send = queue.send

        async def dies(messages: Sequence[Message]) -> None:
            raise StoreError("gone")

        queue.send = dies  # type: ignore[method-assign]
        with pytest.raises(ExceptionGroup):
            await world.client().submit(bodies)
        noted = await control.planned()
        assert noted is not None
        assert (noted.upto, noted.rows > 5) == (100, True)
        queue.send = send  # type: ignore[method-assign]
        again = world.client()
        again.recall([Outcome(index, 1, State.DONE) for index in range(noted.upto - 5)])
        await again.submit(bodies)
        segments = await control.segments()
        assert noted.segment in segments
        said = {each.segment for each in await messages(world) if each.tasks[0].index < noted.upto}
        assert said == {noted.segment}

    in_virtual_time(main())


def test_the_first_tasks_alone_are_queued_where_the_others_come_later() -> None:
    async def main() -> None:
        world = await World.create(10, bundle=4)
        client = world.client()
        for upto, wanted in ((3, [0, 1, 2]), (3, []), (None, [3, 4, 5, 6, 7, 8, 9])):
            await client.submit(range(10), upto)
            queued = [task.index for each in await messages(world) for task in each.tasks]
            assert queued == wanted
            assert (await Control(world.channel.control).read()).submitted == (upto or 10)

    in_virtual_time(main())


def test_the_first_message_waits_for_one_read_of_the_control_table() -> None:
    async def main() -> None:
        world = await World.create(20, **PAGED)
        table, queue = world.channel.control, world.channel.tasks
        calls: list[str] = []
        for owner, name in ((table, "read"), (table, "put"), (queue, "send")):
            noted(owner, name, calls)
        await world.client().submit([{}] * 20)
        assert calls[: calls.index("send")] == ["read", "put"]

    in_virtual_time(main())


def noted(owner: Any, name: str, calls: list[str]) -> None:
    """Note the calls of one method."""
    method = getattr(owner, name)

    async def call(*arguments: Any) -> Any:
        calls.append(name)
        return await method(*arguments)

    setattr(owner, name, call)


def test_no_body_is_asked_for_before_its_window() -> None:
    """One that fails takes no task of an earlier window along."""

    async def main() -> None:
        world = await World.create(6_000)

        def fails() -> Iterator[None]:
            yield from [None] * 5_000
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await world.client().submit(fails())
        assert (await world.channel.tasks.depth()).total == 5_000

    in_virtual_time(main())


@pytest.mark.parametrize("queued", [0, 7])
def test_a_body_whose_maker_raises_cancelled_error_ends_the_run(queued: int) -> None:
    """Groups of tasks take it for a wish: the client would collect for ever what is never sent."""

    def fails() -> Iterator[Any]:
        yield from [{}] * queued
        raise asyncio.CancelledError

    async def main() -> None:
        world = await World.create(20, **AUTO)
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.timeout(3600.0):
                await world.client().run(fails())
        assert isinstance(cause := first_cause(raised.value), WorkloadError)
        assert "raised CancelledError" in str(cause)

    in_virtual_time(main())


def test_a_message_s_tasks_lie_in_one_page_of_the_segment_that_it_names_also_where_others_are_recorded() -> (
    None
):
    """The last one of a window is recorded already: the next one begins the next window all the same."""

    async def main() -> None:
        world = await World.create(60, **PAGED)
        options = ClientOptions(sizes=(5, 4))
        listener = Listener(world.results)
        client = Client(world.spec, world.channel, listener, world.clock, random.Random(1), options)
        recorded = (11, 26, 27)
        client.recall([Outcome(index, 1, State.DONE) for index in recorded])
        await client.submit([{}] * 60)
        assert [each.first for each in await Control(world.channel.control).segments()] == [0, 12, 27, 39, 54]
        sent = await messages(world)
        indexes = sorted(task.index for each in sent for task in each.tasks)
        assert indexes == [index for index in range(60) if index not in recorded]
        for each in sent:
            part = each.segment
            assert part is not None
            assert all(part.first <= task.index < part.upto for task in each.tasks)
            assert len({(task.index - part.first) // part.rows for task in each.tasks}) == 1

    in_virtual_time(main())


def test_a_message_of_one_task_names_no_segment() -> None:
    """Its row is its own: a page of one would be read before it is written."""

    async def main() -> None:
        world = await World.create(20, **PAGED, workers=4)
        await world.client().submit([{}] * 20)
        segments = {each.tasks[0].index: each.segment for each in await messages(world)}
        assert segments == {
            **{first: Segment(0, 10, 3) for first in range(0, 10, 3)},
            **dict.fromkeys(range(10, 20)),
        }

    in_virtual_time(main())


def test_messages_shrink_within_a_window() -> None:
    async def main() -> None:
        world = await World.create(300, **AUTO, workers=4)
        client = world.client()
        client._submitter.learn(took(*[0.004] * 16))
        await client.submit([{}] * 300)
        sizes = [len(each.tasks) for each in await messages(world)]
        assert (sizes[0], sizes[-1]) == (6, 3)
        assert sizes == sorted(sizes, reverse=True)

    in_virtual_time(main())


def test_pages_shrink_from_window_to_window() -> None:
    async def main() -> None:
        world = await World.create(1_500, **PAGED, workers=4)
        client = world.client()
        client._submitter.learn(took(*[0.004] * 16))
        await client.submit([{}] * 1_500)
        rows = [each.rows for each in await Control(world.channel.control).segments()]
        assert rows[0] > rows[-1]
        assert rows == sorted(rows, reverse=True)

    in_virtual_time(main())


def test_no_more_sends_are_under_way_than_that() -> None:
    async def main() -> None:
        world = await World.create(100)
        queue, under_way, most = world.channel.tasks, 0, 0
        queue.limits = msgspec.structs.replace(queue.limits, max_batch=1)
        send = queue.send

        async def slow(messages: Sequence[Message]) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.1)
            await send(messages)
            under_way -= 1

        queue.send = slow  # type: ignore[method-assign]
        await world.client().submit([{}] * 100)
        assert most == ClientOptions().in_flight
        assert (await queue.depth()).total == 100

    in_virtual_time(main())


def test_a_single_message_is_sent_twice_too() -> None:
    async def main() -> None:
        world = await World.create(1, faults=Faults(duplicate_rate=1.0))
        await world.client().submit([{}])
        assert (await world.channel.tasks.depth()).total == 2

    in_virtual_time(main())


# --- the first answer -----------------------------------------------------------------------------------


def test_the_first_answer_tells_how_large_the_next_messages_are() -> None:
    """It is waited for: without it they would have one task each. And no longer than until it comes."""

    async def main() -> None:
        world = await World.create(1_000, **PAGED)
        running = asyncio.create_task(world.worker().run())
        client = asyncio.create_task(world.client().run([{"s": 0.001}] * 1_000))
        await asyncio.sleep(0.5 * PILOT_S)
        first, second, *_ = await Control(world.channel.control).segments()
        assert (first, second) == (Segment(0, 100, 100), Segment(100, 400, 100))
        for task in (client, running):
            task.cancel()
        await asyncio.gather(client, running, return_exceptions=True)

    in_virtual_time(main())


@pytest.mark.parametrize(("settings", "waits_s"), [(PAGED, PILOT_S), (AUTO, 0.0)])
def test_an_answer_that_does_not_come_is_waited_for_once(settings: dict[str, Any], waits_s: float) -> None:
    """And not at all where a wrong guess costs nothing."""

    async def main() -> None:
        world = await World.create(3_000, **settings)
        client = world.client()
        client._submitter.expects_answers = True
        await client.submit([{}] * 3_000)
        assert now_s() == waits_s

    in_virtual_time(main())


@pytest.mark.parametrize(("tasks", "expects_answers"), [(3_000, False), (1, True)])
def test_nothing_is_waited_for_where_nobody_collects_or_nothing_is_left(
    tasks: int, expects_answers: bool
) -> None:
    async def main() -> None:
        world = await World.create(tasks, **PAGED)
        client = world.client()
        client._submitter.expects_answers = expects_answers
        await client.submit([{}] * tasks)
        assert now_s() == 0.0

    in_virtual_time(main())
