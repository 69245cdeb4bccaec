"""Hosts that crash and hosts that stand still."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable

import pytest

from kon.backends.sim.latency import CallTime, CallTimes
from kon.backends.sim.loop import SimDeadlock, SimLoop, current_host, simulate
from kon.backends.sim.schedule import Schedule, Seeded
from kon.core.ledger import Record
from tests.backends.sim.world import World, messages

SCHEDULES: list[Callable[[], Schedule | None]] = [lambda: None, lambda: Seeded(1)]
in_order_and_picked = pytest.mark.parametrize("schedule", SCHEDULES, ids=["in_order", "picked"])


def test_what_a_host_starts_belongs_to_it() -> None:
    seen: list[str] = []

    async def leaf() -> None:
        await asyncio.sleep(1.0)
        seen.append(current_host.get())

    async def work() -> None:
        asyncio.get_running_loop().call_later(0.5, lambda: seen.append(current_host.get()))
        async with asyncio.TaskGroup() as group:
            group.create_task(leaf())

    async def main() -> None:
        await asyncio.gather(loop.spawn("a", work()), loop.spawn("b", work()))
        seen.append(current_host.get())

    loop = SimLoop()
    simulate(main(), loop)
    assert sorted(seen) == ["", "a", "a", "b", "b"]


class _Victim:
    """A host that does something at every stage of its life, and writes it down."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.ready = asyncio.Event()
        self.never = asyncio.Event()

    async def run(self, world: World) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick(), name="ticker")
            group.create_task(self._wait())
            group.create_task(self._spin())
            await world.queue.receive(1, 20.0)
            self.did.append("received")

    async def _tick(self) -> None:
        try:
            while True:
                await asyncio.sleep(1.0)
                self.did.append("tick")
        finally:
            self.did.append("finally of tick")
            await asyncio.sleep(0)
            self.did.append("finally of tick, after an await")

    async def _wait(self) -> None:
        with contextlib.suppress(BaseException):
            await self.never.wait()
        self.did.append("wait ended")

    async def _spin(self) -> None:
        while True:
            self.did.append("spin")
            await asyncio.sleep(0)
            if len(self.did) > 20:
                await asyncio.sleep(0.5)


@in_order_and_picked
def test_nothing_of_a_crashed_host_ever_runs_again(schedule: Callable[[], Schedule | None]) -> None:
    loop = SimLoop(schedule(), limit_s=1_000.0)
    world, victim = World(), _Victim()

    async def main() -> list[str]:
        task = loop.spawn("victim", victim.run(world))
        await asyncio.sleep(10.25)
        loop.crash("victim")
        did = list(victim.did)
        victim.never.set()  # wakes its task
        await world.queue.send(messages([1]))  # answers its receive
        gc.collect()
        await asyncio.sleep(100.0)
        assert not task.done()
        assert victim.did == did
        return did

    did = loop.run_until_complete(main())
    assert did.count("tick") == 10
    assert victim.did == did
    loop.close()
    gc.collect()


def test_a_task_of_the_dead_to_which_nobody_refers_is_not_collected() -> None:
    loop = SimLoop(limit_s=1_000.0)
    did: list[str] = []

    async def sleeper() -> None:
        try:
            await asyncio.sleep(50.0)
        finally:
            did.append("finally")

    async def main() -> None:
        task = loop.spawn("victim", sleeper())
        del task
        await asyncio.sleep(1.0)
        loop.crash("victim")
        await asyncio.sleep(100.0)
        gc.collect()

    loop.run_until_complete(main())
    assert did == []
    loop.close()


def test_a_crash_at_any_step_leaves_nothing_running() -> None:
    for step in range(1, 120):
        loop = SimLoop(Seeded(step), limit_s=1_000.0)
        world, victim = World(), _Victim()
        last: list[int] = []

        def crash(loop: SimLoop = loop, victim: _Victim = victim, last: list[int] = last) -> None:
            loop.crash("victim")
            last.append(len(victim.did))

        async def main(loop: SimLoop = loop, world: World = world, victim: _Victim = victim) -> None:
            await asyncio.wait([loop.spawn("victim", victim.run(world))], timeout=100.0)

        loop.before_step(step, crash)
        loop.run_until_complete(main())
        assert last == [len(victim.did)]
        loop.close()


@pytest.mark.parametrize("latency", [None, CallTimes({"ledger.insert_new": CallTime(0.1, 0.1)})])
def test_what_a_crashed_host_asked_for_still_happens(latency: CallTimes | None) -> None:
    world = World(latency=latency)
    loop = SimLoop(limit_s=1_000.0)

    async def work() -> None:
        await world.ledger.insert_new([Record(1, "token")])
        raise AssertionError("it was to be dead by now")

    async def main() -> None:
        _ = loop.spawn("victim", work())
        await asyncio.sleep(0)
        loop.crash("victim")
        await asyncio.sleep(1.0)

    simulate(main(), loop)
    assert world.ledger.rows == {1: Record(1, "token")}


