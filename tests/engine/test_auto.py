"""Runs whose sizes of messages kon finds: what a client packs and notes, what it is told, and whole runs."""

from __future__ import annotations

from typing import Any

import pytest

from kon.core.errors import StoreError
from kon.core.plugins import strategy_class
from kon.core.queue import Message
from kon.core.strategy import Strategy
from kon.core.task import Bundle, Segment, State, Task, encode
from kon.engine.client import Client
from kon.engine.control import Control, Window
from kon.engine.give_back import HoldLimits
from kon.engine.worker import WorkerOptions
from kon.strategies.lease import Lease
from kon.strategies.read_then_write import ReadThenWrite
from tests.engine.auto import AUTO, PAGED, messages, took
from tests.engine.world import World, in_virtual_time


def test_tasks_of_many_bytes_leave_room_in_a_message() -> None:
    async def main() -> None:
        world = await World.create(10, **AUTO, workers=1)
        limit = world.channel.tasks.limits.max_bytes
        await world.client().submit(["x" * (limit // 3)] * 10)
        assert {len(bundle.tasks) for bundle in await messages(world)} == {1}

    in_virtual_time(main())


# --- what a client notes -----------------------------------------------------------------------------


async def _dies(world: World, client: Client, at: object, call: str) -> None:
    """Have a client submit, and die of a call."""

    async def gone(*_: object) -> None:
        raise StoreError("gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at, call, gone)
        with pytest.raises((StoreError, ExceptionGroup)):
            await client.submit([{}] * world.spec.tasks)


async def _pages_after_a_restart() -> dict[int, set[tuple[Segment | None, int]]]:
    """By task, the pages that messages of two lives of a client name for it."""
    world = await World.create(2_000, **PAGED)
    first, second = world.client(), world.client()
    first._submitter.learn(took(*[0.02] * 16))
    second._submitter.learn(took(*[0.3] * 16))
    await _dies(world, first, Control, "submitted")
    await second.submit([{}] * 2_000)
    named: dict[int, set[tuple[Segment | None, int]]] = {}
    for bundle in await messages(world):
        for task in bundle.tasks:
            rows = bundle.segment.rows if bundle.segment else 1
            start = bundle.segment.first if bundle.segment else 0
            named.setdefault(task.index, set()).add((bundle.segment, (task.index - start) // rows))
    assert sorted(named) == list(range(2_000))
    return named


def test_a_client_that_is_started_again_divides_a_window_as_it_was() -> None:
    named = in_virtual_time(_pages_after_a_restart())
    assert all(len(pages) == 1 for pages in named.values())
    assert named[0] != named[1_999]  # beyond the window it packs by what it has learned


def test_without_the_note_a_task_would_have_two_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(control: Control) -> tuple[int, None]:
        return (await control.read()).submitted, None

    monkeypatch.setattr(Control, "begun", forgets)
    named = in_virtual_time(_pages_after_a_restart())
    assert any(len(pages) > 1 for pages in named.values())


def test_the_note_is_there_before_the_first_message() -> None:
    async def main() -> None:
        world = await World.create(2_000, **PAGED)
        client = world.client()
        client._submitter.learn(took(*[0.02] * 16))
        await _dies(world, client, world.channel.tasks, "send")
        assert await Control(world.channel.control).planned() == Window(0, 300, 50, 0)
        assert await Control(world.channel.control).segments() == [Segment(0, 300, 50)]

    in_virtual_time(main())


def test_what_is_received_is_not_claimed_and_no_more_than_slots_need_while_nothing_is_known() -> None:
    """A claim that a slot can't use yet costs a release, where the task takes long."""

    async def main() -> None:
        world = await World.create(50, **AUTO, slots=2)
        await world.send(*[{"s": 0.05}] * 50, bundle=True)
        worker = world.worker()
        worker.end_when_idle(1.0)
        await worker.run()
        claimed = [len(line["i"]) if "i" in line else line["r"][1] for line in world.events("claim")]
        assert claimed[0] == 2
        assert max(claimed) > 2  # once it is known how long they take

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("strategy", "options", "first"),
    [(Lease, {}, 50), (ReadThenWrite, {"record": "before"}, 2), (ReadThenWrite, {"record": "after"}, 2)],
)
def test_a_page_is_claimed_whole_at_once_by_who_can_give_it_back(
    strategy: type[Strategy], options: dict[str, Any], first: int
) -> None:
    """One write claims all of it, and a second call would make its tasks wait."""

    async def main() -> None:
        world = await World.create(50, **PAGED, slots=2)
        tasks = [Task(index, {"s": 0.05}) for index in range(50)]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks, segment=Segment(0, 50, 50))))])
        worker = world.worker(strategy=strategy, **options)
        worker.end_when_idle(1.0)
        await worker.run()
        claimed = [len(line["i"]) if "i" in line else line["r"][1] for line in world.events("claim")]
        assert claimed[0] == first

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("settings", "first", "told_s"),
    [
        (PAGED, 0, 1.0),  # the client waits to hear
        (PAGED, 16 * 4, 4.0),  # sixteen messages have told it
        ({**PAGED, "ideal_s": 4.0}, 0, 4.0),  # it knows
        (AUTO, 0, 4.0),  # where rows are free it doesn't wait
    ],
)
def test_the_first_messages_tell_at_once_how_long_tasks_take(
    settings: dict[str, Any], first: int, told_s: float
) -> None:
    async def main() -> None:
        world = await World.create(100, **settings, flush_s=30.0)
        tasks = [Task(first + at, {"s": 1.0}) for at in range(4)]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks)))])
        options = WorkerOptions(hold=HoldLimits(stuck_s=60.0, beyond_s=60.0, wait_s=60.0))
        worker = world.worker(options=options)
        worker.end_when_idle(1.0)
        began_s = world.clock.now_s()
        await worker.run()
        told = [line["t"] - began_s for line in world.events("answer")]
        assert told[0] == pytest.approx(told_s, abs=0.01)
        assert len(told) <= 2  # the others are answered together

    in_virtual_time(main())


# --- whole runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [AUTO, PAGED])
@pytest.mark.parametrize("strategy", ["lease", "conditional_put", "none", "read_then_write", "result_once"])
def test_a_bag_of_uneven_tasks_is_done_once(settings: dict[str, Any], strategy: str) -> None:
    async def main() -> None:
        world = await World.create(600, **settings, workers=2, slots=2)
        bodies = [{"s": 20.0 if n % 97 == 5 else 0.01, "fail": n % 50 == 7, "result": n} for n in range(600)]
        workers = [world.worker(name, strategy_class(strategy)) for name in "ab"]
        tally = await world.run(bodies, *workers)
        assert tally.counts[State.DONE] == 600
        assert {index: outcome.result for index, outcome in world.recorded().items()} == dict(
            enumerate(range(600))
        )
        assert len(world.tasks_of("start")) == 612

    in_virtual_time(main())


def test_a_small_bag_is_shared_by_all_workers() -> None:
    """All 60 tasks of 2 ms are within one worker's horizon, and it would take all."""

    async def main() -> None:
        world = await World.create(60, **AUTO, workers=2)
        await world.run([{"s": 0.002}] * 60, world.worker("a"), world.worker("b"))
        assert min(len(world.tasks_of("start", name)) for name in "ab") > 20

    in_virtual_time(main())
