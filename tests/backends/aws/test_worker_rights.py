"""Workers have the rights of the shipped policy and no others: they do all their work with them, and each
right that is taken away ends the worker with a line. No task is lost or called dead for it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import pytest

from kon.backends.aws import AwsBackend
from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, Emulator, Settings
from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import BackendDenied, first_cause
from kon.core.journal import MemoryJournal
from kon.core.kind import Attempt
from kon.core.objects import ObjectStore
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Answers, Outcome, State
from kon.engine.client import Client, Listener
from kon.engine.control import Control
from kon.engine.records.events import Life, Recorder
from kon.engine.worker import Worker, WorkerOptions
from kon.kinds.sleep import Sleep
from kon.strategies.lease import Lease
from tests.emulators import STRICT, WORKER, as_anybody

LARGE_BYTES: Final = 9 << 20
"""A file that travels in parts."""


class LeftOver(Exception):
    """What nobody else clears away at once."""


class Working(Sleep):
    """Sleeps as long as the body says, and stores something; `large`: in parts."""

    name: ClassVar[str] = "working"
    begun: ClassVar[set[str]] = set()
    """Runs whose first task has begun."""

    async def open(self, objects: ObjectStore) -> None:
        self._objects = objects

    def check(self, body: Any) -> None:
        return

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        self.begun.add(attempt.run)
        await asyncio.sleep(body["s"])
        if "file" in body:
            await self._objects.put("k", Path(body["file"]))
            assert await self._objects.size_bytes("k") > 0
        return None


class Run:
    """A run with a client of full rights, and workers that have theirs."""

    def __init__(self, name: str, tasks: int, **options: Any) -> None:
        self.spec = RunSpec(
            run=name,
            experiment="e",
            backend=Plugin("aws", {"prefix": "rights", **options}),
            strategy=Plugin("lease"),
            kind=Plugin("working"),
            tasks=tasks,
            visibility_s=3.0,
            bundle=2,
            tasks_per_row=1,
        )
        self.results = MemoryJournal()

    @asynccontextmanager
    async def made(self) -> AsyncIterator[Channel]:
        backend = AwsBackend(self.spec.backend.options)
        try:
            await backend.create(self.spec.run, self.spec.channel_options)
            yield await backend.open(self.spec.run)
        finally:
            await backend.delete(self.spec.run)
            await backend.close()

    @asynccontextmanager
    async def seen_by_worker(self) -> AsyncIterator[tuple[AwsBackend, Channel]]:
        """The backend as a worker has it."""
        with as_worker():
            backend = AwsBackend(self.spec.backend.options)
            try:
                yield backend, await backend.open(self.spec.run)
            finally:
                await backend.close()

    async def work(self, channel: Channel, bodies: list[Any], stop: Callable[[], bool]) -> None:
        """Client and worker, until all is accounted for. stop: whether another worker is to take over."""
        client = Client(self.spec, channel, Listener(self.results), Clock.of_this_host(), random.Random(1))
        client.recall(self.outcomes())
        collecting = asyncio.create_task(client.run(bodies))
        try:
            while not collecting.done():
                async with self.seen_by_worker() as (_, theirs), asyncio.TaskGroup() as group:
                    worker = self._worker(theirs)
                    working = group.create_task(worker.run())
                    while not (collecting.done() or working.done() or stop()):  # noqa: ASYNC110 - of three, any
                        await asyncio.sleep(0.02)
                    worker.stop()
            await collecting
        except BaseExceptionGroup as group_of:
            raise first_cause(group_of) from None
        finally:
            collecting.cancel()
            await asyncio.wait([collecting])

    def _worker(self, channel: Channel) -> Worker:
        clock = Clock.of_this_host()
        name = f"w{random.randrange(1 << 30)}"
        recorder = Recorder(MemoryJournal(), clock)
        return Worker(
            Life(name, clock, recorder, random.Random(name)),
            self.spec,
            channel,
            partial(Lease, lease_s=2.0, skew_s=0.1),
            Working({}),
            WorkerOptions(wait_s=0.2, denied_s=0.3, outage_s=5.0),
        )

    def outcomes(self) -> list[Outcome]:
        return [
            each for line in self.results.lines for each in msgspec.json.decode(line, type=Answers).outcomes
        ]


@contextmanager
def as_worker() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setitem(os.environ, name, WORKER)
        yield


def done(run: Run, tasks: int) -> None:
    states = [each.state for each in run.outcomes()]
    assert set(states) <= {State.DONE}, "dead, failed or lost, as a worker may not do something"
    assert len(states) == tasks


# --- what workers do ------------------------------------------------------------------------------------

Scene = Callable[[Path, Run, Channel], Awaitable[None]]


async def tasks_are_done(path: Path, run: Run, channel: Channel) -> None:
    """One takes as long as two heartbeats."""
    await run.work(channel, [{"s": 1.4}, {"s": 0.0}], lambda: False)


async def what_has_not_begun_is_given_back(path: Path, run: Run, channel: Channel) -> None:
    stops = iter([True])

    def stop() -> bool:
        return run.spec.run in Working.begun and next(stops, False)

    await run.work(channel, [{"s": 1.0}, {"s": 0.0}], stop)


async def a_body_is_too_large_for_its_message(path: Path, run: Run, channel: Channel) -> None:
    await run.work(channel, [{"s": 0.0, "much": random.Random(1).randbytes(1 << 20).hex()}], lambda: False)
    s3, bodies = as_anybody("s3"), f"{run.spec.run}/overflow/"
    if s3.list_objects_v2(Bucket="rights-000000000000-us-east-1", Prefix=bodies)["KeyCount"]:
        raise LeftOver("a body that no message points at any more")


async def a_file_is_stored_in_parts(path: Path, run: Run, channel: Channel) -> None:
    """A worker that was killed has left an upload of the same."""
    file = path / "large"
    file.write_bytes(bytes(LARGE_BYTES))
    s3 = as_anybody("s3")
    about = {"Bucket": "rights-000000000000-us-east-1", "Prefix": run.spec.run}
    key = f"{run.spec.run}/objects/k"
    s3.create_multipart_upload(Bucket=about["Bucket"], Key=key)
    await run.work(channel, [{"s": 0.0, "file": str(file)}], lambda: False)
    if s3.list_multipart_uploads(**about).get("Uploads"):
        raise LeftOver("an upload that a killed worker has begun")


async def a_host_looks_for_what_there_is(path: Path, run: Run, channel: Channel) -> None:
    """For runs, and for workers of its own that an earlier life has left."""
    async with run.seen_by_worker() as (backend, theirs):
        looks = [[each.run for each in await backend.found()] for _ in range(3)]  # lists lag
        assert run.spec.run in looks[-1]
        await Control(theirs.control).workers()
    await run.work(channel, [{"s": 0.0}], lambda: False)


async def a_strategy_of_ones_own_reads_the_whole_table(path: Path, run: Run, channel: Channel) -> None:
    async with run.seen_by_worker() as (_, theirs):
        await theirs.ledger.scan(0, 10)
    await run.work(channel, [{"s": 0.0}], lambda: False)


SCENES: Final[Mapping[str, tuple[Scene, int, dict[str, Any]]]] = {
    "tasks": (tasks_are_done, 2, {}),
    "given back": (what_has_not_begun_is_given_back, 2, {}),
    "single claims": (tasks_are_done, 2, {"claims": "single"}),
    "large body": (a_body_is_too_large_for_its_message, 1, {}),
    "in parts": (a_file_is_stored_in_parts, 1, {}),
    "rows in S3": (what_has_not_begun_is_given_back, 2, {"ledger": "s3"}),
    "looks": (a_host_looks_for_what_there_is, 1, {}),
    "looks in S3": (a_host_looks_for_what_there_is, 1, {"ledger": "s3"}),
    "whole table": (a_strategy_of_ones_own_reads_the_whole_table, 1, {}),
}
"""What is played, with how many tasks, under which options."""

NEEDED_BY: Final[Mapping[str, str]] = {
    "sqs:GetQueueUrl": "tasks",
    "sqs:SendMessage": "tasks",
    "sqs:ReceiveMessage": "tasks",
    "sqs:DeleteMessage": "tasks",
    "sqs:ChangeMessageVisibility": "tasks",
    "sqs:ListQueueTags": "looks",
    "sqs:ListQueues": "looks",
    "dynamodb:BatchGetItem": "tasks",
    "dynamodb:BatchWriteItem": "tasks",
    "dynamodb:PartiQLInsert": "tasks",
    "dynamodb:PartiQLUpdate": "tasks",
    "dynamodb:PutItem": "single claims",
    "dynamodb:DeleteItem": "given back",
    "dynamodb:Query": "looks",
    "dynamodb:Scan": "whole table",
    "s3:GetObject": "large body",
    "s3:PutObject": "rows in S3",
    "s3:DeleteObject": "large body",
    "s3:ListBucket": "looks in S3",
    "s3:ListBucketMultipartUploads": "in parts",
    "s3:AbortMultipartUpload": "in parts",
}
"""For each right of the policy, a scene that can't be played without it."""

