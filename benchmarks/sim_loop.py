"""What the simulator itself costs: `python -m benchmarks.sim_loop`.

The bare loop in virtual time, beside asyncio's own, and the simulated services under a worker that does
nothing else: the ceiling for every simulated run. All rates are by CPU time. Prints tables; judges nothing.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Final

import click
import msgspec
from tabulate import tabulate

from kon.backends.sim.backend import SimBackend
from kon.backends.sim.faults import FaultRates, Faults
from kon.backends.sim.latency import CallTime, CallTimes
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.network import Network
from kon.backends.sim.schedule import Seeded
from kon.backends.sim.trace import Trace
from kon.core.backend import Channel, ChannelOptions
from kon.core.ledger import Record
from kon.core.queue import Message
from kon.core.task import Bundle, Task, decode_bundle, encode

RUN: Final = "bench"
LATENCY: Final = {
    "queue.send": CallTime(0.008, 0.030),
    "queue.receive": CallTime(0.008, 0.030),
    "queue.ack": CallTime(0.006, 0.020),
    "ledger.insert_new": CallTime(0.005, 0.020),
}
"""Of the order that SQS and DynamoDB take; only that they differ and overlap matters here."""


class Row(msgspec.Struct, frozen=True):
    """One line of a table: so much, in so many seconds of CPU time."""

    what: str
    done: int
    cpu_s: float

    def cells(self) -> list[str]:
        return [self.what, f"{self.done / self.cpu_s:,.0f}", f"{self.cpu_s / self.done * 1e6:.2f}"]


def timed(run: Callable[[], object]) -> float:
    """CPU seconds. One thread that never waits: on a machine with nothing else to do, the wall time."""
    gc.collect()
    began_s = time.process_time()
    run()
    return time.process_time() - began_s


async def spin(coroutines: int, steps: int, pause_s: float) -> None:
    """So many coroutines that do nothing but let the others run."""

    async def step() -> None:
        for _ in range(steps):
            await asyncio.sleep(pause_s)

    await asyncio.gather(*(step() for _ in range(coroutines)))


def bare(callbacks: int) -> list[Row]:
    """Callbacks a second. A sleep with a pause is a timer and two callbacks."""
    rows = []
    for what, coroutines, pause_s in (
        ("3 yield", 3, 0.0),
        ("1,024 yield", 1_024, 0.0),
        ("100 sleep", 100, 1.0),
    ):
        steps = callbacks // coroutines
        for order, loop in (("in order", SimLoop()), ("picked", SimLoop(Seeded(1)))):
            cpu_s = timed(lambda: simulate(spin(coroutines, steps, pause_s), loop))  # noqa: B023 # run at once
            rows.append(Row(f"{what}, {order}", loop.steps, cpu_s))
        if not pause_s:
            cpu_s = timed(lambda: asyncio.run(spin(coroutines, steps, 0.0)))  # noqa: B023
            rows.append(Row(f"{what}, asyncio's own loop", coroutines * steps, cpu_s))
    return rows


async def work(channel: Channel, name: str, batch: int, done: set[int], tasks: int) -> None:
    """Receive, claim, run 10 ms, ack: what every worker does at the least."""
    claims = 0
    while len(done) < tasks:
        deliveries = await channel.tasks.receive(batch, 1.0)
        held = {decode_bundle(delivery.body).tasks[0].index: delivery for delivery in deliveries}
        claims += 1
        records = [Record(index, f"{name}:{claims}", owner=name) for index in held]
        for record, found in zip(records, await channel.ledger.insert_new(records)):
            if found is None or found.token == record.token:
                await asyncio.sleep(0.01)
                done.add(record.key)
        if deliveries:
            await channel.tasks.ack(deliveries)


async def fleet(loop: SimLoop, network: Network, workers: int, tasks: int) -> None:
    backend = SimBackend.on(network)
    await backend.create(RUN, ChannelOptions())
    channel = await backend.open(RUN)
    done: set[int] = set()
    for first in range(0, tasks, 10):
        bundles = [Bundle(RUN, [Task(index)]) for index in range(first, min(first + 10, tasks))]
        await channel.tasks.send([Message(encode(bundle)) for bundle in bundles])
    hosts = [f"w{number}" for number in range(workers)]
    running = [loop.spawn(host, work(channel, host, 10, done, tasks)) for host in hosts]
    await asyncio.wait(running)


def search(schedules: int, rates: FaultRates, traced: bool) -> None:
    """Fault search as it is: 20 tasks, 3 workers, each schedule a loop and services of its own."""
    for seed in range(schedules):
        loop = SimLoop(Seeded(seed), limit_s=10_000.0)
        network = Network(Faults(rates, seed), trace=Trace() if traced else None)
        simulate(fleet(loop, network, 3, 20), loop)


def at_size(workers: int, tasks: int) -> None:
    loop = SimLoop(limit_s=100_000.0)
    simulate(fleet(loop, Network(latency=CallTimes(LATENCY)), workers, tasks), loop)


@click.command()
@click.option("--callbacks", default=600_000, help="For each row of the bare loop.")
@click.option("--schedules", default=500, help="For each row of the fault search.")
@click.option("--tasks", default=50_000, help="For each fleet.")
def main(callbacks: int, schedules: int, tasks: int) -> None:
    """What a callback, a schedule and a task cost in the simulator."""
    show("callbacks/s", bare(callbacks))
    rates = FaultRates(duplicate=0.05, ack_failed=0.02, write_reply_lost=0.05)
    show(
        "schedules/s",
        [
            Row(what, schedules, timed(lambda: search(schedules, used, traced)))  # noqa: B023
            for what, used, traced in (
                ("no faults", FaultRates(), False),
                ("3 faults", rates, False),
                ("3 faults, traced", rates, True),
            )
        ],
    )
    show(
        "tasks/s",
        [
            Row(f"{workers:,} hosts", tasks, timed(lambda: at_size(workers, tasks)))  # noqa: B023
            for workers in (16, 1_024)
        ],
    )


def show(unit: str, rows: list[Row]) -> None:
    print(tabulate([row.cells() for row in rows], ["", unit, "us each"], disable_numparse=True), end="\n\n")


if __name__ == "__main__":
    main()
