"""How long tasks may wait in a worker: each term of that rule has a run in which it matters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kon.core.queue import Message
from kon.core.task import Bundle, State, Task, decode_bundle, encode
from kon.engine.give_back import HoldLimits
from kon.engine.worker import WorkerOptions
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
