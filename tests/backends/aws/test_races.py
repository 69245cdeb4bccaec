"""Many claimers at once, and whatever calls hypothesis thinks of, against MiniStack."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from kon.backends.aws.calls import Calls
from kon.backends.aws.dynamodb import DynamoLedger, RowLayout
from kon.backends.aws.pace import Pace
from kon.backends.aws.s3_ledger import S3Ledger
from kon.backends.emulator import Emulator
from kon.core.clock import Clock
from kon.core.ledger import Ledger
from kon.core.strategy import Claim
from kon.core.task import Task
from kon.engine.packing import chunks
from kon.strategies.lease import Lease
from tests.backends.aws.given import fresh_name, make_table
from tests.backends.test_machines import LedgerMachine

_Reply = TypeVar("_Reply")

LEDGERS = ["batch", "single", "s3"]


async def ledgers(calls: Sequence[Calls], kind: str, number: int) -> list[Ledger]:
    """Of one table or bucket, as so many workers have them."""
    name = fresh_name()
    if kind == "s3":
        await calls[0].call("s3", "CreateBucket", Bucket=name)
    else:
        await make_table(calls[0], name)
    return [_ledger(calls[n % len(calls)], kind, name, random.Random(n)) for n in range(number)]


def _ledger(calls: Calls, kind: str, name: str, rng: random.Random) -> Ledger:
    if kind == "s3":
        return S3Ledger(calls, name, "l/", Pace(8, rng), shards=2)
    options: dict[str, Any] = {"claims": kind}
    return DynamoLedger(calls, RowLayout(name, "ledger", spread=True), Pace(8, rng), **options)


@pytest.mark.parametrize(
    ("kind", "workers", "tasks"), [("batch", 12, 200), ("single", 12, 20), ("s3", 12, 12)]
)
def test_each_lease_is_given_once(on_ministack: Emulator, kind: str, workers: int, tasks: int) -> None:
    """Each worker goes through all tasks in an order of its own, in batches that overlap."""

    async def body() -> None:
        clock = Clock.of_this_host()
        given: Counter[int] = Counter()

        async def work(number: int, ledger: Ledger) -> None:
            strategy = Lease(ledger, f"w-{number}", clock)
            todo = [Task(index) for index in range(tasks)]
            random.Random(number).shuffle(todo)
            for batch in chunks(todo, -(-tasks // 4)):
                verdicts = await strategy.admit(batch)
                given.update(verdict.task.index for verdict in verdicts if isinstance(verdict, Claim))

        threads = [Calls(), Calls()]  # of 16 each, so that each worker can have one
        made = await ledgers(threads, kind, workers)
        await asyncio.gather(*[work(number, each) for number, each in enumerate(made)])
        assert given == Counter(range(tasks))
        for calls in threads:
            await calls.close()

    asyncio.run(body())


class EmulatedGround:
    """What a state machine needs of `Ground`, on an emulator."""

    calls: ClassVar[Calls]
    kind: ClassVar[str]

    def __init__(self, _options: Any) -> None:
        self._runner = asyncio.Runner()
        (self.ledger,) = self.run(ledgers([self.calls], self.kind, 1))
        self.channel = self

    def run(self, call: Coroutine[Any, Any, _Reply]) -> _Reply:
        return self._runner.run(call)

    def end(self) -> None:
        self._runner.close()


@pytest.mark.parametrize("kind", LEDGERS)
def test_as_the_model_does(calls_of_ministack: Calls, kind: str) -> None:
    ground = type("Ground", (EmulatedGround,), {"calls": calls_of_ministack, "kind": kind})
    machine: Any = type("Machine", (LedgerMachine,), {"ground_class": ground})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=4, stateful_step_count=12, deadline=None, derandomize=True, database=None
        ),
    )
