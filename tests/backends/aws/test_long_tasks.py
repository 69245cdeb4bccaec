"""Tasks that outlive the 12 hours for which SQS holds a message, however often that is extended."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from typing import Any

import msgspec
import pytest

from kon.backends.aws.queue import RECEIPT_S, STANDARD, SqsQueue
from kon.backends.sim.loop import SimLoop, simulate
from kon.core.queue import Delivery
from kon.core.task import State
from kon.strategies.none import NoDeduplication
from tests.engine.world import World, in_virtual_time


class Sqs:
    """Answers as SQS does of visibility: what would hide a message for more than 12 hours is refused."""

    def __init__(self) -> None:
        self.received_s = math.nan
        self.hidden_until_s = math.nan
        self.refused = 0

    async def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        now_s = asyncio.get_running_loop().time()
        if operation == "ReceiveMessage":
            self.received_s = now_s
            body = {"Body": "e30", "ReceiptHandle": "h", "Attributes": {"ApproximateReceiveCount": "1"}}
            return {"Messages": [body]}
        [entry] = parameters["Entries"]
        until_s = now_s + entry["VisibilityTimeout"]
        if until_s > self.received_s + 43_200:
            self.refused += 1
            fault = {"Id": "0", "Code": "InvalidParameterValue", "SenderFault": True}
            return {
                "Failed": [
                    {**fault, "Message": "Total VisibilityTimeout for the message is beyond the limit"}
                ]
            }
        self.hidden_until_s = until_s
        return {}


@pytest.mark.parametrize("visibility_s", [30.0, 3_600.0, 43_200.0])
def test_a_receipt_is_extended_to_its_end_and_never_refused(visibility_s: float) -> None:
    sqs = Sqs()
    calls: Any = sqs
    queue = SqsQueue(calls, "http://x/1/q", STANDARD, calls, 1, random.Random(1))

    async def whole() -> list[bool]:
        [delivery] = await queue.receive(1, 0.0)
        answers = []
        while asyncio.get_running_loop().time() < sqs.received_s + 44_000:
            answers += await queue.extend([delivery], visibility_s)
            await asyncio.sleep(visibility_s / 3)
        return answers

    answers = simulate(whole(), SimLoop(limit_s=86_400.0))
    assert sqs.refused == 0
    assert 43_200 - 120 <= sqs.hidden_until_s - sqs.received_s <= 43_200
    assert answers[0]
    assert not answers[-1], "it comes again, whatever is asked for"
    assert queue.limits.max_receipt_s == queue.limits.longest_hold_s == RECEIPT_S, "bounds visibility_s too"


def test_a_message_is_given_back_in_the_last_second_of_its_receipt_too() -> None:
    sqs: Any = Sqs()
    queue = SqsQueue(sqs, "http://x/1/q", STANDARD, sqs, 1, random.Random(1))

    async def whole() -> list[bool]:
        [delivery] = await queue.receive(1, 0.0)
        await asyncio.sleep(43_199.5)
        assert await queue.extend([delivery], 30.0) == [False]
        return await queue.extend([delivery], 0.0)

    assert simulate(whole(), SimLoop(limit_s=86_400.0)) == [True]
    assert sqs.hidden_until_s == sqs.received_s + 43_199.5


@pytest.mark.parametrize("part", [0.9, 1.05])
@pytest.mark.parametrize("strategy", ["lease", "none"])
def test_a_task_that_outlives_its_receipt_is_told_before_that(
    strategy: str, part: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Receipts last an hour here, as each heartbeat is simulated. part: how much of it the task takes."""
    hour_s = 3_600.0

    async def main() -> None:
        world = await World.create(1)
        limits = msgspec.structs.replace(world.channel.tasks.limits, max_receipt_s=hour_s)
        world.channel.tasks.limits = limits
        worker = world.worker(strategy=NoDeduplication) if strategy == "none" else world.worker()
        tally = await world.run([{"s": part * hour_s}], worker)
        assert tally.counts[State.DONE] == 1

    with caplog.at_level(logging.WARNING):
        in_virtual_time(main())
    told = [each.getMessage() for each in caplog.records if "for 1 h from the receipt" in each.getMessage()]
    assert len(told) == (part > 1), "once, and only where it is so"
    if told:
        assert told[0].startswith("task 0: ")
        words = "no other worker runs it meanwhile" if strategy == "lease" else "may run it a second time"
        assert words in told[0]


def test_a_delivery_knows_when_it_was_received() -> None:
    sqs: Any = Sqs()

    async def one() -> Delivery:
        await asyncio.sleep(5)
        [delivery] = await SqsQueue(sqs, "http://x/1/q", STANDARD, sqs, 1, random.Random(1)).receive(1, 0.0)
        return delivery

    assert simulate(one(), SimLoop()).handle[2] == 5.0
