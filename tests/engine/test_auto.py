"""Messages whose size kon finds: what a client packs, what a worker gives back, and what may not go wrong."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import pytest

from kon.core.errors import StoreError
from kon.core.ledger import Ledger, Record
from kon.core.plugins import strategy_class
from kon.core.queue import Message
from kon.core.spec import Plugin
from kon.core.strategy import Claim
from kon.core.task import Bundle, Outcome, Segment, State, Task, decode_bundle, encode
from kon.engine.client import Client
from kon.engine.control import Control, Window
from kon.engine.give_back import GiveBack, HoldLimits, _parts
from kon.engine.layout import SegmentPages
from kon.engine.paged_ledger import PagedLedger
from kon.engine.sizing import MOST_TASKS, Sizing
from kon.engine.worker import WorkerOptions
from kon.strategies.lease import Lease
from kon.trials.prove.classes import fault_class
from kon.trials.prove.drawn import SCENARIO, play_seed
from kon.trials.prove.invariants import Invariant
from tests.engine.counted import Counted, claims, result
from tests.engine.world import Scripted, World, in_virtual_time

_Result = TypeVar("_Result")

AUTO: dict[str, Any] = {"bundle": None, "prefetch": None}
PAGED: dict[str, Any] = {**AUTO, "tasks_per_row": None}


async def messages(world: World) -> list[Bundle]:
    """Every message that is queued, received and left alone."""
    bundles: list[Bundle] = []
    while deliveries := await world.channel.tasks.receive(100, 0.0):
        bundles += [decode_bundle(delivery.body) for delivery in deliveries]
    return bundles


# --- the size of a message ---------------------------------------------------------------------------


def spec(tasks: int = 10_000, **settings: Any) -> Any:
    return asyncio.run(World.create(tasks, **{**PAGED, **settings})).spec


def took(*seconds: float) -> list[Outcome]:
    return [Outcome(at, 1, State.DONE, None, None, 0.0, each) for at, each in enumerate(seconds)]


@pytest.mark.parametrize(
    ("seconds", "slots", "size"),
    [
        (0.0, 1, 100),
        (0.001, 1, 100),
        (0.01, 1, 100),
        (0.04, 1, 25),
        (0.5, 1, 2),
        (1.0, 1, 1),
        (0.5, 16, 25),
        (60.0, 64, 1),
    ],
)
def test_a_message_holds_a_second_of_work_at_most(seconds: float, slots: int, size: int) -> None:
    sizing = Sizing(spec(slots=slots))
    sizing.learn(took(*[seconds] * 16))
    assert sizing.size(10_000) == size


def test_a_few_long_tasks_make_messages_smaller() -> None:
    sizing = Sizing(spec())
    sizing.learn(took(*[0.001] * 15, 1.0))
    assert sizing.size(10_000) == 3  # the mean alone would say 12


def test_messages_shrink_towards_the_end_but_not_below_what_a_fetch_takes() -> None:
    sizing = Sizing(spec(workers=4))
    sizing.learn(took(*[0.004] * 16))
    assert [sizing.size(left) for left in (10_000, 1_600, 800, 100)] == [100, 50, 25, 3]


def test_the_beginning_of_a_larger_run_is_packed_like_that() -> None:
    sizing = Sizing(spec(workers=4), following=100_000)
    sizing.learn(took(*[0.004] * 16))
    assert [sizing.size(left) for left in (10_000, 100)] == [100, 100]


@pytest.mark.parametrize(
    ("tasks", "workers", "slots", "size"),
    [(20, 16, 1, 2), (4_000, 64, 1, 32), (4_096, 1_024, 1, 25), (1_000_000, 4, 1, 100), (3, 1, 64, 2)],
)
def test_half_of_the_run_is_spread_over_all_workers_while_nothing_is_known(
    tasks: int, workers: int, slots: int, size: int
) -> None:
    sizing = Sizing(spec(tasks, workers=workers, slots=slots))
    assert sizing.is_blind
    assert sizing.size(tasks) == size
    assert sizing.span(tasks, size) == min(math.ceil(tasks / 2), workers * size)
    assert sizing.size(tasks - size) == 1  # more by a guess could cost money


def test_a_guess_is_made_at_once_where_it_costs_nothing() -> None:
    sizing = Sizing(spec(tasks_per_row=1))
    assert (sizing.size(10_000), sizing.is_blind) == (100, False)


@pytest.mark.parametrize(("seconds", "size"), [(0.001, 50), (0.01, 12), (0.1, 6), (1.0, 1)])
def test_messages_are_large_enough_for_the_client_to_keep_up(seconds: float, size: int) -> None:
    sizing = Sizing(spec(workers=10_000))
    sizing.learn(took(*[seconds] * 16))
    assert sizing.size(10_000) == size


def test_what_the_workload_says_needs_no_guess() -> None:
    assert not Sizing(spec(ideal_s=100.0)).is_blind
    assert Sizing(spec(ideal_s=0.0)).size(10_000) == MOST_TASKS


def test_windows_are_small_until_more_is_known() -> None:
    sizing = Sizing(spec(1_000_000))
    assert sizing.span(1_000_000, 100) == 100  # a message for the one worker, to learn from
    sizing.learn(took(0.0))
    spans = [sizing.span(1_000_000, 100) for _ in range(8)]
    assert spans == [300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 20_000]


def test_tasks_of_many_bytes_leave_room_in_a_message() -> None:
    async def main() -> None:
        world = await World.create(10, **AUTO, workers=1)
        limit = world.channel.tasks.limits.max_bytes
        await world.client().submit(["x" * (limit // 3)] * 10)
        assert {len(bundle.tasks) for bundle in await messages(world)} == {1}

    in_virtual_time(main())


# --- what a client notes -----------------------------------------------------------------------------


async def _dies(world: World, client: Client, at: object, call: str) -> None:
    """Have a client submit, and die of a call."""

    async def gone(*_: object) -> None:
        raise StoreError("gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at, call, gone)
        with pytest.raises((StoreError, ExceptionGroup)):
            await client.submit([{}] * world.spec.tasks)


async def _pages_after_a_restart() -> dict[int, set[tuple[Segment | None, int]]]:
    """By task, the pages that messages of two lives of a client name for it."""
    world = await World.create(2_000, **PAGED)
    first, second = world.client(), world.client()
    first._submitter.learn(took(*[0.02] * 16))
    second._submitter.learn(took(*[0.3] * 16))
    await _dies(world, first, Control, "submitted")
    await second.submit([{}] * 2_000)
    named: dict[int, set[tuple[Segment | None, int]]] = {}
    for bundle in await messages(world):
        for task in bundle.tasks:
            rows = bundle.segment.rows if bundle.segment else 1
            start = bundle.segment.first if bundle.segment else 0
            named.setdefault(task.index, set()).add((bundle.segment, (task.index - start) // rows))
    assert sorted(named) == list(range(2_000))
    return named


def test_a_client_that_is_started_again_divides_a_window_as_it_was() -> None:
    named = in_virtual_time(_pages_after_a_restart())
    assert all(len(pages) == 1 for pages in named.values())
    assert named[0] != named[1_999]  # beyond the window it packs by what it has learned


def test_without_the_note_a_task_would_have_two_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(control: Control) -> None:
        return None

    monkeypatch.setattr(Control, "planned", forgets)
    named = in_virtual_time(_pages_after_a_restart())
    assert any(len(pages) > 1 for pages in named.values())


def test_the_note_is_there_before_the_first_message() -> None:
    async def main() -> None:
        world = await World.create(2_000, **PAGED)
        client = world.client()
        client._submitter.learn(took(*[0.02] * 16))
        await _dies(world, client, world.channel.tasks, "send")
        assert await Control(world.channel.control).planned() == Window(0, 300, 50, 0)
        assert await Control(world.channel.control).segments() == [Segment(0, 300, 50)]

    in_virtual_time(main())


# --- rows that move ----------------------------------------------------------------------------------


def paged(below: Ledger, writer: str, *segments: Segment) -> PagedLedger:
    layout = SegmentPages()
    for segment in segments:
        layout.add(segment)
    return PagedLedger(below, writer, layout)


def test_moved_rows_are_found_by_whoever_looks_into_the_page() -> None:
    async def main() -> None:
        below, segment = Counted(), Segment(0, 20, 10)
        mine, other = paged(below, "w", segment), paged(below, "v", segment)
        await mine.insert_new(claims([3], "a"))
        assert await mine.move([3, 4, 15]) == [False, True, True]
        alone = paged(below, "u")  # as one that was told so by the message
        assert await alone.insert_new(claims([4], "b")) == [None]
        assert await other.insert_new(claims([3, 4, 5, 15], "c")) == [
            *claims([3], "a"),
            *claims([4], "b"),
            None,
            None,
        ]
        assert await alone.read([15]) == claims([15], "c")
        done = [result(key, f"{token}!", 10) for key, token in ((3, "a"), (4, "b"), (5, "c"))]
        assert await mine.replace(done, ["a", "b", "c"]) == [None] * 3
        assert await other.read([3, 4, 5]) == done
        assert await other.delete([15, 5], ["c", "c!"]) == [True, True]
        assert [row.key for row in await other.scan(0, 10)] == [3, 4]

    asyncio.run(main())


def test_a_row_of_its_own_is_never_taken_for_a_page() -> None:
    """Task 10 is the first of its page: had the page its key, its own row would lie in the page's place."""

    async def main() -> None:
        below, segment = Counted(), Segment(0, 20, 10)
        mine = paged(below, "w", segment)
        await mine.insert_new(claims([11], "a"))
        await mine.move([10])
        assert await mine.insert_new([Record(10, "b")]) == [None]
        assert await paged(below, "v", segment).read([10, 11]) == [Record(10, "b"), *claims([11], "a")]

    asyncio.run(main())


