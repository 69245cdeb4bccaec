"""The strategy `fifo`, and what other strategies may count on over a queue that drops repeated sends."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from kon.backends.sim.backend import SimBackend
from kon.backends.sim.messages import FIFO_WINDOW_S
from kon.core.clock import Clock
from kon.core.errors import ConfigurationError
from kon.core.plugins import names, strategy_class
from kon.core.queue import Message
from kon.core.spec import Plugin, RunSpec
from kon.core.strategy import Claim
from kon.core.task import Outcome, State, Task
from kon.engine.records.records import RunFolder
from kon.experiment import loads
from kon.launch.local import LocalRun
from kon.strategies.fifo import Fifo
from kon.strategies.lease import Lease
from tests.engine.world import World, in_virtual_time
from tests.strategies.test_lease import ledger

NEEDS = 'the strategy "fifo" needs a queue that drops repeated sends by itself'

FILE = """
name: e
backend: {backend}
workload: {{kind: sleep, count: 1, seconds: 0}}
strategies: [none, fifo]
"""


async def fifo_world(tasks: int, **settings: float) -> World:
    world = await World.create(tasks, **settings)
    backend = SimBackend({"queue": "fifo"})
    await backend.create("r", world.spec.channel_options)
    world.channel = await backend.open("r")
    return world


def test_it_runs_whatever_comes() -> None:
    async def main() -> None:
        strategy = Fifo(await ledger(), "a", Clock(0.0))
        done = Outcome(7, 1, State.DONE, "r")
        for _ in range(2):
            assert await strategy.admit([Task(7)]) == [Claim(Task(7))]
        assert await strategy.commit([Claim(Task(7))], [done]) == [done]

    in_virtual_time(main())


def test_a_file_with_a_queue_that_keeps_repeats_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=NEEDS) as caught:
        loads(FILE.format(backend="sqlite"), "x.yml", Path())
    assert str(caught.value).startswith("x.yml:5:")
    for backend in ("{name: aws, queue: fifo}", "{name: sim, queue: fifo}"):
        loads(FILE.format(backend=backend), "x.yml", Path())


def test_a_run_with_a_queue_that_keeps_repeats_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    spec = RunSpec("r", "e", Plugin("sqlite"), Plugin("fifo"), Plugin("sleep"), tasks=1)

    class Nothing:
        def bodies(self, workers: int) -> list[float]:
            return [0.0]

    with pytest.raises(ConfigurationError, match=NEEDS):
        asyncio.run(LocalRun(RunFolder(tmp_path / "r"), spec, Nothing()).submit())
    assert not (tmp_path / "r").exists()


def test_a_worker_with_a_queue_that_keeps_repeats_is_refused() -> None:
    async def main() -> None:
        world = await World.create(1)
        with pytest.raises(ConfigurationError, match=NEEDS):
            world.worker(strategy=Fifo)

    in_virtual_time(main())


def test_the_queue_drops_what_is_sent_again_within_five_minutes() -> None:
    async def main() -> None:
        world = await fifo_world(1)
        queue, now_s = world.channel.tasks, asyncio.get_running_loop().time
        await queue.send([Message(b"a"), Message(b"b"), Message(b"a")])
        sent_s = now_s()
        await queue.ack(await queue.receive(10, 0.0))
        await asyncio.sleep(FIFO_WINDOW_S - 1.0)
        await queue.send([Message(b"a"), Message(b"c")])
        assert [each.body for each in await queue.receive(10, 0.0)] == [b"c"]
        await asyncio.sleep(sent_s + FIFO_WINDOW_S - now_s())
        await queue.send([Message(b"a")])
        assert b"a" in [each.body for each in await queue.receive(10, 0.0)]

    in_virtual_time(main())


def test_repeated_sends_run_once() -> None:
    async def main() -> None:
        world = await fifo_world(10)
        await world.send(*[{"result": 1}] * 10)
        worker = world.worker(strategy=Fifo)
        tally = await world.run([{"result": 1}] * 10, worker)
        assert tally.counts[State.DONE] == 10
        assert len(world.tasks_of("start")) == 10

    in_virtual_time(main())


PUTS_OFF = 'the strategy "lease" puts off tasks that another worker runs'


def test_a_strategy_that_puts_tasks_off_is_refused_where_each_time_would_count_as_a_receipt() -> None:
    """A task of 300 s was called dead while it ran, after one receipt handle had expired."""
    text = FILE.replace("[none, fifo]", "[lease]").format(backend="{name: sim, queue: fifo}")
    with pytest.raises(ConfigurationError, match=PUTS_OFF) as caught:
        loads(text, "x.yml", Path())
    assert str(caught.value).startswith("x.yml:5:")

    async def main() -> None:
        world = await fifo_world(1)
        with pytest.raises(ConfigurationError, match=PUTS_OFF):
            world.worker(strategy=Lease)

    in_virtual_time(main())


@pytest.mark.parametrize("name", names("kon.strategies"))
def test_a_strategy_that_defers_says_so(name: str) -> None:
    """By its source: a new strategy that answers Defer and does not say so fails here."""
    cls = strategy_class(name)
    assert cls.defers is (
        "Defer(" in inspect.getsource(cls.admit) + inspect.getsource(cls).partition("def recall")[0]
    )


def test_a_failed_attempt_is_tried_again_at_once() -> None:
    async def main() -> None:
        world = await fifo_world(1, backoff_s=100.0)
        tally = await world.run([{"fail": 2, "result": 1}], world.worker(strategy=Fifo))
        assert tally.counts[State.DONE] == 1
        assert asyncio.get_running_loop().time() < 50.0

    in_virtual_time(main())
