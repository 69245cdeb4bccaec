"""The meter, on the real worker in virtual time: each sum is that of what happened, at every moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from kon.core.ledger import Record
from kon.core.task import Outcome, State, Task
from kon.engine.records.events import Event, Named
from kon.engine.watchers.meter import EventMeter, Histogram
from kon.engine.worker import Load
from kon.kinds.sleep import Sleep
from kon.strategies.lease import Lease
from kon.strategies.none import NoDeduplication
from tests.engine.world import World, in_virtual_time


class Followed(EventMeter):
    """Keeps in which order it was told, and what it said after each."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.said: list[dict[str, int]] = [self.ended()]

    def tasks(self, event: Event, tasks: Named, fields: Mapping[str, Any]) -> None:
        super().tasks(event, tasks, fields)
        self.told.append(event)
        self.said.append(self.ended())

    def failed(self, outcomes: Sequence[Outcome]) -> None:
        super().failed(outcomes)
        self.told.append("failed")
        self.said.append(self.ended())


def test_a_histogram_counts_what_lies_at_or_below_its_bounds() -> None:
    histogram = Histogram((0.1, 1.0))
    histogram.add(0.1)
    histogram.add(0.5, times=1_000)
    histogram.add(2.0)
    assert histogram.buckets() == ([("0.1", 1.0), ("1.0", 1001.0), ("+Inf", 1002.0)], 502.1)


def test_no_counter_ever_shrinks() -> None:
    """Between the word that tasks have failed and that their outcomes were kept somebody may look."""
    meter, seen = EventMeter(), list[dict[str, int]]()
    failed = [Outcome(index, 1, State.FAILED, None, "x", 0.0, 1.0) for index in range(2)]
    for _ in range(2):
        seen.append(meter.ended())
        meter.failed(failed)
        seen.append(meter.ended())
        meter.tasks(Event.KEEP, Named([Task(index, None) for index in range(5)]), {})
        seen.append(meter.ended())
    assert seen[-1] == {"done": 6, "failed": 4, "dead": 0}
    for before, after in pairwise(seen):
        assert all(after[outcome] >= before[outcome] for outcome in before)


def test_what_failed_is_told_just_before_it_is_kept() -> None:
    """Or it would be counted among those that are kept next, whatever became of these."""

    async def main() -> None:
        world = await World.create(30, slots=5, attempts=2, backoff_s=0.01)
        meter = Followed()
        bodies = [{"s": 0.1, "fail": number % 3} for number in range(30)]
        tally = await world.run(bodies, world.worker(watches=[meter]))
        assert tally.counts[State.FAILED] == 10
        assert meter.ended() == {"done": 20, "failed": 10, "dead": 0}
        assert meter.count(Event.RETRY) == 20
        assert "failed" in meter.told
        for one, next_one in pairwise(meter.told):
            assert one != "failed" or next_one == Event.KEEP
        for before, after in pairwise(meter.said):
            assert all(after[outcome] >= before[outcome] for outcome in before)

    in_virtual_time(main())


def test_each_attempt_is_in_the_histogram_once_with_its_time() -> None:
    async def main() -> None:
        world = await World.create(12, slots=3, attempts=2, backoff_s=0.01)
        meter = EventMeter()
        bodies = [{"s": 0.2, "fail": 1}, *[{"s": 0.3}] * 11]
        await world.run(bodies, world.worker(watches=[meter]))
        buckets, total_s = meter.task_s.buckets()
        counts = dict(buckets)
        assert (counts["0.1"], counts["0.25"], counts["0.5"], counts["+Inf"]) == (0, 2, 13, 13)
        assert round(total_s, 6) == round(2 * 0.2 + 11 * 0.3, 6)
        settled, _ = meter.settle_s.buckets()
        assert settled[-1][1] == len({line["t"] for line in world.events("ack")})  # a line for each attempt

    in_virtual_time(main())


def test_tasks_that_run_many_at_a_time_are_in_it_as_well() -> None:
    async def main() -> None:
        world = await World.create(1_000, prefetch=50)
        meter = EventMeter()
        await world.run([0.0] * 1_000, world.worker(kind=Sleep({}), watches=[meter]))
        assert meter.task_s.buckets()[0][-1] == ("+Inf", 1_000)
        assert meter.count(Event.START) == meter.ended()["done"] == 1_000

    in_virtual_time(main())


def test_what_a_worker_has_on_its_hands() -> None:
    async def main() -> None:
        world = await World.create(6, slots=2, prefetch=4, flush_s=10.0)
        worker = world.worker(strategy=NoDeduplication)
        assert worker.load == Load(0, 0, 0, 0)
        await world.send(*[{"s": 1.0}] * 6)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            await asyncio.sleep(0.5)
            assert worker.load == Load(running=2, waiting=0, settling=0, messages=2)
            await asyncio.sleep(1.0)
            # four messages ahead of two slots may be held, of the second half of a task each
            load = worker.load
            assert (load.running, load.running + load.waiting + load.settling) == (2, load.messages)
            assert load.settling == 2
            worker.stop()
        assert worker.load == Load(0, 0, 0, 0)

    in_virtual_time(main())


def test_takeovers_are_the_claims_of_what_another_let_run_out() -> None:
    async def main() -> None:
        world = await World.create(4, slots=4, visibility_s=5.0)
        await world.send(*[{"s": 1.0}] * 4)
        meter = EventMeter()
        dead = world.worker("dead", Lease, lease_s=4.0)
        heir = world.worker("heir", Lease, lease_s=4.0, watches=[meter])
        dying = asyncio.ensure_future(dead.run())
        await asyncio.sleep(0.5)
        dying.cancel()  # it holds all four, and gives none back
        await asyncio.wait({dying})
        working = asyncio.ensure_future(heir.run())
        await asyncio.sleep(60.0)
        heir.stop()
        await working
        assert meter.ended()["done"] == 4
        assert (dead.takeovers, heir.takeovers) == (0, 4)
        assert meter.redelivered == 4

    in_virtual_time(main())


def test_of_two_who_would_take_over_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world = await World.create()
        ledger, task = world.channel.ledger, Task(0, None)
        dead, one, other = (
            Lease(ledger, name, world.clock, lease_s=1.0) for name in ("dead", "one", "other")
        )
        await dead.admit([task])
        await asyncio.sleep(2.0)
        look = ledger.insert_new

        async def slowly(records: Sequence[Record]) -> list[Record | None]:
            found = await look(records)
            await asyncio.sleep(0.1)  # both have looked before one of them acts
            return found

        monkeypatch.setattr(ledger, "insert_new", slowly)
        verdicts = await asyncio.gather(one.admit([task]), other.admit([task]))
        assert sorted(type(verdict).__name__ for [verdict] in verdicts) == ["Claim", "Defer"]
        assert one.takeovers + other.takeovers == 1

    in_virtual_time(main())


def test_a_retry_is_no_takeover_nor_is_what_was_given_back() -> None:
    async def main() -> None:
        world = await World.create(4, attempts=3, backoff_s=0.01)
        worker = world.worker(strategy=Lease)
        await world.run([{"s": 0.1, "fail": 2}] * 4, worker)
        assert world.tasks_of("retry") == [0, 1, 2, 3] * 2
        assert worker.takeovers == 0

    in_virtual_time(main())