# --- giving back -------------------------------------------------------------------------------------

LONG_FIRST = [{"s": 100.0}] + [{"s": 0.001}] * 99


async def one_long(names: str = "ab", **settings: Any) -> World:
    """One task of 100 s in a message with 99 of 1 ms, and two workers."""
    world = await World.create(100, **{**AUTO, "workers": 2, **settings})
    tasks = [Task(index, body) for index, body in enumerate(LONG_FIRST)]
    segment = Segment(0, 100, 100) if world.spec.tasks_per_row is None else None
    await world.channel.tasks.send([Message(encode(Bundle("r", tasks, segment=segment)))])
    await Control(world.channel.control).submitted(100)
    group = [asyncio.create_task(world.worker(name).run()) for name in names]
    await asyncio.sleep(2.0)
    for task in group:
        task.cancel()
    await asyncio.gather(*group, return_exceptions=True)
    return world


@pytest.mark.parametrize("settings", [AUTO, PAGED])
def test_what_waits_behind_a_long_task_is_done_elsewhere(settings: dict[str, Any]) -> None:
    async def main() -> None:
        world = await one_long(**settings)
        assert sorted(outcome.index for outcome in await world.answers()) == list(range(1, 100))
        assert world.tasks_of("dead") == []
        assert sorted(set(world.tasks_of("give_back"))) == list(range(1, 100))
        assert all(line.get("n", 1) == 1 for line in world.events("deliver"))  # no receipt was counted
        assert sorted(world.tasks_of("start")) == list(range(100))

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
        group = [asyncio.create_task(world.worker(name).run()) for name in "ab"]
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


