"""Giving back: what waits in a worker is done elsewhere, and is neither lost nor done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import pytest

from kon.core.ledger import Record
from kon.core.queue import Message
from kon.core.task import Bundle, Segment, State, Task, decode_bundle, encode
from kon.engine.give_back import GiveBack, HoldLimits, _parts
from kon.engine.sizing import MOST_TASKS
from kon.engine.worker import WorkerOptions
from tests.engine.auto import AUTO, LONG_FIRST, PAGED, messages, one_long, paged, spec
from tests.engine.counted import Counted
from tests.engine.world import Scripted, World, in_virtual_time

_Result = TypeVar("_Result")


@pytest.mark.parametrize("settings", [AUTO, PAGED, {**AUTO, "tasks_per_row": 4}])
def test_what_waits_behind_a_long_task_is_done_elsewhere(settings: dict[str, Any]) -> None:
    async def main() -> None:
        world = await one_long(**settings)
        assert sorted(outcome.index for outcome in await world.answers()) == list(range(1, 100))
        assert world.tasks_of("dead") == []
        assert sorted(set(world.tasks_of("give_back"))) == list(range(1, 100))
        assert all(line.get("n", 1) == 1 for line in world.events("deliver"))  # no receipt was counted
        assert sorted(world.tasks_of("start")) == list(range(100))

    in_virtual_time(main())


def test_what_was_claimed_of_a_page_goes_back_by_one_write() -> None:
    """What is beyond the worker's share goes first, and the rest when no slot becomes free."""

    async def main() -> None:
        world = await World.create(100, **PAGED, workers=2)
        tasks = [Task(index, body) for index, body in enumerate(LONG_FIRST)]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks, segment=Segment(0, 100, 100))))])
        below = Counted()
        worker = asyncio.create_task(
            world.worker(channel=msgspec.structs.replace(world.channel, ledger=below)).run()
        )
        await asyncio.sleep(2.0)
        assert sorted(world.tasks_of("claim")) == list(range(100))
        assert len(list(world.events("give_back"))) == 2
        assert sorted(world.tasks_of("give_back")) == list(range(1, 100))
        assert below.written == {"insert_new": 1, "replace": 2}
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    in_virtual_time(main())


def test_what_goes_back_is_sent_at_once() -> None:
    """Else the others would wait for as long as outcomes are gathered."""

    async def main() -> None:
        world = await one_long(flush_s=30.0)
        assert sorted(world.tasks_of("start")) == list(range(100))

    in_virtual_time(main())


class Gated(Scripted):
    """Lets only the first task start within a minute, as a machine does that is short of memory."""

    async def ready(self) -> None:
        if self.attempts:
            await asyncio.sleep(60.0)


def test_nothing_goes_back_while_a_slot_is_free() -> None:
    """What keeps the next task from starting is no task that runs here: it would go round in a circle."""

    async def main() -> None:
        world = await World.create(40, **AUTO)
        await world.send(*[{"s": 0.01}] * 40, bundle=True)
        worker = asyncio.create_task(world.worker(kind=Gated({})).run())
        await asyncio.sleep(30.0)
        assert world.tasks_of("start") == [0]
        assert world.tasks_of("give_back") == []
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    in_virtual_time(main())


def test_a_task_that_another_worker_has_begun_keeps_its_row_when_it_goes_back() -> None:
    """Its row can't move. A message that named a row of its own would have it begun a second time."""

    async def main() -> None:
        world = await World.create(100, **PAGED, workers=2)
        segment = Segment(0, 100, 100)
        await paged(world.channel.ledger, "other", segment).insert_new(
            [Record(50, "a", owner="other", expires_s=world.clock.now_s() + 60.0)]
        )
        tasks = [Task(index, body) for index, body in enumerate(LONG_FIRST)]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks, segment=segment)))])
        workers = [world.worker(name) for name in "ab"]
        for worker in workers:
            worker._executor.mean_s = 1.0  # so that only what a slot needs is claimed
        group = [asyncio.create_task(worker.run()) for worker in workers]
        await asyncio.sleep(10.0)
        assert 50 in world.tasks_of("give_back")
        assert 50 in world.tasks_of("defer")
        assert sorted(world.tasks_of("start")) == [index for index in range(100) if index != 50]
        for task in group:
            task.cancel()
        await asyncio.gather(*group, return_exceptions=True)

    in_virtual_time(main())


def test_a_task_that_goes_back_has_a_row_of_its_own_and_its_page_says_so() -> None:
    """In one page, workers would refuse each other's writes. Who has an old copy of the message must know."""

    async def main() -> None:
        world = await one_long(**PAGED)
        done = await world.channel.ledger.read(range(1, 100))
        assert all(row is not None and row.state is State.DONE for row in done)
        tasks = [Task(index, body) for index, body in enumerate(LONG_FIRST)]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks, segment=Segment(0, 100, 100))))])
        worker = asyncio.create_task(world.worker("c").run())
        await asyncio.sleep(2.0)
        assert sorted(world.tasks_of("skip", "c")) == list(range(1, 100))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    in_virtual_time(main())


def test_without_giving_back_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(GiveBack, "watch", never)

    async def main() -> None:
        assert await (await one_long()).answers() == []

    in_virtual_time(main())


def test_a_task_waits_no_longer_than_two_seconds() -> None:
    """A hundred tasks of 0.2 s in a message, as from a client that knew nothing, are 20 s of work."""

    async def main() -> None:
        world = await World.create(100, **AUTO)
        await world.send(*[{"s": 0.2}] * 100, bundle=True)
        worker = asyncio.create_task(world.worker().run())
        await asyncio.sleep(1.5)
        back = world.tasks_of("give_back")
        assert len(back) > 80
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    in_virtual_time(main())


