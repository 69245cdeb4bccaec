"""What a client promises across its own lives: of rounds that run tasks again, and of a run that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from kon.core.journal import MemoryJournal
from kon.core.ledger import Record
from kon.core.queue import Delivery, Depth, Message
from kon.core.task import Answers, Bundle, Outcome, State, Task, decode_bundle, encode
from kon.engine.control import Control, Status, WorkerState
from tests.engine.world import World, in_virtual_time


async def _answer(world: World, *outcomes: Outcome, delay_s: float = 0.0) -> None:
    await world.channel.answers.send([Message(encode(Answers("w", list(outcomes))), delay_s)])


def test_a_client_that_is_started_again_in_a_later_round_knows_what_failed_in_it() -> None:
    async def main() -> None:
        world = await World.create(4)
        client = world.client(first_attempt=3)
        states = [(2, State.FAILED), (3, State.FAILED), (4, State.FAILED), (1, State.DONE)]
        client.recall([Outcome(index, attempt, state) for index, (attempt, state) in enumerate(states)])
        assert list(client.tally.unaccounted()) == [0]

    in_virtual_time(main())


@pytest.mark.parametrize("says", ["answer", "dead letter"])
def test_what_is_said_late_of_an_attempt_of_an_earlier_round_does_not_count_in_the_next_one(
    says: str,
) -> None:
    async def main() -> None:
        world = await World.create(2)
        await Control(world.channel.control).submitted(2)
        if says == "answer":
            await _answer(world, Outcome(0, 1, State.FAILED), Outcome(1, 1, State.DONE, "late"))
        else:
            await world.channel.dead.send([Message(encode(Bundle("r", [Task(0, {}, 1)])))])
            await _answer(world, Outcome(1, 1, State.DONE, "late"))
        await _answer(world, Outcome(0, 2, State.DONE, "again"), delay_s=3.0)
        tally = await world.client(first_attempt=2).collect()
        assert tally.counts[State.DONE] == 2
        packets = [msgspec.json.decode(line, type=Answers) for line in world.results.lines]
        assert [(o.index, o.result) for packet in packets for o in packet.outcomes] == [
            (1, "late"),
            (0, "again"),
        ]

    in_virtual_time(main())


def test_answers_that_are_all_repeats_leave_no_line() -> None:
    async def main() -> None:
        world = await World.create(2)
        for _ in range(2):
            await _answer(world, Outcome(0, 1, State.DONE))
        await world.channel.dead.send([Message(encode(Bundle("r", [Task(0, {})])))])
        await _answer(world, Outcome(1, 1, State.DONE), delay_s=3.0)
        await world.client().collect()
        assert len(world.results.lines) == 2

    in_virtual_time(main())


def test_a_task_that_is_not_queued_yet_is_not_lost_however_quiet_its_queue_is() -> None:
    async def main() -> None:
        world = await World.create(2)
        client = world.client()
        collecting = asyncio.create_task(client.collect())
        await asyncio.sleep(1_000.0)
        assert client.tally.left == 2
        await client.submit([{}] * 2)
        await _answer(world, Outcome(0, 1, State.DONE), Outcome(1, 1, State.DONE))
        assert (await collecting).counts[State.DONE] == 2

    in_virtual_time(main())


def test_an_answer_begins_the_wait_for_quiet_again_where_depths_are_estimates() -> None:
    """The task of the second answer was in no depth all the time."""

    async def main() -> None:
        world = await World.create(3)
        tasks = world.channel.tasks
        tasks.limits = msgspec.structs.replace(tasks.limits, stale_depth=True, depth_lag_s=60.0)
        await Control(world.channel.control).submitted(3)

        async def nothing() -> Depth:
            return Depth(0, 0, 0)

        for queue in (world.channel.answers, world.channel.dead):
            queue.depth = nothing  # type: ignore[method-assign]
        await world.channel.dead.send([Message(encode(Bundle("r", [Task(2, {})])), delay_s=50.0)])
        await _answer(world, Outcome(0, 1, State.DONE), delay_s=50.0)
        await _answer(world, Outcome(1, 1, State.DONE), delay_s=100.0)
        tally = await world.client().collect()
        assert (tally.counts[State.DONE], tally.counts[State.DEAD]) == (2, 1)

    in_virtual_time(main())


def test_once_a_claim_kept_it_from_judging_it_asks_again_who_holds_a_message() -> None:
    """A worker that held none before may have received one since, which an estimated depth does not show."""

    async def main() -> None:
        world = await World.create(1)
        tasks, control = world.channel.tasks, Control(world.channel.control)
        tasks.limits = msgspec.structs.replace(tasks.limits, stale_depth=True, depth_lag_s=60.0)
        await control.submitted(1)
        claim = Record(0, "a", owner="dead", expires_s=world.clock.now_s() + 100.0)
        await world.channel.ledger.insert_new([claim])
        collecting = asyncio.create_task(world.client().collect())
        answered = holds = 0
        for _ in range(280):
            await asyncio.sleep(1.0)
            if (roll := (await control.read()).roll) > answered:
                await control.say(1 << 40, WorkerState("w", roll=roll, holds=holds))
                answered, holds = roll, 1
        await _answer(world, Outcome(0, 1, State.DONE))
        assert (await collecting).counts[State.DONE] == 1

    in_virtual_time(main())


class _Durable(MemoryJournal):
    """waited: how many lines somebody waited for, and `always`: of those, whatever the durability."""

    waited = 0

    async def on_disk(self, always: bool = False) -> None:
        await super().on_disk(always)
        self.waited = len(self.lines)


def test_all_that_the_client_itself_records_is_on_disk_when_it_says_that_the_run_is_over() -> None:
    async def main() -> None:
        world = await World.create(2)
        world.results = _Durable()
        await Control(world.channel.control).submitted(2)
        tally = await world.client().collect()
        assert tally.counts[State.LOST] == 2
        assert world.results.waited == len(world.results.lines) == 1

    in_virtual_time(main())


def test_a_dead_letter_is_on_disk_before_it_is_acked_as_no_ledger_knows_of_it() -> None:
    async def main() -> None:
        world = await World.create(1)
        await Control(world.channel.control).submitted(1)
        dead = world.channel.dead
        await dead.send([Message(encode(Bundle("r", [Task(0, {})])))])
        ack, on_disk = dead.ack, []

        async def noting(deliveries: Sequence[Delivery]) -> list[bool]:
            on_disk.append(world.results.lines_on_disk)
            return await ack(deliveries)

        dead.ack = noting  # type: ignore[method-assign]
        await world.client().collect()
        assert on_disk == [1]

    in_virtual_time(main())


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.PAUSED])
def test_a_run_that_somebody_has_ended_stays_so(status: Status) -> None:
    async def main() -> None:
        world = await World.create(1)
        control = Control(world.channel.control)
        await control.close(status)
        await world.client().close()
        assert (await control.read()).status is status

    in_virtual_time(main())


@pytest.mark.parametrize("denied", [1, 2])
def test_a_task_of_two_dead_letters_is_queued_again_once_and_is_not_dead(denied: int) -> None:
    async def main() -> None:
        world = await World.create(2)
        control = Control(world.channel.control)
        await control.submitted(2)
        for number in range(denied):
            await control.say((1 << 40) + number, WorkerState(f"w{number}", gone=True, denied="s3:PutObject"))
        task = Task(0, {})
        moves = 3
        await world.channel.dead.send([Message(encode(Bundle("r", [task], moves=moves))) for _ in range(2)])
        client = world.client()
        collecting = asyncio.create_task(client.collect())
        await asyncio.sleep(30.0)
        assert client.tally.counts[State.DEAD] == 0
        [again] = await world.channel.tasks.receive(10, 0.0)
        bundle = decode_bundle(again.body)
        assert (bundle.tasks, bundle.receives) == ([task], 0)
        assert bundle.moves > moves, "a FIFO queue would drop what it has had before"
        await _answer(world, Outcome(0, 1, State.DONE), Outcome(1, 1, State.DONE))
        await collecting

    in_virtual_time(main())


def test_a_run_that_is_given_up_queues_no_more_tasks() -> None:
    async def main() -> None:
        world = await World.create(100_000)
        send, asked = world.channel.tasks.send, 0

        async def slow(messages: Sequence[Message]) -> None:
            await asyncio.sleep(1.0)
            await send(messages)

        def bodies() -> Iterator[None]:
            nonlocal asked
            for asked in range(100_000):  # noqa: B007 - how far it came
                yield None

        world.channel.tasks.send = slow  # type: ignore[method-assign]
        running = asyncio.create_task(world.client().run(bodies()))
        await asyncio.sleep(10.0)
        await Control(world.channel.control).close(Status.CANCELLED)
        tally = await running
        assert tally.counts[State.CANCELLED] == 100_000
        assert asked < 80_000

    in_virtual_time(main())