MARKS: Final = {"sqs:SendMessage": [], "dynamodb:PartiQLUpdate": [pytest.mark.long]}


def actions() -> list[str]:
    statements = policy("worker")["Statement"]
    allowed = [each["Action"] for each in statements if each["Effect"] == "Allow"]
    return [one for each in allowed for one in ([each] if isinstance(each, str) else each)]


def without(action: str) -> Settings:
    """The policy of workers without that right."""
    document = policy("worker", "*")
    document["Statement"].append({"Effect": "Deny", "Action": action, "Resource": "*"})
    return msgspec.structs.replace(STRICT, policies={**STRICT.policies, WORKER: [document]})


async def played(name: str, path: Path, label: str) -> Run:
    scene, tasks, options = SCENES[name]
    run = Run(label, tasks, **options)
    async with run.made() as channel:
        await scene(path, run, channel)
    return run


def test_workers_do_their_work_with_the_rights_of_their_policy(
    tmp_path: Path, on_ministack: Emulator
) -> None:
    """And use them all."""
    on_ministack.reset_strict()
    for number, (name, (_, tasks, _)) in enumerate(SCENES.items()):
        done(asyncio.run(played(name, tmp_path, f"all{number}")), tasks)
    made = [each for each in on_ministack.strict_state().calls if each.key_id == WORKER]
    assert [each.answer for each in made if each.answer.startswith("denied")] == []
    used = {need.partition(" ")[0] for each in made for need in each.needs}
    assert used == set(actions()) == set(NEEDED_BY)