async def _given_back(
    seconds: float, for_s: float, *bundles: int, run_of: int = 100, workers: int = 1, wait_s: float = 2.0
) -> list[Bundle]:
    """What one worker sends back within some seconds, of bundles of these sizes."""
    world = await World.create(run_of, **AUTO, workers=workers)
    first = 0
    for size in bundles:
        tasks = [Task(first + at, {"s": seconds}) for at in range(size)]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks)))])
        first += size
    sent: list[Bundle] = []
    send = world.channel.tasks.send

    async def noted(messages: Sequence[Message]) -> None:
        sent.extend(decode_bundle(message.body) for message in messages)
        await send([Message(message.body, 60.0) for message in messages])  # it does not come again

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.channel.tasks, "send", noted)
        options = WorkerOptions(hold=HoldLimits(wait_s=wait_s))
        worker = asyncio.create_task(world.worker(options=options).run())
        await asyncio.sleep(for_s)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return sent


def test_a_task_that_waits_for_its_turn_behind_one_like_it_stays() -> None:
    """A second is long to wait, and what a task takes here: elsewhere it would begin no sooner."""
    assert in_virtual_time(_given_back(1.0, 5.0, 1, 2)) == []


def test_what_waits_behind_a_task_of_unknown_length_goes_back_one_by_one() -> None:
    """It has run for a quarter of a second, so that the others may take as long."""
    sent = in_virtual_time(_given_back(50.0, 1.0, 40))
    assert [len(bundle.tasks) for bundle in sent] == [1] * 39


def test_work_for_the_next_moment_is_kept_where_a_message_is_too_large() -> None:
    """What a worker keeps hides a round trip: it runs one task, and has one for the slot after that."""
    sent = in_virtual_time(_given_back(0.2, 0.3, 40))
    assert sorted(task.index for bundle in sent for task in bundle.tasks) == [*range(3, 40)]


def test_what_was_claimed_and_goes_back_may_be_started_elsewhere_at_once() -> None:
    """Its claim is released: else the other worker would wait until it runs out."""

    async def main() -> None:
        world = await World.create(100, **AUTO, workers=2)
        tasks = [Task(index, {"s": 100.0 if index == 10 else 0.01}) for index in range(31)]
        for part in (tasks[:10], tasks[10:]):
            await world.channel.tasks.send([Message(encode(Bundle("r", part)))])
        first = asyncio.create_task(world.worker("a").run())
        await asyncio.sleep(1.0)
        claimed, back = set(world.tasks_of("claim", "a")), set(world.tasks_of("give_back", "a"))
        assert claimed & back  # some of those that go back were claimed
        second = asyncio.create_task(world.worker("b").run())
        await asyncio.sleep(2.0)
        assert len(await world.answers()) == 30
        for worker in (first, second):
            worker.cancel()
        await asyncio.gather(first, second, return_exceptions=True)

    in_virtual_time(main())


def test_parts_are_half_a_share_at_least_and_no_more_than_the_client_keeps_up_with() -> None:
    """256 workers would answer 10,000 single tasks sooner than the client takes."""
    assert _parts(spec(100, workers=2), 0.02, 1.0) == 1
    assert _parts(spec(10_000, workers=256), 0.02, 0.1) == 5
    assert _parts(spec(100, workers=2), 0.02, 0.0) == MOST_TASKS


def test_no_more_than_a_share_of_the_run_is_kept() -> None:
    """Of 200 tasks of a millisecond on 50 workers each has four, and its next moment's work would be all."""
    sent = in_virtual_time(_given_back(0.001, 0.0505, 100, run_of=200, workers=50, wait_s=0.05))
    assert sum(len(bundle.tasks) for bundle in sent) > 40


def test_more_is_held_ahead_where_the_queue_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receive that takes longer than the usual work ahead would leave the slot idle half of the time."""

    async def main() -> None:
        world = await World.create(2_000, **AUTO)
        receive = world.channel.tasks.receive

        async def slow(wanted: int, wait_s: float) -> Any:
            await asyncio.sleep(0.3)
            return await receive(wanted, wait_s)

        monkeypatch.setattr(world.channel.tasks, "receive", slow)
        tally = await world.run([{"s": 0.01}] * 2_000, world.worker())
        assert tally.counts[State.DONE] == 2_000
        starts = [line["t"] for line in world.events("start")]
        assert starts[-1] - starts[0] < 1.2 * 20.0

    in_virtual_time(main())


def test_groups_that_are_given_back_stay_within_a_delivery() -> None:
    async def main() -> None:
        world = await World.create(20, **AUTO, slots=2)
        tasks = [Task(index, {"s": 50.0}) for index in range(20)]
        parts = [Message(encode(Bundle("r", tasks[at : at + 5], 1))) for at in range(0, 20, 5)]
        await world.channel.tasks.send(parts)
        options = WorkerOptions(hold=HoldLimits(part_s=1e6))
        worker = asyncio.create_task(world.worker(options=options).run())
        await asyncio.sleep(1.0)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        sent = [bundle for bundle in await messages(world) if bundle.moves]
        assert sent
        for bundle in sent:
            assert len({task.index // 5 for task in bundle.tasks}) == 1
            assert (bundle.receives, bundle.moves) == (1, 1)  # as before: giving back is no receipt

    in_virtual_time(main())
