"""The simulated event loop: asyncio as it is, but for its time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from kon.backends.sim.loop import SimClosed, SimDeadlock, SimLoop, SimTimeout, SimUnhandled, simulate
from kon.backends.sim.refusals import SimulationError
from kon.backends.sim.schedule import Schedule, Seeded
from tests.backends.sim.world import run

SCHEDULES: list[Callable[[], Schedule | None]] = [lambda: None, lambda: Seeded(1)]
in_order_and_picked = pytest.mark.parametrize("schedule", SCHEDULES, ids=["in_order", "picked"])


@in_order_and_picked
def test_time_jumps_to_the_next_timer(schedule: Callable[[], Schedule | None]) -> None:
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        seen.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for name, delay_s in [("year", 31_536_000.0), ("instant", 1e-9), ("minute", 60.0)]:
                group.create_task(sleeper(name, delay_s))

    simulate(main(), SimLoop(schedule()))
    assert seen == [("instant", 1e-9), ("minute", 60.0), ("year", 31_536_000.0)]


def test_in_order_is_the_order_of_a_real_loop() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def step(name: str) -> None:
            for number in range(3):
                seen.append(f"{name}{number}")
                await asyncio.sleep(0)

        await asyncio.gather(step("a"), step("b"), step("c"))
        return seen

    assert run(main()) == asyncio.run(main())


def test_timers_due_at_once_run_in_the_order_of_their_making() -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        for number in range(5):
            asyncio.get_running_loop().call_later(1.0, seen.append, number)
        await asyncio.sleep(2.0)
        return seen

    assert run(main()) == [0, 1, 2, 3, 4]


async def _use_timeout() -> str:
    try:
        async with asyncio.timeout(5.0):
            await asyncio.Event().wait()
    except TimeoutError:
        return f"at {asyncio.get_running_loop().time()}"
    return "never"


async def _use_timeout_not_needed() -> float:
    async with asyncio.timeout(5.0):
        await asyncio.sleep(1.0)
    await asyncio.sleep(10.0)
    return asyncio.get_running_loop().time()


async def _use_wait_for() -> str:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.sleep(9.0), 2.0)
    return await asyncio.wait_for(asyncio.sleep(1.0, "slept"), 2.0)


async def _use_queue() -> list[int]:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)

    async def produce() -> None:
        for number in range(6):
            await queue.put(number)

    producer = asyncio.create_task(produce())
    numbers = [await queue.get() for _ in range(6)]
    await producer
    return numbers


async def _use_shield() -> str:
    inner = asyncio.ensure_future(asyncio.sleep(3.0, "kept"))
    outer = asyncio.ensure_future(asyncio.wait_for(asyncio.shield(inner), 1.0))
    with pytest.raises(asyncio.TimeoutError):
        await outer
    return await inner


async def _use_group_error() -> str:
    cancelled: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(1.0)
        raise KeyError("broken")

    async def go_on() -> None:
        try:
            await asyncio.sleep(100.0)
        except asyncio.CancelledError:
            cancelled.append(f"at {asyncio.get_running_loop().time()}")
            raise

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(go_on())
            group.create_task(fail())
    except* KeyError as errors:
        cancelled.append(repr(errors.exceptions[0]))
    return ", ".join(cancelled)


async def _use_locks() -> list[str]:
    lock, condition, order = asyncio.Lock(), asyncio.Condition(), list[str]()

    async def hold(name: str) -> None:
        async with lock:
            await asyncio.sleep(1.0)
            order.append(name)
        async with condition:
            condition.notify_all()

    holders = [asyncio.create_task(hold(name)) for name in "abc"]
    async with condition:
        await condition.wait_for(lambda: len(order) == 3)
    await asyncio.wait(holders)
    return sorted(order)


@in_order_and_picked
@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (_use_timeout, "at 5.0"),
        (_use_timeout_not_needed, 11.0),
        (_use_wait_for, "slept"),
        (_use_queue, [0, 1, 2, 3, 4, 5]),
        (_use_shield, "kept"),
        (_use_group_error, "at 1.0, KeyError('broken')"),
        (_use_locks, ["a", "b", "c"]),
    ],
)
def test_asyncios_own_classes_work(
    use: Callable[[], Awaitable[object]], expected: object, schedule: Callable[[], Schedule | None]
) -> None:
    async def main() -> object:
        return await use()

    assert simulate(main(), SimLoop(schedule(), limit_s=1_000.0)) == expected


def test_a_deadlock_is_an_error_that_says_who_waits_where() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await loop.spawn("island", wait_for_nobody(), "lonely")

    loop = SimLoop()
    with pytest.raises(SimDeadlock) as caught:
        run(main(), loop)
    assert "island, lonely: " in str(caught.value)
    assert "Event.wait" in str(caught.value)


def test_a_cancelled_timer_does_not_put_off_a_deadlock() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(5.0, print).cancel()
        await asyncio.Event().wait()

    with pytest.raises(SimDeadlock, match=r"at 0\.000000 s"):
        run(main())


def test_virtual_time_has_a_limit() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 # it is to go on for ever
            await asyncio.sleep(1.0)

    with pytest.raises(SimTimeout, match=r"10\.0 s of virtual time"):
        simulate(main(), SimLoop(limit_s=10.0))


@in_order_and_picked
def test_steps_have_a_limit(schedule: Callable[[], Schedule | None]) -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    loop = SimLoop(schedule(), max_steps=1_000)
    with pytest.raises(SimTimeout, match="after 1000 steps"):
        simulate(main(), loop)
    assert loop.steps == 1_000


def test_an_error_in_a_callback_ends_the_simulation() -> None:
    def fail() -> None:
        raise KeyError("broken")

    async def main() -> None:
        asyncio.get_running_loop().call_later(1.0, fail)
        await asyncio.sleep(2.0)

    with pytest.raises(KeyError, match="broken"):
        run(main())


def test_an_error_in_the_background_that_nobody_looks_at_is_raised() -> None:
    async def fail() -> None:
        raise KeyError("broken")

    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(1.0)
        del task

    with pytest.raises(SimUnhandled, match="KeyError") as caught:
        run(main())
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_task_that_is_dropped_while_it_waits_is_an_error() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        del task
        gc.collect()

    with pytest.raises(SimUnhandled, match="destroyed but it is pending"):
        run(main())


def test_a_cancelled_callback_does_not_run() -> None:
    async def main() -> list[str]:
        loop, seen = asyncio.get_running_loop(), list[str]()
        handles = [loop.call_soon(seen.append, "soon"), loop.call_later(1.0, seen.append, "later")]
        for handle in handles:
            assert not handle.cancelled()
            handle.cancel()
            assert handle.cancelled()
        await asyncio.sleep(2.0)
        return seen

    assert run(main()) == []


def test_cancelled_timers_are_cleared_out() -> None:
    loop = SimLoop()

    async def main() -> None:
        for _ in range(10_000):
            loop.call_later(1_000.0, print).cancel()
        assert len(loop._timers) < 1_000
        kept = loop.create_future()
        loop.call_later(1.0, kept.set_result, None)
        for _ in range(10_000):
            loop.call_later(1_000.0, print).cancel()
        await kept

    simulate(main(), loop)
    assert loop.time() == 1.0


def test_a_generator_that_is_left_behind_is_closed() -> None:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1.0)
            closed.append("generator")

    async def main() -> None:
        async for _ in numbers():
            break
        await asyncio.sleep(2.0)

    run(main())
    assert closed == ["generator"]


def test_asyncios_runner_can_use_it() -> None:
    async def main() -> float:
        left = asyncio.create_task(asyncio.sleep(1_000.0))
        await asyncio.sleep(100.0)
        assert not left.done()
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=SimLoop) as runner:
        assert runner.run(main()) == 100.0


def test_it_runs_until_it_is_stopped() -> None:
    loop = SimLoop()
    loop.call_later(5.0, loop.stop)
    loop.call_later(9.0, print)
    loop.run_forever()
    assert loop.time() == 5.0
    loop.close()


def test_a_closed_loop_runs_nothing() -> None:
    async def main() -> None:
        return None

    loop = SimLoop()
    simulate(main(), loop)
    again = main()
    with pytest.raises(SimClosed):
        loop.run_until_complete(again)
    with pytest.raises(SimClosed):
        _ = loop.create_task(again)
    loop.close()
    assert loop.is_closed()


def test_a_loop_is_not_closed_from_within() -> None:
    async def main() -> None:
        asyncio.get_running_loop().close()

    with pytest.raises(SimulationError, match="from within"):
        run(main())


def test_a_loop_keeps_no_list_of_what_has_ended() -> None:
    """A crash goes through all tasks: of a million that have ended it must not."""

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        waiting = [loop.create_task(asyncio.sleep(1.0)) for _ in range(10)]
        for _ in range(2_000):
            await loop.create_task(asyncio.sleep(0))
        return len(loop._made), len([task for task in loop._tasks() if task in waiting])

    made, found = run(main())
    assert made < 600
    assert found == 10