@pytest.mark.parametrize(
    "action",
    [pytest.param(action, marks=MARKS.get(action, [pytest.mark.slow])) for action in actions()],
)
def test_a_right_that_is_missing_is_told_and_costs_no_task(
    action: str, tmp_path: Path, on_ministack: Emulator
) -> None:
    async def main() -> Run:
        scene, tasks, options = SCENES[NEEDED_BY[action]]
        run = Run(f"no-{action.replace(':', '-')}", tasks, **options)
        async with run.made() as channel:
            on_ministack.set_strict(without(action))
            try:
                with pytest.raises((BackendDenied, LeftOver)) as caught:
                    await scene(tmp_path, run, channel)
            finally:
                on_ministack.set_strict(STRICT)
            if isinstance(caught.value, BackendDenied):
                said = str(caught.value).lower()
                assert f"may not call {action.lower()} on " in said
                assert "add the action to the policy of these credentials" in said
            assert {each.state for each in run.outcomes()} <= {State.DONE}
            if len(run.outcomes()) < tasks:
                await scene(tmp_path, run, channel)
        return run

    done(asyncio.run(main()), SCENES[NEEDED_BY[action]][1])


def test_the_client_has_its_own() -> None:
    assert STRICT.policies.keys() == {KEY_ID, WORKER}
