"""Claims and rows of tasks that are given back: none is renewed, read or moved while another has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import msgspec
import pytest

from kon.core.queue import Message
from kon.core.spec import Plugin
from kon.core.strategy import Claim, Strategy
from kon.core.task import Bundle, Segment, Task, decode_bundle, encode
from kon.engine.give_back import GiveBack
from kon.engine.page import unpacked
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease
from kon.strategies.none import NoDeduplication
from kon.strategies.read_then_write import ReadThenWrite
from kon.trials.prove.classes import fault_class
from kon.trials.prove.drawn import SCENARIO, play_seed
from kon.trials.prove.scenario import Invariant
from tests.engine.auto import AUTO, LONG_FIRST, PAGED, messages, one_long, paged
from tests.engine.counted import Counted, claims
from tests.engine.world import World, in_virtual_time

_Result = TypeVar("_Result")


class Slow(Lease):
    """A lease whose renewals and releases take a while, and must not overlap."""

    under_way = 0
    overlaps = 0

    async def renew(self, claims: Sequence[Claim]) -> list[Claim | None]:
        return await self._alone(super().renew(claims))

    async def release(self, claims: Sequence[Claim]) -> None:
        await self._alone(super().release(claims))

    async def _alone(self, call: Awaitable[_Result]) -> _Result:
        Slow.overlaps += Slow.under_way
        Slow.under_way += 1
        await asyncio.sleep(0.1)
        Slow.under_way -= 1
        return await call


async def _overlaps() -> int:
    Slow.under_way = Slow.overlaps = 0
    world = await World.create(40, **AUTO, slots=2, visibility_s=0.5)
    await world.send(*[{"s": 0.01}] * 20, *[{"s": 30.0}] * 20, bundle=True)
    worker = asyncio.create_task(world.worker(strategy=Slow).run())
    await asyncio.sleep(3.0)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return Slow.overlaps


def test_claims_are_not_renewed_while_they_are_released(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_virtual_time(_overlaps()) == 0

    class NoLock:
        async def __aenter__(self) -> None: ...
        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr("kon.engine.holding.asyncio.Lock", NoLock)
    assert in_virtual_time(_overlaps()) > 0


def _lost_by_stale_reads() -> int:
    """Schedules of 20 in which read_then_write loses a task that nobody who asked for it was away from."""
    strategy = Plugin("read_then_write", {"record": "before"})
    seeds = [seed for seed in range(190) if seed // 6 % 2]
    played = [play_seed(SCENARIO, strategy, fault_class("stale_read"), seed) for seed in seeds[-20:]]
    return sum(any(each.invariant is Invariant.LOST_BY_OUTAGE for each in one.broken) for one in played)


def test_what_is_claimed_by_reading_is_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _lost_by_stale_reads() == 0
    begin = GiveBack.__init__

    def releases(give_back: GiveBack, *parts: Any) -> None:
        begin(give_back, *parts)
        give_back.releases = True

    monkeypatch.setattr(GiveBack, "__init__", releases)
    assert _lost_by_stale_reads() > 0


class SlowRelease(ConditionalPut):
    """Takes its time to let go of claims, as in an outage."""

    async def release(self, claims: Sequence[Claim]) -> None:
        await asyncio.sleep(2.0)
        await super().release(claims)


@pytest.mark.parametrize("stopped_s", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_what_is_being_given_back_when_its_worker_is_stopped_is_given_back_first(stopped_s: float) -> None:
    """The worker ended in the middle of it: claims that never run out stood, and their tasks were lost."""

    async def main() -> None:
        world = await World.create(8, **AUTO, drain_s=0.5)
        await world.send({"s": 0.1}, *[{"s": 60.0}] * 7, bundle=True)
        running = asyncio.create_task((worker := world.worker("a", SlowRelease)).run())
        await asyncio.sleep(stopped_s)
        worker.stop()
        await running
        bundles = [decode_bundle(each.body) for each in await world.channel.tasks.receive(10, 0.0)]
        assert sorted(task.index for bundle in bundles for task in bundle.tasks) == [*range(1, 8)]
        rows = await world.channel.ledger.scan(0, 100)
        assert {row.key for row in rows} == {0, 1}, "but for tasks that were begun no claim is left"

    in_virtual_time(main())


@pytest.mark.parametrize(("strategy", "writes"), [(NoDeduplication, False), (Lease, True)])
def test_a_strategy_without_rows_moves_none_as_its_tasks_are_given_back(
    strategy: type[Strategy], writes: bool
) -> None:
    """Each row that were moved is paid for, and a table of such a run may not even be there."""

    async def main() -> None:
        world = await World.create(100, **PAGED, workers=2)
        tasks = [Task(index, body) for index, body in enumerate(LONG_FIRST)]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks, segment=Segment(0, 100, 100))))])
        below = Counted()
        channel = msgspec.structs.replace(world.channel, ledger=below)
        running = asyncio.create_task((worker := world.worker("a", strategy, channel=channel)).run())
        await asyncio.sleep(2.0)
        assert sorted(world.tasks_of("give_back")) == list(range(1, 100))
        assert (below.calls.total() > 0) is writes
        worker.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    in_virtual_time(main())


def test_the_ack_of_what_was_given_back_is_recorded_with_all_its_tasks() -> None:
    """Those too that were never claimed: `kon explain` tells of each what became of its message."""

    async def main() -> None:
        world = await World.create(8, **AUTO, drain_s=0.5)
        await world.send(*[{"s": 60.0}] * 8, bundle=True)
        running = asyncio.create_task((worker := world.worker("a", ReadThenWrite)).run())
        await asyncio.sleep(2.0)
        assert sorted(world.tasks_of("give_back")) == [*range(1, 8)]
        worker.stop()
        await running
        assert sorted(world.tasks_of("ack")) == [*range(8)]

    in_virtual_time(main())


@pytest.mark.parametrize(("strategy", "goes"), [(ReadThenWrite, []), (Lease, [1, 2, 3, 4, 5, 6, 7])])
def test_what_was_claimed_while_a_give_back_waited_stays_where_a_claim_may_be_read_after_it(
    strategy: type[Strategy], goes: list[int]
) -> None:
    async def main() -> None:
        world = await World.create(8, bundle=8, drain_s=0.5)
        await world.send(*[{"s": 60.0}] * 8, bundle=True)
        running = asyncio.create_task((worker := world.worker("a", strategy)).run())
        await asyncio.sleep(1.0)
        assert worker._give_back.waiting == len(goes), "what stays is not looked after"
        await worker._give_back.back(10, 5)  # of what was parked when it began, and is claimed now
        await asyncio.sleep(0.1)
        assert world.tasks_of("give_back") == goes
        worker.stop()
        await running

    in_virtual_time(main())


def test_a_row_that_has_moved_is_looked_for_at_its_own_place_at_once() -> None:
    """By a message that named its page still, that were read first."""

    async def main() -> None:
        world = await one_long("a", **PAGED)
        again = [bundle for bundle in await messages(world) if bundle.moves]
        assert again
        assert all(bundle.segment is None for bundle in again)

    in_virtual_time(main())


def test_a_page_that_was_just_read_says_what_has_moved_though_none_of_its_rows_changes() -> None:
    async def main() -> None:
        below, segment = Counted(), Segment(0, 4, 4)
        await paged(below, "a", segment).insert_new(claims([0], "t"))
        # 9 is of no page: it has a row of its own anyway
        assert await paged(below, "b", segment).move([0, 1, 9]) == [False, True, True]
        [row] = await below.scan(0, 10)
        assert unpacked(row, 4).moved == {1}

    in_virtual_time(main())
