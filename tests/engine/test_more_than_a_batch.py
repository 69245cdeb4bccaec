"""More than one call takes, and orders that only a crash in between shows: each was a change no test saw."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from kon.core.errors import StoreError
from kon.core.journal import FileJournal, MemoryJournal, scan
from kon.core.queue import Message
from kon.core.task import Bundle, Outcome, State, Task, encode
from kon.engine.control import Control
from kon.engine.settler import SETTLE_BATCH
from strategies.none import NoDeduplication
from tests.engine.world import Scripted, World, in_virtual_time


def small_batches(world: World, most: int) -> None:
    for queue in (world.channel.tasks, world.channel.answers, world.channel.dead):
        queue.limits = msgspec.structs.replace(queue.limits, max_batch=most)


def test_the_heartbeat_extends_every_message_that_is_held() -> None:
    async def main() -> None:
        world = await World.create(25, visibility_s=6.0, slots=25)
        small_batches(world, 4)
        await world.run([{"s": 30.0}] * 25, world.worker(strategy=NoDeduplication))
        assert sorted(world.tasks_of("deliver")) == list(range(25)), "none came a second time"

    in_virtual_time(main())


def test_follow_ups_are_sent_however_many_there_are() -> None:
    async def main() -> None:
        world = await World.create(25, slots=25, backoff_s=0.1)
        small_batches(world, 4)
        tally = await world.run([{"fail": 1}] * 25, world.worker())
        assert tally.counts[State.DONE] == 25

    in_virtual_time(main())


def test_a_worker_that_stops_settles_all_that_has_ended() -> None:
    async def main() -> None:
        count = 3 * SETTLE_BATCH
        world = await World.create(count, slots=count, flush_s=50.0, visibility_s=300.0)
        await world.client().submit([{"s": 2.0}] * count)
        running = asyncio.create_task((worker := world.worker(strategy=NoDeduplication)).run())
        await asyncio.sleep(1.0)
        worker.stop()
        await running
        assert len(await world.answers()) == len(world.tasks_of("start"))
        assert len(world.tasks_of("start")) > 2 * SETTLE_BATCH
        assert (await world.channel.tasks.depth()).in_flight == 0

    in_virtual_time(main())


def test_a_bundle_of_which_a_claim_ran_out_is_not_acked() -> None:
    """One slot: the second task's claim has run out when the first one ends."""

    async def main() -> None:
        world = await World.create(2, visibility_s=500.0)
        await world.send({"s": 20.0}, {"s": 1.0}, bundle=True)
        worker = world.worker(lease_s=15.0)

        async def renews_nothing(claims: Sequence[object]) -> list[object]:
            return list(claims)

        worker._strategy.renew = renews_nothing  # type: ignore[method-assign, assignment]
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(30.0)
        worker.stop()
        await running
        assert world.tasks_of("drop") == [1]
        assert (await world.channel.tasks.depth()).total == 1, "it comes again, for the second task"

    in_virtual_time(main())


class FullDisk(MemoryJournal):
    def append(self, lines: Sequence[bytes]) -> None:
        raise StoreError("the disk is full")


def test_dead_letters_are_recorded_before_they_are_acked() -> None:
    async def main() -> None:
        world = await World.create(1)
        await Control(world.channel.control).submitted(1)
        await world.channel.dead.send([Message(encode(Bundle("r", [Task(0)])))])
        client = world.client()
        client._journal = FullDisk()
        with pytest.raises(StoreError):
            await client.collect()
        assert (await world.channel.dead.depth()).total == 1

    in_virtual_time(main())


@pytest.mark.filterwarnings("ignore:.*half a line")
def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    file = tmp_path / "j"
    file.write_bytes(b"[0]\n[1")
    journal = FileJournal(file)
    journal.append([b"[2]"])
    journal.close()
    assert list(scan(file, msgspec.json.Decoder(list[int]))) == [[0], [2]]


def test_an_outcome_that_is_refused_leaves_its_message() -> None:
    """Its claim was taken over: whoever has it answers, and this worker acks nothing."""

    async def main() -> None:
        world = await World.create(1, visibility_s=500.0)
        await world.send({"s": 20.0})
        kind = Scripted({})
        running = asyncio.create_task((worker := world.worker(lease_s=300.0, kind=kind)).run())
        await asyncio.sleep(5.0)
        [row] = await world.channel.ledger.read([0])
        assert row is not None
        await world.channel.ledger.put([msgspec.structs.replace(row, token="another:1")])
        await asyncio.sleep(30.0)
        assert world.tasks_of("refuse") == [0]
        assert await world.answers() == []
        assert (await world.channel.tasks.depth()).in_flight == 1
        worker.stop()
        await running

    in_virtual_time(main())


def test_the_tally_takes_no_worse_news() -> None:
    async def main() -> None:
        world = await World.create(1)
        tally = world.client().tally
        tally.count([Outcome(0, 1, State.DONE)])
        assert tally.count([Outcome(0, 1, State.DEAD)]) == []
        assert tally.counts[State.DONE] == 1

    in_virtual_time(main())


def test_a_bundle_that_was_split_is_gone() -> None:
    async def main() -> None:
        world = await World.create(2, visibility_s=5.0)
        await world.send({"s": 0.1}, {"s": 0.1}, bundle=True)
        await world.channel.tasks.receive(1, 0.0)  # its worker dies
        running = asyncio.create_task((worker := world.worker()).run())
        await asyncio.sleep(8.0)
        assert sorted(outcome.index for outcome in await world.answers()) == [0, 1]
        assert (await world.channel.tasks.depth()).total == 0
        worker.stop()
        await running

    in_virtual_time(main())


def test_what_goes_to_the_dead_letters_is_gone_from_the_tasks() -> None:
    async def main() -> None:
        world = await World.create(1, visibility_s=5.0, max_receives=2)
        await world.send({"s": 0.1}, receives=2)
        running = asyncio.create_task((worker := world.worker()).run())
        await asyncio.sleep(12.0)
        assert (await world.channel.dead.depth()).total == 1
        assert (await world.channel.tasks.depth()).total == 0
        worker.stop()
        await running

    in_virtual_time(main())
