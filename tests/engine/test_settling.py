"""When outcomes are settled: many together while more are coming, at once when none are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import msgspec
import pytest

from kon.core.queue import Delivery, Message
from kon.core.strategy import Claim
from kon.core.task import Bundle, Outcome, State, Task, encode
from kon.engine.holding import Held, Holding, Job
from kon.engine.records.events import Watcher
from kon.engine.settler import MOST_WAITING, SETTLE_BATCH
from kon.kinds.sleep import Sleep
from kon.strategies.lease import Lease
from kon.strategies.none import NoDeduplication
from kon.strategies.read_then_write import ReadThenWrite
from tests.engine.world import Scripted, World, in_virtual_time

FLUSH_S = 10.0


def test_tasks_of_no_length_are_settled_together_while_the_queue_has_more() -> None:
    async def main() -> None:
        world = await World.create(1_000, prefetch=9, flush_s=FLUSH_S)
        tally = await world.run([0.0] * 1_000, world.worker(kind=Sleep({})))
        assert tally.counts[State.DONE] == 1_000
        assert len(world.events("claim")) == 101  # the first task alone, then up to ten with each receive
        assert len(world.events("keep")) <= 3

    in_virtual_time(main())


def test_a_whole_batch_waits_for_no_more() -> None:
    async def main() -> None:
        world = await World.create(3 * SETTLE_BATCH, prefetch=SETTLE_BATCH, flush_s=FLUSH_S)
        await world.run([0.001] * 3 * SETTLE_BATCH, world.worker(kind=Sleep({})))
        keeps = world.events("keep")
        assert keeps[1]["t"] - keeps[0]["t"] == pytest.approx(0.001 * SETTLE_BATCH, abs=0.1)

    in_virtual_time(main())


def test_what_ends_by_and_by_next_to_a_longer_task_is_settled_together() -> None:
    """Also after an outcome that was settled at once, as nothing could join it then."""

    async def main() -> None:
        world = await World.create(1, slots=2, prefetch=20, flush_s=FLUSH_S)
        await world.send({})
        worker = world.worker(strategy=NoDeduplication)
        worker.end_when_idle(10.0)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(5.0)
        assert len(world.events("keep")) == 1
        await world.send({"s": 30.0}, *[{"s": 1.0}] * 8)
        await running
        assert len(world.tasks_of("keep")) == 10
        assert len(world.events("keep")) == 3

    in_virtual_time(main())


def test_the_last_outcomes_wait_for_no_others() -> None:
    """The last receive brought all that was asked for; only the next one tells that nothing is left."""

    async def main() -> None:
        world = await World.create(11, prefetch=9, flush_s=FLUSH_S)
        await world.run([0.0] * 11, world.worker(kind=Sleep({})))
        ended_s = max(outcome.ended_s for outcome in world.recorded().values())
        assert world.events("ack")[-1]["t"] - ended_s < FLUSH_S / 2

    in_virtual_time(main())


def test_an_outcome_waits_for_no_other_where_the_queue_was_empty() -> None:
    async def main() -> None:
        world = await World.create(1, slots=2, flush_s=FLUSH_S)
        await world.run([{"s": 0.25}], world.worker())  # ends within a long poll for the other slot
        (keep,) = world.events("keep")
        assert keep["t"] == world.recorded()[0].ended_s

    in_virtual_time(main())


def test_a_message_that_is_settled_keeps_nothing_of_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector doesn't look at jobs: what still named them would keep them for good."""
    ended: list[Held] = []
    settle = Holding.settle

    def noted(holding: Holding, jobs: Sequence[Job]) -> list[Held]:
        some = settle(holding, jobs)
        ended.extend(some)
        return some

    monkeypatch.setattr(Holding, "settle", noted)

    async def main() -> None:
        world = await World.create(10)
        await world.run([{}] * 10, world.worker())
        assert len(ended) == 10
        assert not [held for held in ended if held.jobs]

    in_virtual_time(main())


