"""Ledgers on an emulator, without the queues that a whole backend has, and calls with faults in them."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, ClassVar, Final, TypeVar, cast

from kon.backends.aws.calls import Calls
from kon.backends.aws.dynamodb import DynamoLedger, RowLayout, table_definition
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.objects import S3Objects
from kon.backends.aws.pace import Pace
from kon.backends.aws.s3_ledger import S3Ledger
from kon.backends.emulator import Emulator
from kon.core.backend import Backend, Channel, ChannelOptions
from kon.core.ledger import Ledger, Record
from kon.core.queue import Queue
from tests.emulators import as_anybody, without

_numbers = itertools.count(1)

Reply = dict[str, Any]
Make = Callable[[], Awaitable[Reply]]
Fault = Callable[[str, dict[str, Any], Make], Awaitable[Reply]]
"""Gets a call's operation, its parameters and a way to make it; returns its reply, or raises."""

_Reply = TypeVar("_Reply")


class FaultyCalls(Calls):
    """Calls that all go through `fault`, while there is one, with clients that go through `wrap`.

    operations, parameters: of the calls so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fault: Fault | None = None
        self.wrap: Callable[[Any], Any] | None = None
        self.operations: list[str] = []
        self.parameters: list[dict[str, Any]] = []

    async def call(self, service: str, operation: str, **parameters: Any) -> Reply:
        self.operations.append(operation)
        self.parameters.append(parameters)
        make: Make = lambda: super(FaultyCalls, self).call(service, operation, **parameters)  # noqa: E731
        return await (make() if self.fault is None else self.fault(operation, parameters, make))

    async def run(self, service: str, work: Callable[[Any], _Reply], resource: str = "") -> _Reply:
        self.operations.append("run")
        wrap = self.wrap or (lambda client: client)
        return await super().run(service, lambda client: work(wrap(client)), resource)


def fresh_name() -> str:
    """Of a table or a bucket that nobody has yet: emulators last for many tests."""
    return f"kon-test-{next(_numbers)}"


async def make_table(calls: Calls, name: str) -> None:
    await calls.call(
        "dynamodb", "CreateTable", TableName=name, BillingMode="PAY_PER_REQUEST", **table_definition()
    )
    looks = 0
    while (await calls.call("dynamodb", "DescribeTable", TableName=name))["Table"]["TableStatus"] != "ACTIVE":
        looks += 1
        assert looks < 100, "a table is made in two looks"


async def make_queue(calls: Calls, name: str, **parameters: Any) -> str:
    """A queue that can be used: its URL."""
    url: str = (await calls.call("sqs", "CreateQueue", QueueName=name, **parameters))["QueueUrl"]
    for _ in range(10):  # Amazon's queues are not known for a second
        try:
            await calls.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["QueueArn"])
        except CallRefused as error:
            if not error.not_there:
                raise
        else:
            return url
    raise AssertionError(f"the queue {name} is not known after ten looks")


class Pauses:
    """Sleeps of no length, noted."""

    def __init__(self) -> None:
        self.all_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.all_s.append(seconds)


class Table:
    """A table of its own, with its ledgers, on the emulator in use."""

    def __init__(self, calls: FaultyCalls, name: str) -> None:
        self.calls = calls
        self.name = name
        self.pauses = Pauses()
        self.pace = Pace(16, random.Random(1), sleep=self.pauses)

    def ledger(self, name: str = "ledger", **options: Any) -> DynamoLedger:
        layout = RowLayout(self.name, name, spread=name == "ledger")
        return DynamoLedger(self.calls, layout, self.pace, **options)


@asynccontextmanager
async def table() -> AsyncIterator[Table]:
    calls, name = FaultyCalls(), fresh_name()
    try:
        await make_table(calls, name)
        yield Table(calls, name)
    finally:
        await calls.close()


def once(operation: str, fault: Fault) -> Fault:
    """The fault, at the first call of this operation alone."""
    due = True

    async def only(called: str, parameters: dict[str, Any], make: Make) -> Reply:
        nonlocal due
        if called != operation or not due:
            return await make()
        due = False
        return await fault(called, parameters, make)

    return only


class Bucket:
    """A bucket of its own, with a ledger and objects, on the emulator in use."""

    def __init__(self, calls: FaultyCalls, name: str) -> None:
        self.calls = calls
        self.name = name
        self.pauses = Pauses()

    def ledger(self, **options: Any) -> S3Ledger:
        pace = Pace(16, random.Random(1), sleep=self.pauses)
        return S3Ledger(self.calls, self.name, "ledger/", pace, **options)

    def objects(self, **options: Any) -> S3Objects:
        return S3Objects(self.calls, self.name, "objects/", **options)

    async def names(self) -> list[str]:
        reply = await self.calls.call("s3", "ListObjectsV2", Bucket=self.name)
        return [each["Key"] for each in reply.get("Contents", ())]

    async def uploads(self) -> list[str]:
        """Multipart uploads that were neither completed nor aborted."""
        reply = await asyncio.to_thread(as_anybody("s3").list_multipart_uploads, Bucket=self.name)
        return [each["Key"] for each in reply.get("Uploads", ())]


@asynccontextmanager
async def bucket() -> AsyncIterator[Bucket]:
    calls, name = FaultyCalls(), fresh_name()
    try:
        await calls.call("s3", "CreateBucket", Bucket=name)
        yield Bucket(calls, name)
    finally:
        await calls.close()


class LedgersOnly(Backend):
    """What the cases about ledgers and objects need of a backend.

    options: `calls`, shared by tests as clients are slow to make; `kind`, dynamodb or s3; the rest are
    the ledger's own.
    """

    name: ClassVar[str] = "ledgers only"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options: Final = dict(options)
        self._calls: Final[Calls] = self._options.pop("calls")
        self._kind: Final[str] = self._options.pop("kind")
        self._place: Final[str] = self._options.pop("place")

    async def create(self, run: str, options: ChannelOptions) -> None:
        if self._kind == "dynamodb":
            await make_table(self._calls, self._place)
        await self._calls.call("s3", "CreateBucket", Bucket=self._place)

    async def open(self, run: str) -> Channel:
        pace, nothing = Pace(16, random.Random(1)), cast(Queue, None)
        ledger, control = (self._ledger(name, pace) for name in ("ledger", "control"))
        objects = S3Objects(self._calls, self._place, "objects/")
        return Channel(nothing, nothing, nothing, ledger, control, objects)

    def _ledger(self, name: str, pace: Pace) -> Ledger:
        spread = name == "ledger"
        if self._kind == "s3":
            shards = 3 if spread else 1
            return S3Ledger(self._calls, self._place, f"{name}/", pace, shards=shards, **self._options)
        return DynamoLedger(self._calls, RowLayout(self._place, name, spread), pace, **self._options)

    async def delete(self, run: str, keep_objects: bool = False) -> None:
        """What is left ends with the emulator."""

    async def close(self) -> None:
        """The calls are the test session's."""

    @property
    def requests(self) -> int:
        return self._calls.count.made


_Place = TypeVar("_Place")


def at(
    made: Callable[[], AbstractAsyncContextManager[_Place]], *off: str
) -> Callable[[Callable[[_Place], Coroutine[Any, Any, None]]], Callable[[Emulator], None]]:
    """Makes tests of coroutine functions: each at a place of its own. off: Amazon's rules that are off."""

    def of(body: Callable[[_Place], Coroutine[Any, Any, None]]) -> Callable[[Emulator], None]:
        def test(on_ministack: Emulator) -> None:
            async def whole() -> None:
                async with made() as place:
                    await body(place)

            with without(on_ministack, *off) if off else nullcontext():
                asyncio.run(whole())

        test.__name__ = body.__name__
        test.__doc__ = body.__doc__
        return test

    return of


def rows(*keys: int, token: str = "t") -> list[Record]:
    return [Record(key, token) for key in keys]
