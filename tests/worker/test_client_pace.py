"""One client for a thousand workers: it does not take their answers one call after another."""

from __future__ import annotations

import asyncio
import random

from kon.client import Client
from kon.clock import Clock
from kon.journal import MemoryJournal
from kon.queue import Message
from kon.run import Plugin, RunSpec
from kon.sim.backend import SimBackend
from kon.task import Answers, Outcome, State, encode
from tests.worker.world import in_virtual_time

CALL_S = 0.1
"""Of each call, there and back."""


def test_answers_are_taken_abreast_while_there_are_plenty() -> None:
    """1,000 messages are 100 full receives, each with an ack after it: 20 s in single file."""

    async def main() -> float:
        calls = {call: {"median_s": CALL_S, "p99_s": CALL_S} for call in ("queue.receive", "queue.ack")}
        spec = RunSpec("r", "e", Plugin("sim"), Plugin("none"), Plugin("sleep"), tasks=1_000)
        backend = SimBackend({"latency": calls})
        await backend.create("r", spec.channel_options)
        channel = await backend.open("r")
        for first in range(0, 1_000, 10):
            outcomes = [Outcome(index, 1, State.DONE) for index in range(first, first + 10)]
            await channel.answers.send([Message(encode(Answers("w", [each]))) for each in outcomes])
        client = Client(spec, channel, MemoryJournal(), Clock(0.0), random.Random(1))
        began_s = asyncio.get_running_loop().time()
        tally = await client.collect()
        assert (tally.left, tally.counts[State.DONE], tally.repeated_answers) == (0, 1_000, 0)
        return asyncio.get_running_loop().time() - began_s

    assert in_virtual_time(main()) < 4.0