def test_the_last_words_of_the_dead_reach_no_service() -> None:
    world = World()
    loop = SimLoop(limit_s=1_000.0)
    said: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(50.0)
        finally:
            said.append("last words")
            asyncio.get_running_loop().call_soon(said.append, "a callback")
            await world.ledger.put([Record(1, "from the grave")])
            said.append("written")

    async def main() -> None:
        _ = loop.spawn("crashed", work())
        _ = loop.spawn("left behind", work())
        await asyncio.sleep(1.0)
        loop.crash("crashed")

    loop.run_until_complete(main())
    assert said == []
    steps = len(world.trace.steps)
    loop.close()
    assert said == ["last words", "last words"]
    assert world.ledger.rows == {}
    assert len(world.trace.steps) == steps


def test_a_crashed_host_does_not_put_off_a_deadlock() -> None:
    loop = SimLoop()

    async def main() -> None:
        _ = loop.spawn("victim", asyncio.sleep(1_000.0))
        await asyncio.sleep(1.0)
        loop.crash("victim")
        await asyncio.Event().wait()

    with pytest.raises(SimDeadlock, match=r"at 1\.000000 s") as caught:
        simulate(main(), loop)
    assert "victim" not in str(caught.value)


@in_order_and_picked
def test_a_paused_host_is_held_back_while_time_goes_on(schedule: Callable[[], Schedule | None]) -> None:
    loop = SimLoop(schedule(), limit_s=1_000.0)
    ticks: dict[str, list[float]] = {"a": [], "b": []}

    async def tick(host: str) -> None:
        for _ in range(5):
            await asyncio.sleep(1.0)
            ticks[host].append(loop.time())

    async def main() -> None:
        tasks = [loop.spawn(host, tick(host)) for host in ticks]
        await asyncio.sleep(2.5)
        loop.pause("a", 30.0)
        await asyncio.wait(tasks)

    simulate(main(), loop)
    assert ticks["a"] == [1.0, 2.0, 32.5, 33.5, 34.5]
    assert ticks["b"] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_paused_hosts_request_takes_effect_and_its_reply_waits() -> None:
    world = World()
    loop = SimLoop(limit_s=1_000.0)
    answered: list[float] = []

    async def work() -> None:
        await world.ledger.insert_new([Record(1, "token")])
        answered.append(loop.time())

    async def main() -> None:
        task = loop.spawn("a", work())
        await asyncio.sleep(0)
        loop.pause("a", 30.0)
        await asyncio.sleep(1.0)
        assert world.ledger.rows == {1: Record(1, "token")}
        assert answered == []
        await task

    simulate(main(), loop)
    assert answered == [30.0]


def test_a_second_pause_makes_the_first_longer_and_never_shorter() -> None:
    loop = SimLoop(limit_s=1_000.0)

    async def work() -> float:
        await asyncio.sleep(1.0)
        return loop.time()

    async def main() -> list[float]:
        tasks = [loop.spawn(host, work()) for host in ("longer", "shorter")]
        for host, second_s in (("longer", 50.0), ("shorter", 5.0)):
            loop.pause(host, 30.0)
            loop.pause(host, second_s)
        return list(await asyncio.gather(*tasks))

    assert simulate(main(), loop) == [51.0, 31.0]


def test_a_paused_host_can_crash() -> None:
    loop = SimLoop(limit_s=1_000.0)
    did: list[str] = []

    async def work() -> None:
        await asyncio.sleep(1.0)
        did.append("worked")

    async def main() -> None:
        _ = loop.spawn("a", work())
        await asyncio.sleep(0.5)
        loop.pause("a", 10.0)
        await asyncio.sleep(5.0)
        loop.crash("a")
        loop.pause("a", 10.0)
        await asyncio.sleep(100.0)

    simulate(main(), loop)
    assert did == []


def test_a_host_can_pause_itself() -> None:
    loop = SimLoop(limit_s=1_000.0)

    async def work() -> float:
        loop.pause(current_host.get(), 30.0)
        await asyncio.sleep(1.0)
        return loop.time()

    async def main() -> float:
        return await loop.spawn("a", work())

    assert simulate(main(), loop) == 30.0


def test_a_host_can_crash_itself() -> None:
    loop = SimLoop(limit_s=1_000.0)
    did: list[str] = []

    async def child() -> None:
        did.append("child")

    async def work() -> None:
        loop.crash(current_host.get())
        did.append("up to the next await")
        loop.call_soon(lambda: did.append("a callback"))
        started = loop.create_task(child())
        del started
        await asyncio.sleep(0)
        did.append("after it")

    async def main() -> None:
        _ = loop.spawn("a", work())
        await asyncio.sleep(10.0)
        gc.collect()

    simulate(main(), loop)
    assert did == ["up to the next await"]


def test_the_scenario_is_called_right_before_the_step_it_named() -> None:
    loop = SimLoop(Seeded(3), limit_s=1_000.0)
    called: list[int] = []

    async def main() -> None:
        for step in (7, 3, 3, 11):
            loop.before_step(step, lambda: called.append(loop.steps))
        for _ in range(20):
            await asyncio.sleep(0)
        loop.before_step(2, lambda: called.append(-loop.steps))
        await asyncio.sleep(0)

    simulate(main(), loop)
    assert called == [3, 3, 7, 11, -21]
