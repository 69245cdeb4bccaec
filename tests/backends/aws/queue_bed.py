"""A queue at SQS for tests: its calls are seen, and fail where a test wants it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from kon.backends.aws import queue as queue_module
from kon.backends.aws.bodies import Overflow
from kon.backends.aws.queue import STANDARD, SqsQueue
from kon.backends.emulator import Emulator
from kon.core.queue import Delivery, Message, QueueLimits
from tests.backends.aws.given import FaultyCalls, Make, Reply, fresh_name, make_queue


class Bed:
    """A queue of its own, with a bucket for large bodies, on the emulator in use."""

    def __init__(self, calls: FaultyCalls, url: str, bucket: str) -> None:
        self.calls = calls
        self.url = url
        self.bucket = bucket
        self.numbers = itertools.count()
        self.queue = self.another()

    def another(self, limits: QueueLimits = STANDARD, receivers: int = 4) -> SqsQueue:
        overflow = Overflow(self.calls, self.bucket, "overflow/", lambda: f"{next(self.numbers)}")
        return SqsQueue(self.calls, self.url, limits, overflow, receivers, random.Random(1))

    def made(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of each call of this kind so far."""
        both = zip(self.calls.operations, self.calls.parameters, strict=False)
        return [parameters for called, parameters in both if called == operation]

    async def large_bodies(self) -> int:
        reply = await self.calls.call("s3", "ListObjectsV2", Bucket=self.bucket)
        return int(reply["KeyCount"])


Body = Callable[[Bed], Coroutine[Any, Any, None]]


def on_a_queue(body: Body) -> Callable[[Emulator, pytest.MonkeyPatch], None]:
    """Makes a test of a coroutine function. Pauses between tries take no time."""

    def test(on_ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queue_module, "_FIRST_PAUSE_S", 0.0)

        async def whole() -> None:
            calls, name = FaultyCalls(), fresh_name()
            await calls.call("s3", "CreateBucket", Bucket=name)
            url = await make_queue(calls, name, Attributes={"VisibilityTimeout": "30"})
            bed = Bed(calls, url, name)
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            calls.operations.clear()
            calls.parameters.clear()
            try:
                async with asyncio.timeout(60.0):
                    await body(bed)
            finally:
                calls.fault = None
                await bed.queue.close()
                await calls.close()

        complaints: list[dict[str, Any]] = []
        asyncio.run(whole())
        assert complaints == [], "which would be tracebacks in a log"

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test


def numbered(count: int) -> list[Message]:
    return [Message(b"%d" % number) for number in range(count)]


async def all_of(queue: SqsQueue, count: int) -> list[Delivery]:
    held: list[Delivery] = []
    while len(held) < count:
        some = await queue.receive(min(100, count - len(held)), 1.0)
        assert some, f"{len(held)} of {count} came"
        held += some
    return held


def failing(numbers: set[int], *, sender: bool, done: bool = False) -> Any:
    """These items of a batch fail, by their place in it. done: they take place all the same."""

    async def fault(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        failed = [each for each in parameters["Entries"] if int(each["Id"]) in numbers]
        parameters["Entries"] = [e for e in parameters["Entries"] if done or int(e["Id"]) not in numbers]
        reply = await make() if parameters["Entries"] else {}
        reply["Failed"] = [
            {"Id": each["Id"], "SenderFault": sender, "Code": "Odd", "Message": "no"} for each in failed
        ]
        return reply

    return fault
