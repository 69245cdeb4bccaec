"""A seed means the same in every process, wherever its memory lies and however its strings hash."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import asyncio, contextlib, random, sys
# full of holes of every size: what is allocated later lies elsewhere in every process
junk = [bytes(size % 500) for size in range(50_000)]
random.Random(int(sys.argv[1])).shuffle(junk)
del junk[::2]
from kon.backends.sim.faults import FAULTS, FaultRates
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.schedule import Seeded
from tests.backends.sim.test_sim_faults import ALL, _busy
from tests.backends.sim.world import World

loop, world, ended = SimLoop(Seeded(7), limit_s=1e6), World(ALL, 7), []

async def sleeper(number):
    try:
        await asyncio.sleep(1000)
    finally:
        ended.append(number)

async def failing_group(host):
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(sleeper(number))
            await _busy(world, 3)
            raise ValueError(host)

async def main():
    await asyncio.wait({loop.spawn(host, failing_group(host)) for host in "abc"})

simulate(main(), loop)
print(world.trace.digest(), ended)
"""


def _told(hash_seed: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(hash_seed)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    first = _told(1)
    assert len(first) > 60 * 3
    assert [_told(7), _told(13)] == [first, first]