def test_a_worker_takes_no_more_than_it_can_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of no length would otherwise pile up in its memory while the store is slow, claims and all."""
    tasks, ahead = 60_000, 1_000

    async def main() -> None:
        world = await World.create(tasks, prefetch=100, bundle=10)
        send = world.channel.answers.send

        async def slow(messages: Sequence[Message]) -> None:
            await asyncio.sleep(1.0)
            await send(messages)

        monkeypatch.setattr(world.channel.answers, "send", slow)
        await world.run([0.0] * tasks, world.worker(kind=Sleep({})))
        lines = sorted(world.events("start") + world.events("ack"), key=lambda line: float(line["t"]))
        changes = [_tasks(line) * (1 if line["e"] == "start" else -1) for line in lines]
        assert sum(changes) == 0
        assert max(accumulate(changes)) <= MOST_WAITING + 2 * ahead + 2 * SETTLE_BATCH

    in_virtual_time(main())


def _tasks(line: dict[str, Any]) -> int:
    return len(line["i"]) if "i" in line else int(line["r"][1])


class RefusesTheFirst(Lease):
    """Lets no outcome of task 0 stand."""

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        stands = await super().commit(claims, outcomes)
        return [None if each is None or each.index == 0 else each for each in stands]


def test_what_is_kept_next_to_what_is_refused_is_recorded_so() -> None:
    async def main() -> None:
        world = await World.create(2)
        await world.send({}, {}, bundle=True)
        worker = world.worker(strategy=RefusesTheFirst)
        worker.end_when_idle(1.0)
        await worker.run()
        assert (world.tasks_of("keep"), world.tasks_of("refuse"), world.tasks_of("answer")) == ([1], [0], [1])
        assert world.tasks_of("ack") == []
        assert (await world.channel.tasks.depth()).total == 1, "a task of it must come again"

    in_virtual_time(main())


def test_where_the_outcome_of_another_stands_it_is_answered_and_the_own_one_recorded_as_refused() -> None:
    class SecondBest(NoDeduplication):
        async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
            return [
                msgspec.structs.replace(each, result="another's") if each.index else each for each in outcomes
            ]

    async def main() -> None:
        world = await World.create(2, slots=2)
        await world.send({"s": 1.0}, {"s": 1.0}, bundle=True)
        worker = world.worker(strategy=SecondBest)
        worker.end_when_idle(1.0)
        await worker.run()
        assert (world.tasks_of("keep"), world.tasks_of("refuse")) == ([0], [1])
        assert [outcome.result for outcome in await world.answers()] == [None, "another's"]

    in_virtual_time(main())


def test_an_ack_is_recorded_for_all_tasks_of_its_message_and_no_others() -> None:
    """Also where they were settled by and by, and together with tasks of a message that goes on."""

    async def main() -> None:
        world = await World.create(4, slots=4, flush_s=0.5)
        for first, seconds in ((0, (1.0, 3.0)), (2, (3.0, 6.0))):
            tasks = [Task(first + at, {"s": each}) for at, each in enumerate(seconds)]
            await world.channel.tasks.send([Message(encode(Bundle("r", tasks)))])
        worker = world.worker()
        worker.end_when_idle(1.0)
        await worker.run()
        assert world.tasks_of("ack") == [0, 1, 2, 3]

    in_virtual_time(main())


@pytest.mark.parametrize("refused", [False, True])
def test_an_ack_is_recorded_for_tasks_that_were_settled_before(refused: bool) -> None:
    """Two end together: the last of a message of two, and one whose message goes on, or must come again."""

    async def main() -> None:
        world = await World.create(4, slots=4, flush_s=0.5)
        for bodies in ({0: 3.0}, {1: 1.0, 2: 3.0}) if refused else ({0: 3.0, 3: 6.0}, {1: 1.0, 2: 3.0}):
            tasks = [Task(index, {"s": each}) for index, each in bodies.items()]
            await world.channel.tasks.send([Message(encode(Bundle("r", tasks)))])
        worker = world.worker(strategy=RefusesTheFirst if refused else Lease)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(5.0)
        assert world.tasks_of("ack") == [1, 2]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    in_virtual_time(main())


def test_acks_that_came_too_late_are_counted_over_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some other worker has received these messages meanwhile."""

    async def main() -> None:
        world = await World.create(25, slots=25)
        calls = []

        async def late(deliveries: Sequence[Delivery]) -> list[bool]:
            calls.append(len(deliveries))
            return [False, *[True] * (len(deliveries) - 1)]

        await world.send(*[{"s": 1.0}] * 25)
        limits = world.channel.tasks.limits
        world.channel.tasks.limits = msgspec.structs.replace(limits, max_batch=10)
        monkeypatch.setattr(world.channel.tasks, "ack", late)
        running = asyncio.create_task(world.worker().run())
        await asyncio.sleep(5.0)
        assert sum(line.get("stale", 0) for line in world.events("ack")) == len(calls) >= 3
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    in_virtual_time(main())


def test_a_task_that_comes_twice_in_one_receive_is_run_once_and_leaves_no_message() -> None:
    async def main() -> None:
        world = await World.create(1, slots=4)
        kind = Scripted({})
        await world.send({})
        await world.send({})
        worker = world.worker(kind=kind)
        worker.end_when_idle(100.0)
        await worker.run()
        assert kind.ended == [0]
        assert (await world.channel.tasks.depth()).total == 0

    in_virtual_time(main())


def test_two_ends_of_one_task_are_committed_by_two_calls() -> None:
    """DynamoDB refuses a call that writes one row twice."""
    calls: list[list[int]] = []

    class Noted(ReadThenWrite):
        async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
            calls.append([each.index for each in outcomes])
            return await super().commit(claims, outcomes)

    async def main() -> None:
        world = await World.create(2, slots=4)
        await world.send({"s": 1.0}, {"s": 1.0})
        await world.send({"s": 1.0})
        worker = world.worker(strategy=Noted, record="after")
        worker.end_when_idle(10.0)
        await worker.run()
        assert sorted(calls) == [[0], [0, 1]]

    in_virtual_time(main())


