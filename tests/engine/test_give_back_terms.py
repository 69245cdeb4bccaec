"""How long tasks may wait in a worker: each term of that rule has a run in which it matters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kon.core.queue import Message
from kon.core.task import Bundle, State, Task, decode_bundle, encode
from kon.engine.give_back import GiveBack, HoldLimits
from kon.engine.worker import WorkerOptions
from tests.engine.test_give_back import Gated
from tests.engine.world import World, in_virtual_time

AUTO: dict[str, Any] = {"bundle": None, "prefetch": None}


async def _work(
    *seconds: float,
    workers: int = 1,
    bundle: int = 25,
    receive_s: float = 0.0,
    run_of: int = 0,
    hold: HoldLimits | None = None,
    for_s: float = 60.0,
) -> list[int]:
    """Sizes of the messages that one worker sends back, of a run with these tasks.

    workers: those that the run is for. receive_s: how long a receive takes. run_of: tasks of the run, if
    more.
    """
    world = await World.create(run_of or len(seconds), **AUTO, workers=workers)
    tasks = [Task(index, {"s": each}) for index, each in enumerate(seconds)]
    parts = [tasks[at : at + bundle] for at in range(0, len(tasks), bundle)]
    await world.channel.tasks.send([Message(encode(Bundle("r", part))) for part in parts])
    sent: list[int] = []
    receive, send = world.channel.tasks.receive, world.channel.tasks.send

    async def slow(wanted: int, wait_s: float) -> Any:
        await asyncio.sleep(receive_s)
        return await receive(wanted, wait_s)

    async def noted(messages: Sequence[Message]) -> None:
        sent.extend(len(decode_bundle(message.body).tasks) for message in messages)
        await send(messages)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.channel.tasks, "receive", slow)
        patch.setattr(world.channel.tasks, "send", noted)
        options = WorkerOptions() if hold is None else WorkerOptions(hold=hold)
        worker = asyncio.create_task(world.worker(options=options).run())
        await asyncio.sleep(for_s)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    if for_s == 60.0:
        done = [outcome for outcome in await world.answers() if outcome.state is State.DONE]
        assert len({outcome.index for outcome in done}) == len(seconds)
    return sent


def test_where_the_queue_is_slow_tasks_wait_for_as_long_as_it_takes_to_bring_them() -> None:
    """A round trip of 1.2 s is no shorter for another worker than the rest of a task of 0.6 s here."""
    bodies = [*[0.01] * 1_500, 0.6, *[0.01] * 500]
    assert in_virtual_time(_work(*bodies, receive_s=0.3)) == []


def test_in_a_long_run_what_is_a_little_longer_stays() -> None:
    """0.2 s of work wait ahead of the slot. A short run would end late by that; this one takes 8 s."""
    assert in_virtual_time(_work(*[0.0025] * 1_500, *[0.01] * 500)) == []


def test_in_a_long_run_what_is_beyond_a_worker_s_share_waits_for_a_moment() -> None:
    """Elsewhere it may begin 0.1 s sooner, for the price of a message; that is little in a run of 6 s."""
    bodies = [*[0.003] * 1_500, 0.1, *[0.003] * 400]
    assert in_virtual_time(_work(*bodies, workers=2, run_of=2_000)) == []


def test_in_a_short_run_what_goes_back_is_in_small_messages() -> None:
    """Each of 50 workers has four tasks of a millisecond: 0.2 s of work in a message would be too much."""
    sent = in_virtual_time(
        _work(*[0.001] * 100, workers=50, bundle=100, run_of=200, hold=HoldLimits(wait_s=0.05), for_s=0.0505)
    )
    assert max(sent) == 20


def test_what_went_back_is_not_taken_again_and_again_before_another_task_starts() -> None:
    """The last task waits behind one of 2 s. A receive that was under way may bring it once more."""
    sent = in_virtual_time(_work(*[0.003] * 60, 2.0, 0.003, workers=4, receive_s=0.002))
    assert sent in ([1], [1, 1])


@pytest.mark.parametrize("bundle", [25, 100])
def test_in_a_short_run_tasks_go_back_that_are_longer_than_the_client_knew(bundle: int) -> None:
    """What waits is 0.1 s of work and more, in a run of 0.5 s."""
    sent = in_virtual_time(_work(*[0.001] * 60, *[0.01] * 40, bundle=bundle))
    assert sent
    assert max(sent) <= 5


@pytest.mark.parametrize("bundle", [25, 100])
def test_in_a_short_run_tasks_stay_that_are_as_long_as_all(bundle: int) -> None:
    assert in_virtual_time(_work(*[0.01] * 100, bundle=bundle)) == []


def test_what_waits_goes_back_as_soon_as_no_slot_has_become_free_for_long_enough() -> None:
    """However far into that time the look falls: the task of 50 s starts at 0.1 s, between two looks."""
    bodies = [0.1, 50.0, *[0.1] * 5]
    assert in_virtual_time(_work(*bodies, run_of=1_000, for_s=0.39)) == []
    assert sum(in_virtual_time(_work(*bodies, run_of=1_000, for_s=0.42))) == 5


async def _looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When it is asked how many tasks wait; all of them do, as only the first may start."""
    looks: list[float] = []
    waiting = GiveBack.waiting.fget  # type: ignore[attr-defined]

    def noted(give_back: GiveBack) -> int:
        looks.append(asyncio.get_running_loop().time())
        return int(waiting(give_back))

    monkeypatch.setattr(GiveBack, "waiting", property(noted))
    world = await World.create(40, **AUTO)
    await world.send(*[{"s": 0.01}] * 40, bundle=True)
    worker = asyncio.create_task(world.worker(kind=Gated({})).run())
    await asyncio.sleep(30.0)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return looks


def test_while_a_slot_is_free_it_looks_no_sooner_than_a_task_may_have_waited_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a machine is short of memory for minutes, a hundred looks a second would be for nothing."""
    looks = set(in_virtual_time(_looks(monkeypatch)))
    assert 10 < len(looks) < 40 / HoldLimits().stuck_s


def test_where_what_waits_is_just_what_is_kept_the_worker_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """48 * 0.00625 / 3 is more than 0.1 by its last bit, and 3 * 0.1 / 0.00625 is 48 all the same."""
    back, counts = GiveBack.back, []

    async def noted(give_back: GiveBack, count: int, part: int) -> None:
        counts.append(count)
        assert len(counts) < 1_000, "it looks again and again, and nothing else gets its turn"
        await back(give_back, count, part)

    monkeypatch.setattr(GiveBack, "back", noted)

    async def main() -> None:
        world = await World.create(10_000, **AUTO, slots=3)
        await world.send(*[{"s": 50.0}] * 51, bundle=True)
        worker = world.worker(options=WorkerOptions(hold=HoldLimits(wait_s=0.1)))
        worker._executor.mean_s = 0.00625
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert counts[0] == 0
        assert len(counts) < 30

    in_virtual_time(main())
