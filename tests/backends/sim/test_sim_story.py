"""The trace, and the story told from it."""

from __future__ import annotations

import asyncio

import pytest

from kon.backends.sim.faults import FaultRates
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.trace import Trace, What, story, tasks_of
from kon.core.errors import BackendUnavailable
from kon.core.ledger import Record
from kon.core.task import Answers, Bundle, Outcome, State, Task, encode
from tests.backends.sim.world import World, messages, run

STORY = """\
   time s | w1                  | queue               | ledger              | w2
----------+---------------------+---------------------+---------------------+--------------------
    0.000 |                     | scenario sends      |                     |
          |                     | tasks 0-1           |                     |
          |                     | w1 receives task 0  |                     |
          |                     |                     | w1 inserts task 0:  |
          |                     |                     | claimed with token  |
          |                     |                     | w1:1                |
          |                     |                     | !! the reply is     |
          |                     |                     | lost (w1 inserts    |
          |                     |                     | task 0)             |
          | ... 2.1 s later
    2.100 |                     |                     | w1 inserts task 0:  |
          |                     |                     | refused, it is      |
          |                     |                     | claimed with token  |
          |                     |                     | w1:1                |
          | starts task 0 in    |                     |                     |
          | slot 1              |                     |                     |
          | ... 2.9 s later
    5.000 |                     | w2 receives task 1  |                     |
          |                     | w2 acks task 1:     |                     |
          |                     | deleted             |                     |
    5.500 |                     |                     |                     | crashes
"""


def _told() -> World:
    world = World(FaultRates(write_reply_lost=1.0))
    loop = SimLoop(limit_s=100.0)

    async def first() -> None:
        await world.queue.receive(1, 0.0)
        await world.ledger.insert_new([Record(0, "w1:1")])
        world.trace.add(loop.time(), What.HOST, "w1", "", "starts", [0], "in slot 1")

    async def second() -> None:
        await asyncio.sleep(5.0)
        await world.queue.ack(await world.queue.receive(1, 1.0))
        await asyncio.sleep(100.0)

    async def main() -> None:
        await world.queue.send(messages([0, 1]))
        hosts = [loop.spawn("w1", first()), loop.spawn("w2", second())]
        await asyncio.wait(hosts, timeout=5.5)
        loop.crash("w2")
        world.trace.add(loop.time(), What.HOST, "w2", "", "crashes")

    simulate(main(), loop)
    return world


def test_a_story_is_a_time_line_of_two_workers_queue_and_ledger() -> None:
    assert story(_told().trace) == STORY


def test_a_story_may_be_of_one_task_and_still_tells_of_crashes() -> None:
    told = story(_told().trace, tasks=[1], width=120)
    assert "inserts" not in told
    assert "starts task 0" not in told
    assert "w2 acks task 1: deleted" in told
    assert "crashes" in told


def test_a_story_may_be_of_other_hosts_and_wider() -> None:
    told = story(_told().trace, hosts=("w2", "w3"), width=200)
    assert "starts task 0" not in told
    assert "w1 receives task 0" in told
    assert max(map(len, told.splitlines())) in range(190, 201)


def test_columns_in_which_nothing_happens_are_left_out() -> None:
    trace = Trace()
    trace.add(1.0, What.HOST, "w1", "", "starts", [0])
    assert story(trace).splitlines()[0].split(" | ")[1:] == ["w1"]


def test_every_life_of_a_worker_is_told_in_one_column() -> None:
    trace = Trace()
    trace.add(1.0, What.HOST, "w1", "", "crashes")
    trace.add(2.0, What.HOST, "w1.2", "", "starts", [0])
    told = story(trace)
    assert told.splitlines()[0].split(" | ")[1:] == ["w1"]
    assert "(w1.2) starts task 0" in told


def test_what_happens_to_the_client_is_told_beside_the_queue() -> None:
    trace = Trace()
    trace.add(1.0, What.HOST, "w1", "", "starts", [0])
    trace.add(1.0, What.HOST, "client.2", "", "crashes")
    told = story(trace)
    assert told.splitlines()[0].split() == ["time", "s", "|", "w1", "|", "queue"]
    assert "| client.2 crashes" in told


def test_a_story_of_nothing_is_a_heading() -> None:
    assert len(story(Trace()).splitlines()) == 2


def test_an_error_that_reaches_a_host_is_told_there() -> None:
    world = World(FaultRates(error_before=1.0))
    loop = SimLoop(limit_s=100.0)

    async def main() -> None:
        with pytest.raises(BackendUnavailable):
            await loop.spawn("w1", world.ledger.put([Record(3, "t")]))

    simulate(main(), loop)
    told = story(world.trace, width=240)
    assert "puts task 3: ledger.put: no reply in 3 tries of 2 s each" in told
    assert told.count("!! the request is lost (w1 puts task 3)") == 3


def test_the_control_table_has_no_part_in_a_story() -> None:
    async def main() -> str:
        world = World()
        world.ledger.name = "control"
        await world.ledger.put([Record(3, "t")])
        return story(world.trace)

    assert "put" not in run(main())


def test_a_trace_that_is_off_keeps_nothing_and_changes_nothing() -> None:
    async def main(world: World) -> tuple[int, list[Record | None]]:
        await world.queue.send(messages([0, 1]))
        held = await world.queue.receive(10, 0.0)
        found = await world.ledger.insert_new([Record(0, "t")])
        await world.queue.ack(held)
        return len(held), found

    on, off = World(FaultRates(write_reply_lost=0.5)), World(FaultRates(write_reply_lost=0.5))
    off.network.trace = None
    assert run(main(on)) == run(main(off))
    assert off.trace.steps == []
    assert on.trace.steps


def test_a_digest_tells_traces_apart() -> None:
    first, second = Trace(), Trace()
    for trace in (first, second):
        trace.add(1.0, What.HOST, "w1", "", "starts", [1])
    assert first.digest() == second.digest()
    second.add(1.0, What.HOST, "w1", "", "ends", [1])
    assert first.digest() != second.digest()


def test_the_tasks_of_a_message_are_found_in_what_kon_sends_and_in_nothing_else() -> None:
    outcomes = [Outcome(5, 1, State.DONE), Outcome(6, 2, State.FAILED, error="no")]
    assert tasks_of(encode(Bundle("run", [Task(3), Task(4, {"a": 1}, 2)]))) == (3, 4)
    assert tasks_of(encode(Answers("w1", outcomes))) == (5, 6)
    assert tasks_of(b"\xff{") == ()