def test_what_is_received_is_not_claimed_and_no_more_than_slots_need_while_nothing_is_known() -> None:
    """A claim that a slot can't use yet costs a release, where the task takes long."""

    async def main() -> None:
        world = await World.create(50, **AUTO, slots=2)
        await world.send(*[{"s": 0.05}] * 50, bundle=True)
        worker = world.worker()
        worker.end_when_idle(1.0)
        await worker.run()
        claimed = [len(line["i"]) if "i" in line else line["r"][1] for line in world.events("claim")]
        assert claimed[0] == 2
        assert max(claimed) > 2  # once it is known how long they take

    in_virtual_time(main())


@pytest.mark.parametrize(
    ("settings", "first", "told_s"),
    [
        (PAGED, 0, 1.0),  # the client waits to hear
        (PAGED, 16 * 4, 4.0),  # sixteen messages have told it
        ({**PAGED, "ideal_s": 4.0}, 0, 4.0),  # it knows
        (AUTO, 0, 4.0),  # where rows are free it doesn't wait
    ],
)
def test_the_first_messages_tell_at_once_how_long_tasks_take(
    settings: dict[str, Any], first: int, told_s: float
) -> None:
    async def main() -> None:
        world = await World.create(100, **settings, flush_s=30.0)
        tasks = [Task(first + at, {"s": 1.0}) for at in range(4)]
        await world.channel.tasks.send([Message(encode(Bundle("r", tasks)))])
        options = WorkerOptions(hold=HoldLimits(stuck_s=60.0, beyond_s=60.0, wait_s=60.0))
        worker = world.worker(options=options)
        worker.end_when_idle(1.0)
        began_s = world.clock.now_s()
        await worker.run()
        told = [line["t"] - began_s for line in world.events("answer")]
        assert told[0] == pytest.approx(told_s, abs=0.01)
        assert len(told) <= 2  # the others are answered together

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
        give_back._releases = True

    monkeypatch.setattr(GiveBack, "__init__", releases)
    assert _lost_by_stale_reads() > 0


# --- whole runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [AUTO, PAGED])
@pytest.mark.parametrize("strategy", ["lease", "conditional_put", "none", "read_then_write", "result_once"])
def test_a_bag_of_uneven_tasks_is_done_once(settings: dict[str, Any], strategy: str) -> None:
    async def main() -> None:
        world = await World.create(600, **settings, workers=2, slots=2)
        bodies = [{"s": 20.0 if n % 97 == 5 else 0.01, "fail": n % 50 == 7, "result": n} for n in range(600)]
        workers = [world.worker(name, strategy_class(strategy)) for name in "ab"]
        tally = await world.run(bodies, *workers)
        assert tally.counts[State.DONE] == 600
        assert {index: outcome.result for index, outcome in world.recorded().items()} == dict(
            enumerate(range(600))
        )
        assert len(world.tasks_of("start")) == 612

    in_virtual_time(main())


def test_a_small_bag_is_shared_by_all_workers() -> None:
    """All 60 tasks of 2 ms are within one worker's horizon, and it would take all."""

    async def main() -> None:
        world = await World.create(60, **AUTO, workers=2)
        await world.run([{"s": 0.002}] * 60, world.worker("a"), world.worker("b"))
        assert min(len(world.tasks_of("start", name)) for name in "ab") > 20

    in_virtual_time(main())
