"""The client: numbering, packing, collecting, and starting again after its death."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec
import pytest

from kon.core.backend import Channel
from kon.core.errors import BackendUnavailable, MessageTooLarge, first_cause
from kon.core.journal import MemoryJournal
from kon.core.ledger import Record
from kon.core.queue import Delivery, Depth, Message, Queue
from kon.core.spec import Faults
from kon.core.task import Answers, Bundle, Outcome, State, Task, decode_bundle, encode
from kon.engine.client import ANSWERS_BYTES, Client, Listener
from kon.engine.control import Control, Status
from kon.engine.sizing import MOST_TASKS
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.none import NoDeduplication
from tests.engine.world import World, in_virtual_time


async def queued(world: World) -> list[Bundle]:
    return [decode_bundle(each.body) for each in await world.channel.tasks.receive(1_000, 0.0)]


def test_tasks_are_numbered_and_bundled() -> None:
    async def main() -> None:
        world = await World.create(7, bundle=3)
        await world.client().submit(range(10, 17))
        bundles = await queued(world)
        assert [[(task.index, task.body) for task in bundle.tasks] for bundle in bundles] == [
            [(0, 10), (1, 11), (2, 12)],
            [(3, 13), (4, 14), (5, 15)],
            [(6, 16)],
        ]

    in_virtual_time(main())


def test_a_bundle_that_is_asked_for_may_be_larger_than_any_that_kon_chooses() -> None:
    async def main() -> None:
        world = await World.create(3 * MOST_TASKS, bundle=2 * MOST_TASKS)
        await world.client().submit(range(3 * MOST_TASKS))
        assert [len(bundle.tasks) for bundle in await queued(world)] == [2 * MOST_TASKS, MOST_TASKS]

    in_virtual_time(main())


def test_a_bundle_over_the_limit_is_made_smaller() -> None:
    async def main() -> None:
        world = await World.create(4, bundle=4)
        size = world.channel.tasks.limits.max_bytes // 3
        await world.client().submit(["x" * size] * 4)
        assert [len(bundle.tasks) for bundle in await queued(world)] == [2, 2]

    in_virtual_time(main())


def test_a_task_over_the_limit_is_named() -> None:
    async def main() -> None:
        world = await World.create(2)
        with pytest.raises(MessageTooLarge, match=r"task r/1 has \d+ bytes"):
            await world.client().submit(["ok", "x" * world.channel.tasks.limits.max_bytes])

    in_virtual_time(main())


def test_a_share_of_the_messages_is_sent_twice() -> None:
    async def main() -> None:
        world = await World.create(1_000, faults=Faults(duplicate_rate=0.05))
        await world.client().submit([None] * 1_000)
        depth = await world.channel.tasks.depth()
        assert 1_025 <= depth.total <= 1_080

    in_virtual_time(main())


def test_a_client_that_starts_again_submits_only_what_is_missing() -> None:
    async def main() -> None:
        world = await World.create(12_000)
        client = world.client()

        def dies() -> object:
            for index in range(12_000):
                if index == 7_000:
                    raise KeyboardInterrupt
                yield index

        with pytest.raises(KeyboardInterrupt):
            await client.submit(dies())  # type: ignore[arg-type]
        before = (await world.channel.tasks.depth()).total
        assert before == 5_000
        await world.client().submit(range(12_000))
        assert (await world.channel.tasks.depth()).total == 12_000

    in_virtual_time(main())


def test_what_is_recorded_is_not_queued_again_though_its_queue_is_gone() -> None:
    async def main() -> None:
        world = await World.create(5)
        client = world.client()
        client.recall([Outcome(index, 1, State.DONE) for index in (0, 3)])
        await client.submit(range(5))
        assert [task.index for bundle in await queued(world) for task in bundle.tasks] == [1, 2, 4]

    in_virtual_time(main())


def test_collecting_goes_on_where_a_dead_client_stopped() -> None:
    async def main() -> None:
        world = await World.create(50)
        worker = asyncio.create_task((w := world.worker()).run())
        first = world.client()
        dying = asyncio.create_task(first.run([{"s": 1.0, "result": n} for n in range(50)]))
        await asyncio.sleep(20.0)
        dying.cancel()
        await asyncio.wait({dying})
        recorded = len(world.recorded())
        assert 0 < recorded < 50
        second = world.client()
        second.recall(world.recorded().values())
        assert second.tally.left == 50 - recorded
        tally = await second.collect()
        w.stop()
        await worker
        assert tally.counts[State.DONE] == 50
        assert {n: o.result for n, o in world.recorded().items()} == {n: n for n in range(50)}

    in_virtual_time(main())


def test_a_repeated_answer_is_counted_once() -> None:
    async def main() -> None:
        world = await World.create(2)
        await Control(world.channel.control).submitted(2)
        outcomes = [Outcome(n, 1, State.DONE, f"first {n}") for n in range(2)]
        later = [Outcome(n, 1, State.DONE, "later") for n in range(2)]
        for packet in ([outcomes[0]], [later[0], outcomes[1]], [later[1]]):
            await world.channel.answers.send([Message(encode(Answers("w", packet)))])
        tally = await world.client().collect()
        assert tally.counts[State.DONE] == 2
        assert [o.result for o in world.recorded().values()] == ["first 0", "first 1"]

    in_virtual_time(main())


def test_what_nobody_answers_any_more_is_lost_and_said_so() -> None:
    async def main() -> None:
        world = await World.create(3)
        running = asyncio.create_task((w := world.worker(strategy=ConditionalPut)).run())
        await world.channel.ledger.insert_new(await _claims_of_the_dead(world, 1))
        tally = await world.client().run([{"result": "ok"}] * 3)
        w.stop()
        await running
        assert tally.counts == {**dict.fromkeys(tally.counts, 0), State.DONE: 2, State.LOST: 1}
        assert "outlived its worker" in str(world.recorded()[1].error)

    in_virtual_time(main())


def test_an_answer_that_is_hidden_for_now_keeps_its_task_from_counting_as_lost() -> None:
    async def main() -> None:
        world = await World.create(1)
        await Control(world.channel.control).submitted(1)
        answer = Answers("w", [Outcome(0, 1, State.DONE, "late")])
        await world.channel.answers.send([Message(encode(answer), delay_s=100.0)])
        tally = await world.client().collect()
        assert tally.counts[State.DONE] == 1

    in_virtual_time(main())


async def _claims_of_the_dead(world: World, index: int) -> list[Record]:
    return [Record(index, "token of a dead worker")]


def test_dead_letters_are_reported_with_their_reason() -> None:
    async def main() -> None:
        world = await World.create(2, visibility_s=1.0, max_receives=2)
        await world.client().submit(["poison", "fine"])
        for _ in range(2):
            received = await world.channel.tasks.receive(2, 5.0)
            assert any(b"poison" in delivery.body for delivery in received)
            await asyncio.sleep(2.0)
        running = asyncio.create_task((w := world.worker(strategy=NoDeduplication)).run())
        collecting = asyncio.create_task(world.client().collect())
        await asyncio.sleep(10.0)
        w.stop()
        await running
        tally = await collecting
        assert tally.counts[State.DEAD] >= 1
        assert "received more than 2 times" in str(world.recorded()[0].error)

    in_virtual_time(main())


def test_progress_is_told_after_each_look_and_at_the_end() -> None:
    async def main() -> None:
        world = await World.create(1)
        left: list[int] = []
        listener = Listener(world.results, on_progress=lambda tally: left.append(tally.left))
        rng = random.Random(0)
        client = Client(world.spec, world.channel, listener, world.clock, rng)
        async with asyncio.TaskGroup() as group:
            worker = world.worker()
            group.create_task(worker.run())
            await client.run([{"s": 30.0}])
            worker.stop()
        assert left[0] == 1, "a look in vain"
        assert left[-1] == 0
        left.clear()
        again = Client(world.spec, world.channel, listener, world.clock, rng)
        again.recall(world.recorded().values())
        await again.collect()
        assert left == [0], "all was accounted for before"

    in_virtual_time(main())


def test_more_dead_letters_than_a_first_receive_brings_are_all_recorded() -> None:
    """Where each call is billed, the first receive of a look is a small one."""

    async def main() -> None:
        world = await World.create(25)
        dead = world.channel.dead
        dead.limits = msgspec.structs.replace(dead.limits, poll_s=20.0)
        await world.client().submit([{}] * 25)
        letters = [Message(encode(Bundle("r", [Task(index, {})]))) for index in range(25)]
        await dead.send(letters)
        tally = await world.client().collect()
        assert tally.counts[State.DEAD] == 25

    in_virtual_time(main())


class _Synced(MemoryJournal):
    """Knows how many of its lines outlive a power cut."""

    synced = 0

    async def on_disk(self, always: bool = False) -> None:
        self.synced = len(self.lines)


def test_what_can_not_be_read_is_kept_before_it_is_deleted() -> None:
    async def main() -> None:
        world = await World.create(1)
        await Control(world.channel.control).submitted(1)
        await world.channel.dead.send([Message(b"somebody may want to know why")])
        await world.channel.answers.send([Message(b"\xff")])
        client, kept = world.client(), _Synced()
        client._listener = Listener(world.results, unreadable=kept)
        await world.channel.answers.send([Message(encode(Answers("w", [Outcome(0, 1, State.DONE)])), 30.0)])
        await client.collect()
        lines = [msgspec.json.decode(line) for line in kept.lines]
        assert sorted(line["queue"] for line in lines) == ["answers queue", "dead-letter queue"]
        assert {line.get("text") or line["base64"] for line in lines} == {
            "somebody may want to know why",
            "/w==",
        }
        assert kept.synced == 2

    in_virtual_time(main())


def test_a_cancelled_run_accounts_for_what_is_left() -> None:
    async def main() -> None:
        world = await World.create(10)
        collecting = asyncio.create_task(world.client().run([{}] * 10))
        await asyncio.sleep(3.0)
        await Control(world.channel.control).close(Status.CANCELLED)
        tally = await collecting
        assert tally.counts[State.CANCELLED] == 10

    in_virtual_time(main())


class Flaky(Queue):
    """A queue that does not answer for the first while; each call in between fails as a service does."""

    def __init__(self, inner: Queue, until_s: float) -> None:
        self._inner = inner
        self._until_s = until_s
        self.limits = inner.limits

    def _check(self) -> None:
        if asyncio.get_running_loop().time() < self._until_s:
            raise BackendUnavailable("the queue does not answer")

    async def send(self, messages: Sequence[Message]) -> None:
        self._check()
        await self._inner.send(messages)

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        self._check()
        return await self._inner.receive(max_messages, wait_s)

    async def extend(self, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        self._check()
        return await self._inner.extend(deliveries, visible_s)

    async def ack(self, deliveries: Sequence[Delivery]) -> list[bool]:
        self._check()
        return await self._inner.ack(deliveries)

    async def depth(self) -> Depth:
        self._check()
        return await self._inner.depth()


def flaky(world: World, until_s: float) -> Channel:
    channel = world.channel
    return Channel(
        tasks=Flaky(channel.tasks, until_s),
        answers=Flaky(channel.answers, until_s),
        dead=Flaky(channel.dead, until_s),
        ledger=channel.ledger,
        control=channel.control,
        objects=channel.objects,
    )


class Weighed(Flaky):
    """A queue that notes how many bytes each receive brought."""

    def __init__(self, inner: Queue) -> None:
        super().__init__(inner, until_s=0.0)
        self.received_bytes: list[int] = []

    async def receive(self, max_messages: int, wait_s: float) -> list[Delivery]:
        deliveries = await super().receive(max_messages, wait_s)
        self.received_bytes.append(sum(len(delivery.body) for delivery in deliveries))
        return deliveries


def test_large_answers_are_taken_a_few_at_a_time() -> None:
    async def main() -> None:
        world = await World.create(200)
        answers = Weighed(world.channel.answers)
        large = "x" * (ANSWERS_BYTES // 50)
        for index in range(200):
            outcome = Outcome(index, 1, State.DONE, large)
            await answers.send([Message(encode(Answers("w", [outcome])))])
        channel = msgspec.structs.replace(world.channel, answers=answers)
        tally = await world.client(channel).collect()
        assert tally.counts[State.DONE] == 200
        assert max(answers.received_bytes) <= ANSWERS_BYTES
        assert len(answers.received_bytes) < 10, "one by one, they would take too long"

    in_virtual_time(main())


def test_an_outage_is_ridden_out_by_client_and_worker() -> None:
    async def main() -> None:
        world = await World.create(5)
        channel = flaky(world, 60.0)
        running = asyncio.create_task((w := world.worker(channel=channel)).run())
        tally = await world.client(channel).run([{}] * 5)
        w.stop()
        await running
        assert tally.counts[State.DONE] == 5
        assert world.events("trouble")

    in_virtual_time(main())


def test_an_outage_without_end_is_told() -> None:
    async def main() -> None:
        world = await World.create(1)
        with pytest.raises(BaseExceptionGroup) as caught:
            await world.client(flaky(world, 1e9)).run([{}])
        assert isinstance(first_cause(caught.value), BackendUnavailable)

    in_virtual_time(main())


def test_what_is_not_done_is_run_again_under_new_attempts() -> None:
    async def main() -> None:
        world = await World.create(4, attempts=1)
        for index, state in enumerate([State.DONE, State.FAILED, State.LOST, State.DONE]):
            world.results.append([encode(Answers("w", [Outcome(index, 1, state, "before")]))])
        again = world.client(first_attempt=2)
        again.recall(world.recorded().values())
        assert sorted(again.tally.unaccounted()) == [1, 2]
        await again.submit([None] * 4)
        bundles = await queued(world)
        assert [(t.index, t.attempt) for b in bundles for t in b.tasks] == [(1, 2), (2, 2)]

    in_virtual_time(main())