def test_what_was_done_before_is_answered_and_acked_and_kept_no_second_time() -> None:
    """Also where it is settled together with what ran here."""

    async def main() -> None:
        world = await World.create(2, slots=2, flush_s=FLUSH_S)
        for name, bodies in (("a", [{}]), ("b", [{}, {"s": 0.5}])):
            await world.send(*bodies, bundle=True)
            worker = world.worker(name)
            worker.end_when_idle(1.0)
            await worker.run()
        events = ("skip", "start", "keep", "answer", "ack")
        assert {event: sorted(world.tasks_of(event, "b")) for event in events} == {
            **{"skip": [0], "start": [1], "keep": [1]},
            **{"answer": [0, 1], "ack": [0, 1]},
        }

    in_virtual_time(main())


def test_a_worker_that_stops_does_not_wait_for_outcomes_that_could_join_its_last_ones() -> None:
    async def main() -> None:
        world = await World.create(2, slots=2, flush_s=FLUSH_S, prefetch=0, drain_s=1.0)
        await world.send({"s": 1.0}, {"s": 100.0})
        running = asyncio.create_task((worker := world.worker()).run())
        await asyncio.sleep(2.0)
        worker.stop()
        await running
        assert asyncio.get_running_loop().time() == 3.0
        assert len(await world.answers()) == 1

    in_virtual_time(main())


def test_an_ack_is_in_the_records_at_once() -> None:
    """A worker that is killed at once has told of it, and not only with its next beat."""

    async def main() -> None:
        world = await World.create(1)
        await world.send({})
        running = asyncio.create_task(world.worker().run())
        await asyncio.sleep(1.0)
        assert world.tasks_of("ack") == [0]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    in_virtual_time(main())


def test_what_a_worker_did_is_in_its_records_before_its_answer_is_sent() -> None:
    async def main() -> None:
        world = await World.create(1)
        send, kept = world.channel.answers.send, []

        async def look_and_send(messages: Sequence[Message]) -> None:
            kept.append(world.tasks_of("keep"))
            await send(messages)

        world.channel.answers.send = look_and_send  # type: ignore[method-assign]
        await world.run([{}], world.worker())
        assert kept == [[0]]

    in_virtual_time(main())


class Noted(Watcher):
    """failures: tasks that failed for good. settling: how many outcomes each time, and how long it took."""

    def __init__(self) -> None:
        self.failures: list[int] = []
        self.settling: list[tuple[int, float]] = []

    def failed(self, outcomes: Sequence[Outcome]) -> None:
        self.failures += [outcome.index for outcome in outcomes]

    def settled(self, tasks: int, took_s: float) -> None:
        self.settling.append((tasks, took_s))


def test_who_watches_is_told_what_failed_for_good_and_how_long_settling_took() -> None:
    """Also of what failed next to a task that is tried again."""

    async def main() -> None:
        world = await World.create(3, slots=3, attempts=2, backoff_s=0.1, flush_s=1.0)
        send = world.channel.answers.send

        async def slow(messages: Sequence[Message]) -> None:
            await asyncio.sleep(0.25)
            await send(messages)

        world.channel.answers.send = slow  # type: ignore[method-assign]
        tasks = [Task(0, {"s": 0.1, "fail": 2}, 2), Task(1, {"s": 0.1, "fail": 2}), Task(2, {"s": 0.1})]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks)))])
        worker = world.worker(watches=[noted := Noted()])
        worker.end_when_idle(5.0)
        await worker.run()
        assert noted.failures == [0, 1]
        assert [tasks for tasks, _ in noted.settling] == [3, 1]
        assert [took_s for _, took_s in noted.settling] == pytest.approx([0.25, 0.25])
        (retry,) = world.events("retry")
        assert (retry["i"], retry["error"]) == ([1], "ValueError: attempt 1 fails")

    in_virtual_time(main())


def test_who_watches_is_told_nothing_of_what_is_done_next_to_what_failed() -> None:
    async def main() -> None:
        world = await World.create(2, slots=2, attempts=1)
        await world.send({"s": 0.1, "fail": 1}, {"s": 0.1}, bundle=True)
        worker = world.worker(watches=[noted := Noted()])
        worker.end_when_idle(5.0)
        await worker.run()
        assert [tasks for tasks, _ in noted.settling] == [2]
        assert noted.failures == [0]

    in_virtual_time(main())


def test_a_workers_load_has_what_is_being_settled_and_what_waits_for_that() -> None:
    async def main() -> None:
        world = await World.create(2, slots=2)
        send, settling = world.channel.answers.send, []

        async def slow(messages: Sequence[Message]) -> None:
            await asyncio.sleep(2.0)
            settling.append(worker.load.settling)
            await send(messages)

        world.channel.answers.send = slow  # type: ignore[method-assign]
        await world.send({"s": 0.5}, {"s": 1.0})
        worker = world.worker()
        worker.end_when_idle(5.0)
        await worker.run()
        assert settling == [2, 1]
        assert worker.load.settling == 0

    in_virtual_time(main())
