"""A worker from its start to its end: what it takes, what it gives back, and what it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kon.backends.memory.backend import MemoryLedger
from kon.core.ledger import Record
from kon.core.strategy import Strategy
from kon.core.task import Outcome, State
from kon.engine.control import Control, Status
from kon.engine.worker import WorkerOptions
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease
from kon.strategies.none import NoDeduplication
from tests.engine.world import Scripted, World, in_virtual_time


def test_a_bag_is_run_to_the_end_by_several_workers() -> None:
    async def main() -> None:
        world = await World.create(100, slots=2)
        tally = await world.run([{"s": 0.1, "result": n} for n in range(100)], *map(world.worker, "abc"))
        assert tally.counts[State.DONE] == 100
        assert {index: outcome.result for index, outcome in world.recorded().items()} == {
            n: n for n in range(100)
        }
        assert sorted(world.tasks_of("start")) == list(range(100))
        assert (await world.channel.tasks.depth()).total == 0

    in_virtual_time(main())


def test_a_failed_attempt_is_made_again_with_growing_pauses() -> None:
    async def main() -> None:
        world = await World.create(1, attempts=3, backoff_s=10.0)
        kind = Scripted({})
        await world.run([{"fail": 2, "result": "at last"}], world.worker(kind=kind))
        assert [attempt.number for attempt in kind.attempts] == [1, 2, 3]
        first, second, third = (line["t"] for line in world.events("start"))
        assert 5.0 <= second - first <= 11.0
        assert 10.0 <= third - second <= 21.0
        assert world.recorded()[0].result == "at last"
        assert world.recorded()[0].attempt == 3

    in_virtual_time(main())


def test_the_last_failed_attempt_makes_a_failed_task() -> None:
    async def main() -> None:
        world = await World.create(1, attempts=2)
        tally = await world.run([{"fail": 9}], world.worker())
        assert tally.counts[State.FAILED] == 1
        assert world.recorded()[0].error == "ValueError: attempt 2 fails"

    in_virtual_time(main())


def test_each_claim_is_recorded_with_its_own_token() -> None:
    """One batch may have claims under two: those that are new, and those that were taken over."""

    async def main() -> None:
        world = await World.create(2, slots=2)
        ledger = world.channel.ledger
        await ledger.insert_new([Record(0, "other:1", owner="other", expires_s=world.clock.now_s() - 60)])
        await world.send({"s": 1.0}, {"s": 1.0}, bundle=True)
        worker = world.worker()
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.5)
        standing = {row.key: row.token for row in await ledger.read([0, 1]) if row is not None}
        worker.stop()
        await running
        claims = {tuple(line.get("i") or [line["r"][0]]): line["token"] for line in world.events("claim")}
        assert claims == {(0,): standing[0], (1,): standing[1]}
        assert len(set(claims.values())) == 2

    in_virtual_time(main())


def test_an_attempt_that_takes_too_long_is_stopped() -> None:
    async def main() -> None:
        world = await World.create(1, attempts=1, timeout_s=5.0)
        await world.run([{"s": 100.0}], world.worker())
        assert world.recorded()[0].error == "timed out after 5.0 s"
        assert world.recorded()[0].ended_s - world.recorded()[0].started_s == 5.0

    in_virtual_time(main())


def test_a_result_that_does_not_fit_into_a_message_fails_its_task_alone() -> None:
    async def main() -> None:
        world = await World.create(2, attempts=1)
        limit = world.channel.answers.limits.max_bytes
        await world.run([{"size": limit}, {"result": "ok"}], world.worker())
        assert "bytes, and" in str(world.recorded()[0].error)
        assert world.recorded()[1].result == "ok"

    in_virtual_time(main())


def test_a_result_that_does_not_fit_into_a_row_fails_its_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryLedger, "max_outcome_bytes", 2_000)

    async def main(strategy: type[Strategy]) -> dict[int, Outcome]:
        world = await World.create(2, attempts=1)
        await world.run([{"size": 2_000}, {"result": "ok"}], world.worker(strategy=strategy))
        assert world.recorded()[1].result == "ok"
        return world.recorded()

    assert "2000 are allowed" in str(in_virtual_time(main(Lease))[0].error)
    assert in_virtual_time(main(NoDeduplication))[0].error is None


def test_a_result_that_is_not_json_fails_its_task_alone() -> None:
    async def main() -> None:
        world = await World.create(2, attempts=1)
        await world.run([{"odd": True}, {"result": "ok"}], world.worker())
        assert "not a JSON value" in str(world.recorded()[0].error)
        assert world.recorded()[1].result == "ok"

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("bytes", "ValueError: caf\\udce9: no such picture"),
        ("kind's bytes", "caf\\udce9: no such picture"),
        ("no words", "Unspeakable: (an exception that can't be shown as text)"),
    ],
)
def test_a_failure_that_can_not_be_written_down_fails_its_task_alone(what: str, error: str) -> None:
    async def main() -> None:
        world = await World.create(2, attempts=1)
        await world.run([{"raise": what}, {"result": "ok"}], world.worker())
        assert world.recorded()[0].error == error
        assert world.recorded()[1].result == "ok"

    in_virtual_time(main())


def test_the_heartbeat_keeps_a_task_that_outlasts_the_visibility_timeout() -> None:
    async def main() -> None:
        world = await World.create(1, visibility_s=6.0)
        workers = [world.worker(name, lease_s=6.0) for name in "ab"]
        await world.run([{"s": 100.0}], *workers)
        assert world.tasks_of("start") == [0]
        assert world.tasks_of("deliver") == [0]
        assert len(world.events("renew")) >= 40

    in_virtual_time(main())


def test_without_its_heartbeat_that_task_is_started_twice() -> None:
    async def main() -> None:
        world = await World.create(1, visibility_s=6.0)
        never = WorkerOptions(heartbeat_s=1e6)
        workers = [world.worker("a", lease_s=6.0, options=never), world.worker("b", lease_s=6.0)]
        await world.run([{"s": 10.0}], *workers)
        assert world.tasks_of("start") == [0, 0]
        assert world.tasks_of("keep") == [0], "and still only one of them is kept"

    in_virtual_time(main())


def test_a_stopped_worker_finishes_what_runs_and_gives_back_the_rest() -> None:
    async def main() -> None:
        world = await World.create(12, prefetch=8)
        worker = world.worker(strategy=ConditionalPut)
        await world.send(*[{"s": 0.05}] * 4, *[{"s": 5.0}] * 8)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(1.0)
        worker.stop()
        await running
        started, back = world.tasks_of("start"), world.tasks_of("give_back")
        assert sorted(started) == sorted(outcome.index for outcome in await world.answers())
        assert sorted(world.tasks_of("ack")) == sorted(started + back)
        assert back, "it held some ahead of its slot"
        depth = await world.channel.tasks.depth()
        assert depth.visible == depth.total == 12 - len(started)
        # their claims were given back too: another worker may start them
        other = world.worker("w2", ConditionalPut)
        tally_of = asyncio.create_task(other.run())
        await asyncio.sleep(60.0)
        other.stop()
        await tally_of
        assert sorted(started + world.tasks_of("start", "w2")) == list(range(12))

    in_virtual_time(main())


def test_an_idle_worker_ends_by_itself() -> None:
    async def main() -> None:
        world = await World.create(1, idle_s=10.0)
        await world.send({"s": 30.0})
        await world.worker().run()
        assert 40.0 <= asyncio.get_running_loop().time() < 45.0
        assert [outcome.state for outcome in await world.answers()] == [State.DONE]

    in_virtual_time(main())


def test_a_worker_ends_when_the_run_is_closed_or_cancelled() -> None:
    async def main(status: Status) -> None:
        world = await World.create(1)
        running = asyncio.create_task(world.worker().run())
        await asyncio.sleep(5.0)
        assert not running.done()
        await Control(world.channel.control).close(status)
        await asyncio.wait_for(running, 30.0)

    in_virtual_time(main(Status.CLOSED))
    in_virtual_time(main(Status.CANCELLED))


def test_prefetch_is_held_back_where_tasks_are_long() -> None:
    async def main() -> None:
        world = await World.create(20, prefetch=10)
        await world.send(*[{"s": 10.0}] * 20)
        worker = world.worker()
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(55.0)
        # a worker that held ten more would keep them from idle ones for 100 s
        assert len(world.tasks_of("deliver")) <= 7
        worker.stop()
        await running

    in_virtual_time(main())


def test_a_long_wait_for_the_first_message_makes_nobody_hoard() -> None:
    async def main() -> None:
        world = await World.create(20, prefetch=10)
        worker = world.worker(options=WorkerOptions(wait_s=20.0))
        running = asyncio.create_task(worker.run())
        for _ in range(5):
            await asyncio.sleep(15.0)
            await world.send({"s": 1.0})
        await world.send(*[{"s": 1.0}] * 10)
        await asyncio.sleep(2.5)
        assert (await world.channel.tasks.depth()).in_flight <= 2, "what it holds ahead, idle ones can't have"
        worker.stop()
        await running

    in_virtual_time(main())


def test_slots_are_used_at_once() -> None:
    async def main() -> None:
        world = await World.create(40, slots=20)
        await world.run([{"s": 1.0}] * 40, world.worker())
        assert asyncio.get_running_loop().time() < 4.0

    in_virtual_time(main())


def test_an_unreadable_message_goes_to_the_dead_letter_queue() -> None:
    async def main() -> None:
        from kon.core.queue import Message

        world = await World.create(1, visibility_s=1.0, max_receives=3)
        await world.channel.tasks.send([Message(b"not ours")])
        await world.send({"result": 1})
        worker = world.worker(lease_s=1.0)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(30.0)
        worker.stop()
        await running
        (letter,) = await world.channel.dead.receive(10, 0.0)
        assert letter.body == b"not ours"
        assert [outcome.result for outcome in await world.answers()] == [1]
        assert world.events("trouble")

    in_virtual_time(main())


def test_a_message_received_too_often_is_dead_also_over_its_replacements() -> None:
    async def main() -> None:
        world = await World.create(1, max_receives=5)
        await world.send({}, receives=5)
        worker = world.worker(strategy=NoDeduplication)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(5.0)
        worker.stop()
        await running
        assert world.tasks_of("start") == []
        assert world.tasks_of("dead") == [0]
        assert (await world.channel.dead.depth()).visible == 1

    in_virtual_time(main())


def test_each_delivery_is_recorded_once_with_its_receipts() -> None:
    """One message comes a second time, and is claimed together with one that comes for the first."""

    async def main() -> None:
        world = await World.create(2, visibility_s=10.0, slots=2)
        await world.send({}, {})
        await world.channel.tasks.receive(1, 0.0)  # by a worker that died
        await asyncio.sleep(11.0)
        worker = world.worker()
        worker.end_when_idle(1.0)
        await worker.run()
        delivered = {index: line.get("n", 1) for line in world.events("deliver") for index in _named(line)}
        assert delivered == {0: 2, 1: 1}
        assert sorted(world.tasks_of("deliver")) == [0, 1]

    in_virtual_time(main())


def _named(line: dict[str, Any]) -> Sequence[int]:
    first, count = line.get("r", (0, 0))
    return line.get("i") or range(first, first + count)


def test_a_redelivered_bundle_goes_on_as_single_messages() -> None:
    async def main() -> None:
        world = await World.create(3, bundle=3)
        await world.send({}, {}, {}, bundle=True)
        (delivery,) = await world.channel.tasks.receive(1, 0.0)  # a worker that dies at once
        await world.channel.tasks.extend([delivery], 0)
        worker = world.worker(strategy=NoDeduplication)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(5.0)
        worker.stop()
        await running
        assert sorted(world.tasks_of("start")) == [0, 1, 2]
        assert len(world.events("deliver")) >= 2
        assert (await world.channel.tasks.depth()).total == 0

    in_virtual_time(main())


def test_deferral_waits_for_the_holder_and_counts_no_receipt() -> None:
    async def main() -> None:
        world = await World.create(1, visibility_s=30.0, max_receives=2)
        body: Any = {"s": 500.0}
        await world.send(body)
        first = asyncio.create_task((a := world.worker("a", lease_s=30.0)).run())
        await asyncio.sleep(1.0)
        await world.send(body)  # the same task a second time, while the first copy runs
        second = asyncio.create_task((b := world.worker("b", lease_s=30.0)).run())
        await asyncio.sleep(700.0)
        a.stop()
        b.stop()
        await asyncio.wait({first, second})
        assert len(world.tasks_of("defer")) > 2, "more often than a message may be received"
        assert world.tasks_of("start") == [0]
        assert (await world.channel.dead.depth()).total == 0
        assert {outcome.state for outcome in await world.answers()} == {State.DONE}
        assert (await world.channel.tasks.depth()).total == 0

    in_virtual_time(main())
