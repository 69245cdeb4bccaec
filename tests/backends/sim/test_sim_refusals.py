"""A simulated run uses nothing of the real world, and is stopped when it tries."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from kon.backends.sim.faults import FAULTS, FaultRates
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.refusals import SimRefused
from kon.backends.sim.schedule import Seeded
from kon.core.ledger import Record
from tests.backends.sim.world import World, messages, run

KEPT = {
    "call_at", "call_exception_handler", "call_later", "call_soon", "close", "create_future", "create_task",
    "get_debug", "get_task_factory", "is_closed", "is_running", "run_forever", "run_until_complete",
    "shutdown_asyncgens", "shutdown_default_executor", "stop", "time",
}  # fmt: skip


def _offered() -> list[str]:
    return sorted(
        name
        for name, value in vars(asyncio.AbstractEventLoop).items()
        if callable(value) and not name.startswith("_") and name not in KEPT
    )


@pytest.mark.parametrize("method", _offered())
def test_whatever_else_a_loop_offers_is_refused(method: str) -> None:
    async def main() -> None:
        getattr(asyncio.get_running_loop(), method)()

    with pytest.raises(SimRefused, match=rf"loop\.{method}\(\)"):
        run(main())


async def _thread() -> None:
    await asyncio.to_thread(print)


async def _process() -> None:
    await asyncio.create_subprocess_exec("true")


async def _socket() -> None:
    await asyncio.open_connection("localhost", 80)


@pytest.mark.parametrize("attempt", [_thread, _process, _socket])
def test_asyncios_ways_to_the_real_world_are_refused(attempt: Callable[[], Any]) -> None:
    with pytest.raises(SimRefused, match="may not use"):
        run(attempt())


def test_a_refusal_that_is_swallowed_still_ends_the_run() -> None:
    async def main() -> str:
        with contextlib.suppress(Exception):
            await asyncio.to_thread(print)
        return "went on"

    with pytest.raises(SimRefused, match="run_in_executor"):
        run(main())


async def _everything(loop: SimLoop, world: World) -> None:
    """Every call of every service, on a host that is paused, beside one that crashes."""

    async def work(host: str) -> None:
        while loop.time() < 300.0:
            with contextlib.suppress(Exception):
                await world.queue.send(messages(range(5), 1.0))
                deliveries = await world.queue.receive(10, 2.0)
                keys = [delivery.receives for delivery in deliveries[:1]]
                await world.ledger.insert_new([Record(key, host) for key in keys])
                await world.ledger.put([Record(key, host, owner=str(loop.time())) for key in range(60)])
                await world.ledger.read(range(60))
                await world.ledger.replace([Record(key, host) for key in keys], [host for _ in keys])
                await world.queue.extend(deliveries[:2], 40.0)
                await world.queue.ack(deliveries[1:])
                await world.queue.depth()
                await world.ledger.delete(keys, [host for _ in keys])
                await world.ledger.scan(0, 5)

    workers = [loop.spawn(host, work(host)) for host in ("a", "b", "c")]
    loop.before_step(500, lambda: loop.crash("a"))
    loop.before_step(700, lambda: loop.pause("b", 50.0))
    await asyncio.wait(workers[1:])


def test_a_simulated_run_reads_no_clock_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = FaultRates(**dict.fromkeys(FAULTS, 0.05))
    used: list[str] = []

    def forbid(patch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        def refuse(*args: object, **kwargs: object) -> None:
            used.append(f"{module.__name__}.{name}")
            raise AssertionError(f"{module.__name__}.{name} was used in a simulated run")

        patch.setattr(module, name, refuse)

    loop, world = SimLoop(Seeded(1), limit_s=5_000.0), World(rates)
    main = _everything(loop, world)
    random_before = random.getstate()
    with monkeypatch.context() as patch:
        for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep"):
            forbid(patch, time, name)
        forbid(patch, threading.Thread, "start")
        forbid(patch, socket, "socket")
        forbid(patch, subprocess, "Popen")
        forbid(patch, os, "urandom")
        simulate(main, loop)
    assert used == []
    assert random.getstate() == random_before
    assert loop.time() >= 300.0
    assert {fired.fault for fired in world.faults.fired} >= {
        "duplicate",
        "partition",
        "throttle",
        "stale_read",
    }
