"""The simulated table: DynamoDB while it behaves, and each way in which it is documented not to."""

from __future__ import annotations

import asyncio

import pytest

from kon.backends.sim.faults import FaultRates, FaultSpans
from kon.backends.sim.latency import Latency
from kon.backends.sim.trace import What
from kon.core.errors import BackendUnavailable
from kon.core.ledger import Record, missing
from kon.core.task import State, attempt_key
from tests.backends.sim.world import World, run


def rows(keys: range, token: str = "t") -> list[Record]:
    return [Record(key, f"{token}{key}") for key in keys]


def test_an_insert_is_refused_where_there_is_a_row() -> None:
    async def main() -> None:
        ledger = World().ledger
        assert await ledger.insert_new(rows(range(3))) == [None, None, None]
        assert await ledger.insert_new(rows(range(2, 5), "u")) == [Record(2, "t2"), None, None]
        assert await ledger.read([4, 9, 2]) == [Record(4, "u4"), None, Record(2, "t2")]

    run(main())


def test_a_replacement_needs_the_token() -> None:
    async def main() -> None:
        ledger = World().ledger
        await ledger.insert_new(rows(range(2)))
        new = [Record(key, "new", State.DONE) for key in range(3)]
        assert await ledger.replace(new, ["t0", "wrong", "t2"]) == [None, Record(1, "t1"), missing(2)]
        assert await ledger.read(range(3)) == [new[0], Record(1, "t1"), None]

    run(main())


def test_put_and_delete() -> None:
    async def main() -> None:
        ledger = World().ledger
        await ledger.put(rows(range(3)))
        await ledger.put(rows(range(1), "u"))
        assert await ledger.delete([0, 1, 7], ["t0", "t1", "t7"]) == [False, True, False]
        assert await ledger.scan(0, 10) == [Record(0, "u0"), Record(2, "t2")]
        assert await ledger.scan(1, 10) == [Record(2, "t2")]
        assert await ledger.scan(0, 1) == [Record(0, "u0")]

    run(main())


def test_a_long_call_goes_out_in_requests_of_a_batch_each() -> None:
    async def main() -> int:
        world = World()
        await world.ledger.insert_new(rows(range(60)))
        assert await world.ledger.read(range(60)) == list(rows(range(60)))
        assert await world.ledger.insert_new([]) == []
        return world.network.requests

    assert run(main()) == 6


def test_each_item_needs_a_token() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="2 items and 1 tokens"):
            await World().ledger.replace(rows(range(2)), ["t0"])
        with pytest.raises(ValueError, match="2 items and 1 tokens"):
            await World().ledger.delete([1, 2], ["t1"])

    run(main())


@pytest.mark.parametrize("op", ["insert_new", "replace", "put", "delete"])
def test_a_writes_reply_is_lost_and_its_repeat_meets_its_own_record(op: str) -> None:
    async def main() -> None:
        world = World(FaultRates(write_reply_lost=1.0))
        world.ledger.rows[1] = Record(1, "old")
        if op == "insert_new":
            assert await world.ledger.insert_new([Record(2, "mine")]) == [Record(2, "mine")]
        elif op == "replace":
            assert await world.ledger.replace([Record(1, "mine")], ["old"]) == [Record(1, "mine")]
        elif op == "put":
            await world.ledger.put([Record(1, "mine")])
            assert world.ledger.rows == {1: Record(1, "mine")}
        else:
            assert await world.ledger.delete([1], ["old"]) == [False]
            assert world.ledger.rows == {}
        assert world.network.requests == 2

    run(main())


def test_a_repeat_may_meet_what_another_wrote_in_the_meantime() -> None:
    async def main() -> None:
        world = World(FaultRates(write_reply_lost=1.0))
        world.ledger.rows[1] = Record(1, "old")
        slow = asyncio.create_task(world.ledger.replace([Record(1, "mine")], ["old"]))
        await asyncio.sleep(0.5)
        assert world.ledger.rows[1].token == "mine"
        world.ledger.rows[1] = Record(1, "theirs")
        assert await slow == [Record(1, "theirs")]

    run(main())


def test_a_read_may_be_stale_for_a_while_and_says_so() -> None:
    async def main() -> None:
        world = World(FaultRates(stale_read=1.0), spans=FaultSpans(stale_s=2.0))
        assert world.ledger.stale_reads
        await asyncio.sleep(10.0)
        await world.ledger.insert_new([Record(1, "first")])
        assert await world.ledger.read([1]) == [None]
        await asyncio.sleep(2.1)
        await world.ledger.put([Record(1, "second")])
        assert await world.ledger.read([1]) == [Record(1, "first")]
        # what a refused write finds is never stale
        assert await world.ledger.insert_new([Record(1, "third")]) == [Record(1, "second")]
        await asyncio.sleep(2.1)
        assert await world.ledger.read([1]) == [Record(1, "second")]
        await world.ledger.delete([1], ["second"])
        assert await world.ledger.read([1]) == [Record(1, "second")]

    run(main())
    assert not World().ledger.stale_reads


def test_throttled_items_are_tried_again_while_the_others_went_through() -> None:
    async def main() -> None:
        world = World(FaultRates(throttle=0.5))
        call = asyncio.create_task(world.ledger.insert_new(rows(range(20))))
        await asyncio.sleep(0.05)
        assert 0 < len(world.ledger.rows) < 20
        assert await call == [None] * 20
        assert len(world.ledger.rows) == 20
        assert world.network.requests > 2

    run(main())


def test_verdicts_stand_in_order_however_often_an_item_was_throttled() -> None:
    async def main() -> None:
        world = World(FaultRates(throttle=0.5))
        world.ledger.rows.update({key: Record(key, "old") for key in range(0, 60, 2)})
        found = await world.ledger.insert_new(rows(range(60)))
        assert found == [Record(key, "old") if key % 2 == 0 else None for key in range(60)]

    run(main())


def test_an_item_that_is_throttled_for_ever_is_an_error() -> None:
    async def main() -> None:
        with pytest.raises(BackendUnavailable, match="25 of 25 items were throttled 10 times"):
            await World(FaultRates(throttle=1.0)).ledger.insert_new(rows(range(60)))

    run(main())


def test_the_trace_names_the_task_of_a_later_attempt() -> None:
    async def main() -> None:
        world = World()
        await world.ledger.insert_new([Record(attempt_key(7, 3), "t")])
        effects = [step for step in world.trace.steps if step.what is What.EFFECT]
        assert [(step.tasks, step.note) for step in effects] == [((7,), "written: claimed with token t")]

    run(main())


def test_a_row_takes_a_unit_for_each_kilobyte() -> None:
    taken: list[int] = []

    class Units(Latency):
        def delay_s(self, call: str, service: str, items: int, now_s: float) -> float:
            taken.append(items)
            return 0.0

    async def main() -> None:
        ledger = World(latency=Units()).ledger
        large = [Record(1, "t", outcome=bytes(1_000)), Record(2, "t", outcome=bytes(2_100)), Record(3, "t")]
        await ledger.insert_new(large)
        await ledger.replace([Record(2, "u")], ["t"])
        await ledger.put([Record(4, "t", outcome=bytes(5_000))])

    run(main())
    assert taken == [5, 1, 5]


def test_the_trace_names_the_tasks_of_a_page() -> None:
    async def main() -> None:
        world = World()
        world.ledger.tasks_per_row = 3
        await world.ledger.insert_new([Record(2, "page"), Record(1 << 52, "an outcome")])
        effects = [step for step in world.trace.steps if step.what is What.EFFECT]
        assert [step.tasks for step in effects] == [(6, 7, 8), ()]

    run(main())
