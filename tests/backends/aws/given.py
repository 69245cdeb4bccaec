"""Ledgers on an emulator, without the queues that a whole backend has, and calls with faults in them."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final, cast

from kon.backend import Backend, Channel, ChannelOptions
from kon.backends.aws.calls import Calls
from kon.backends.aws.dynamodb import DynamoLedger, Layout, table_definition
from kon.backends.aws.pace import Pace
from kon.queue import Queue

_numbers = itertools.count(1)

Reply = dict[str, Any]
Make = Callable[[], Awaitable[Reply]]
Fault = Callable[[str, dict[str, Any], Make], Awaitable[Reply]]
"""Gets a call's operation, its parameters and a way to make it; returns its reply, or raises."""


class FaultyCalls(Calls):
    """Calls that all go through `fault`, while there is one. operations: what was asked for, so far."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Fault | None = None
        self.operations: list[str] = []
        self.parameters: list[dict[str, Any]] = []

    async def call(self, service: str, operation: str, **parameters: Any) -> Reply:
        self.operations.append(operation)
        self.parameters.append(parameters)
        make: Make = lambda: super(FaultyCalls, self).call(service, operation, **parameters)  # noqa: E731
        return await (make() if self.fault is None else self.fault(operation, parameters, make))


def fresh_name() -> str:
    """Of a table or a bucket that nobody has yet: emulators last for many tests."""
    return f"kon-test-{next(_numbers)}"


async def make_table(calls: Calls, name: str) -> None:
    await calls.call(
        "dynamodb", "CreateTable", TableName=name, BillingMode="PAY_PER_REQUEST", **table_definition()
    )


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
        self.pace = Pace(16)
        self.pauses = Pauses()

    def ledger(self, name: str = "ledger", **options: Any) -> DynamoLedger:
        layout = Layout(self.name, name, spread=name == "ledger")
        rng = random.Random(1)
        return DynamoLedger(self.calls, layout, self.pace, rng, sleep=self.pauses, **options)


@asynccontextmanager
async def table() -> AsyncIterator[Table]:
    calls, name = FaultyCalls(), fresh_name()
    try:
        await make_table(calls, name)
        yield Table(calls, name)
    finally:
        await calls.close()


class LedgersOnly(Backend):
    """What the cases about ledgers and objects need of a backend."""

    name: ClassVar[str] = "ledgers only"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options: Final = dict(options)
        self._table = str(self._options.pop("table"))
        self._calls = Calls()

    async def create(self, run: str, options: ChannelOptions) -> None:
        await make_table(self._calls, self._table)

    async def open(self, run: str) -> Channel:
        pace, rng = Pace(16), random.Random(1)
        ledger, control = (
            DynamoLedger(self._calls, Layout(self._table, name, spread), pace, rng, **self._options)
            for name, spread in (("ledger", True), ("control", False))
        )
        nothing = cast(Queue, None)
        return Channel(nothing, nothing, nothing, ledger, control, cast(Any, None))

    async def delete(self, run: str) -> None:
        await self._calls.call("dynamodb", "DeleteTable", TableName=self._table)

    async def close(self) -> None:
        await self._calls.close()

    @property
    def requests(self) -> int:
        return self._calls.count.made
