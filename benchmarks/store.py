"""What the stores themselves cost: `python -m benchmarks.store`.

The bare loop of a task (send, receive, claim, ack) without client, worker or kinds, so that the
figures are the ceiling for everything above. Prints tables; judges nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

import click
import msgspec
from tabulate import tabulate

from kon.backends.memory import MemoryBackend
from kon.backends.sqlite import SqliteBackend
from kon.core.backend import Channel, ChannelOptions
from kon.core.ledger import Record
from kon.core.queue import Message

BODY: Final = b'["run-0123456789",[[123456,{"seconds":0}]],0]'
OPTIONS: Final = ChannelOptions(visibility_s=60.0)
RUN: Final = "store"


class Loops(msgspec.Struct, frozen=True):
    """One measurement: so many tasks through the loop, in batches, by processes that share the work."""

    backend: str
    tasks: int
    batch: int
    processes: int = 1
    durability: str = "normal"


async def loop(channel: Channel, name: str, tasks: int, batch: int) -> None:
    """Send, then receive, claim, answer and ack until the queue is empty."""
    for _ in range(0, tasks, batch):
        await channel.tasks.send([Message(BODY)] * batch)
    key = int(name) * tasks
    while deliveries := await channel.tasks.receive(batch, 0.0):
        keys = range(key, key + len(deliveries))
        key += len(deliveries)
        await channel.ledger.insert_new([Record(key, f"worker-{name}:{key}", owner=name) for key in keys])
        await channel.answers.send([Message(BODY)])
        await channel.tasks.ack(deliveries)


async def in_memory(loops: Loops) -> float:
    backend = MemoryBackend({})
    await backend.create(RUN, OPTIONS)
    channel = await backend.open(RUN)
    began_s = time.perf_counter()
    await loop(channel, "0", loops.tasks, loops.batch)
    return time.perf_counter() - began_s


async def one_process(options: dict[str, str], name: str, loops: Loops, start: Barrier) -> None:
    backend = SqliteBackend(options)
    channel = await backend.open(RUN)
    start.wait()
    await loop(channel, name, loops.tasks // loops.processes, loops.batch)
    await backend.close()


def in_process(options: dict[str, str], name: str, loops: Loops, start: Barrier) -> None:
    asyncio.run(one_process(options, name, loops, start))


def in_file(loops: Loops, folder: Path) -> float:
    """Seconds from the first send to the end of the last process."""
    options = {"path": str(folder), "durability": loops.durability}
    asyncio.run(SqliteBackend(options).create(RUN, OPTIONS))
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(loops.processes + 1)
    processes = [
        spawn.Process(target=in_process, args=(options, str(number), loops, start))
        for number in range(loops.processes)
    ]
    for process in processes:
        process.start()
    start.wait()
    began_s = time.perf_counter()
    for process in processes:
        process.join()
    return time.perf_counter() - began_s


def measured(loops: Loops) -> tuple[object, ...]:
    if loops.backend == "memory":
        took_s = asyncio.run(in_memory(loops))
    else:
        with tempfile.TemporaryDirectory() as folder:
            took_s = in_file(loops, Path(folder))
    rate = loops.tasks / took_s
    return (
        loops.backend,
        loops.durability if loops.backend == "sqlite" else "",
        loops.processes,
        loops.batch,
        f"{rate:,.0f}",
        f"{1e6 / rate:.2f}",
    )


async def receive_cost_us(depth: int, batch: int) -> float:
    """Microseconds for one receive with its ack, at a queue of that many messages, 1,000 or more."""
    with tempfile.TemporaryDirectory() as folder:
        backend = SqliteBackend({"path": folder})
        await backend.create(RUN, OPTIONS)
        channel = await backend.open(RUN)
        for begin in range(0, depth, 1_000):
            await channel.tasks.send([Message(BODY)] * min(1_000, depth - begin))
        await backend.close()  # what the sends left in the log is not the receiver's to pay
        channel = await backend.open(RUN)
        began_s = 0.0
        warm, rounds = 20, 80
        for number in range(warm + rounds):
            if number == warm:
                began_s = time.perf_counter()
            await channel.tasks.ack(await channel.tasks.receive(batch, 0.0))
        took_s = time.perf_counter() - began_s
        await backend.close()
        return took_s / rounds * 1e6


async def idle_share(wait_s: float) -> float:
    """How much of a core one receiver of an empty queue takes."""
    with tempfile.TemporaryDirectory() as folder:
        backend = SqliteBackend({"path": folder})
        await backend.create(RUN, OPTIONS)
        channel = await backend.open(RUN)
        began_s = time.process_time()
        await channel.tasks.receive(10, wait_s)
        used_s = time.process_time() - began_s
        await backend.close()
        return used_s / wait_s


@click.command()
@click.option("--tasks", default=100_000, help="Tasks for each row; a tenth of them in batches of 10.")
def main(tasks: int) -> None:
    rows = [
        measured(loops)
        for batch in (10, 100, 1_000)
        for count in [tasks // 10 if batch == 10 else tasks]
        for loops in (
            Loops("memory", 10 * count, batch),
            Loops("sqlite", count, batch),
            Loops("sqlite", count, batch, processes=2),
            Loops("sqlite", count, batch, durability="full"),
            Loops("sqlite", count, batch, processes=2, durability="full"),
        )
    ]
    headers = ("backend", "durability", "processes", "batch", "tasks/s", "us/task")
    click.echo(tabulate(rows, headers, disable_numparse=True, stralign="right"))
    for depth in (1_000, 1_000_000):
        cost_us = asyncio.run(receive_cost_us(depth, 10))
        click.echo(f"receive and ack of 10 at {depth:,} queued messages: {cost_us:,.0f} us")
    click.echo(f"an idle receiver: {asyncio.run(idle_share(5.0)):.2%} of a core")


if __name__ == "__main__":
    main()
