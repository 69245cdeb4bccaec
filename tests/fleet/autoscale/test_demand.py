"""What there is to do for a fleet, seen from outside: its runs by their queues, and what is left of each."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import boto3
import pytest

from kon.backends.aws import AwsBackend
from kon.backends.emulator import Emulator
from kon.core.backend import ChannelOptions
from kon.core.distribution import version
from kon.core.queue import Message
from kon.core.spec import Plugin, RunSpec
from kon.engine.control import Control, Status
from kon.fleet.autoscale.demand import SUBMITTING_S, Demand, Left
from kon.fleet.autoscale.policy import Policy
from tests.emulators import without


@pytest.fixture(autouse=True)
def at_once(on_ministack: Emulator) -> Iterator[None]:
    """A run that is a second old may not be listed yet, which `kon autoscale` makes good at its next look."""
    with without(on_ministack, "new-queues-are-not-listed", "new-queue-not-usable-yet"):
        yield


_numbers = itertools.count(1)


class Place:
    """A fleet with a run, and a clock that stands where it is put."""

    def __init__(self, policy: Policy, **spec: Any) -> None:
        self.fleet = f"demand{next(_numbers)}"
        self.options = {"prefix": f"konf-{self.fleet}", **spec.pop("options", {})}
        self.backend = AwsBackend(self.options)
        self.spec = RunSpec(
            "r", "x", Plugin("aws", self.options), Plugin("lease"), Plugin("sleep"), **{"tasks": 100, **spec}
        )
        self.now_s = 0.0
        self.demand = Demand(self.fleet, None, policy, lambda: self.now_s)

    async def __aenter__(self) -> Place:
        await self.backend.create("r", ChannelOptions(30.0, 4))
        self.channel = await self.backend.open("r")
        self.control = Control(self.channel.control)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.backend.delete("r")
        assert await self.demand.look() == [], "a run that is gone is no work"
        await self.demand.close()
        await self.backend.close()

    async def left(self) -> Left:
        [left] = await self.demand.look()
        return left


def on(policy: Policy, body: Callable[[Place], Awaitable[None]], **spec: Any) -> None:
    async def whole() -> None:
        async with Place(policy, **spec) as place:
            await body(place)

    asyncio.run(whole())


def test_what_is_queued_and_held_is_work_and_what_is_announced() -> None:
    async def body(place: Place) -> None:
        assert (await place.left()).work_s == 0.0, "made ahead, and nobody has begun it"
        await place.control.publish(place.spec, version(), 1.0)
        assert (await place.left()).work_s == 100 * 2.0 / 4, "100 tasks of 2 s, 4 at once on a host"
        await place.channel.tasks.send([Message(b"x")] * 6)
        await place.control.submitted(60)
        await place.channel.tasks.receive(2, 0.0)
        left = await place.left()
        assert (left.messages, left.in_flight, left.submitted) == (4, 2, 60)
        assert left.work_s == (6 * 10 + 40) * 2.0 / 4
        place.now_s += SUBMITTING_S
        assert (await place.left()).work_s == 60 * 2.0 / 4, "the client queues nothing any more"
        await place.control.close(Status.CLOSED)
        assert (await place.left()).work_s == 0.0

    on(Policy(max_hosts=1), body, ideal_s=200.0, bundle=10, slots=2, processes=2)


@pytest.mark.parametrize(("task_s", "work_s"), [(None, 100.0), (7.0, 700.0)])
def test_what_a_task_takes_is_said_by_the_policy_or_a_second(task_s: float | None, work_s: float) -> None:
    async def body(place: Place) -> None:
        await place.control.publish(place.spec, version(), 1.0)
        assert (await place.left()).work_s == work_s

    on(Policy(max_hosts=1, task_s=task_s), body)


def test_a_run_of_another_kon_is_its_messages() -> None:
    async def body(place: Place) -> None:
        await place.control.publish(place.spec, "0.0.1", 1.0)
        await place.channel.tasks.send([Message(b"x")] * 3)
        assert (await place.left()).work_s == 3.0

    on(Policy(max_hosts=1), body, ideal_s=200.0, bundle=10)


def test_runs_are_opened_as_they_were_made() -> None:
    async def body(place: Place) -> None:
        await place.channel.tasks.send([Message(b"x")])
        assert (await place.left()).messages == 1

    on(Policy(max_hosts=1), body, options={"queue": "fifo", "ledger": "s3"})


def test_what_is_not_kons_is_passed_over() -> None:
    async def body(place: Place) -> None:
        sqs = boto3.client("sqs")
        tags = {"Project": "another", "Run": "q", "KonOptions": "queue=standard ledger=dynamodb"}
        for name, given in (("a", {}), ("q", tags), ("c", {**tags, "Project": "kon"})):
            url = sqs.create_queue(QueueName=f"konf-{place.fleet}-{name}-tasks", tags=given)["QueueUrl"]
            sqs.send_message(QueueUrl=url, MessageBody="x")
        sqs.create_queue(QueueName=f"konf-{place.fleet}x-r-tasks")
        assert [each.run for each in await place.backend.found()] == ["r"]
        assert [each.run for each in await place.demand.look()] == ["r"]
        sqs.close()

    on(Policy(max_hosts=1), body)
