"""The backend object of `aws`."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from kon.backends.aws.bodies import Overflow
from kon.backends.aws.calls import THREADS, Calls
from kon.backends.aws.cold import ColdStore
from kon.backends.aws.dynamodb import DynamoLedger, RowLayout
from kon.backends.aws.objects import S3Objects
from kon.backends.aws.options import AwsOptions
from kon.backends.aws.pace import Pace
from kon.backends.aws.queue import CALL_BYTES, FIFO, STANDARD, SqsQueue
from kon.backends.aws.resources import FoundRun, Resource, Resources, RunPlace, found_runs
from kon.backends.aws.s3_ledger import S3Ledger
from kon.backends.aws.signed import KEY, KEY_FILE, check_key, signed, signing_key
from kon.core.backend import Backend, Channel, ChannelOptions, RequestCount, check_channel
from kon.core.ledger import Ledger
from kon.core.objects import check_run
from kon.core.queue import QueueLimits

_CALLS_IN_FLIGHT: Final = THREADS // 2
"""Connections of a run's ledgers, at most, so that the queues' calls never wait behind them."""


class AwsBackend(Backend):
    """Keeps a run in SQS, DynamoDB and S3. Options: see AwsOptions and docs/aws.md.

    Credentials, region and endpoints come from boto3's own chain.
    """

    name: ClassVar[str] = "aws"
    takes = AwsOptions
    processes: ClassVar[bool] = True
    rows_cost: ClassVar[bool] = True
    secrets: ClassVar[Sequence[str]] = (KEY, KEY_FILE)
    _message_bytes = CALL_BYTES

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = AwsOptions.parse(options)
        self._key = signing_key()
        self._count = RequestCount()
        self._calls = Calls(self._options.region, self._count, self._options.client)
        self._resources = Resources(self._calls, self._options, time.time)
        self._rng = random.Random(secrets.randbits(64))  # jitter: no two processes may share it
        self._queues: list[tuple[str, SqsQueue]] = []

    @property
    def durable(self) -> bool:
        return True

    @property
    def fifo(self) -> bool:
        return self._options.queue == "fifo"

    async def create(self, run: str, options: ChannelOptions) -> None:
        """Takes some seconds where a table is made. Raises ConfigurationError where the run is there with
        other options, BackendRefused or BackendUnavailable for what Amazon says."""
        check_key(self._key, self._options.signed)
        check_channel(options, self._limits)
        await self._resources.create(check_run(run), options)

    async def open(self, run: str) -> Channel:
        if self._options.signed:
            check_key(self._key, True)
        place = await self._resources.find(check_run(run))
        bucket, prefix = self._options.stored or (place.bucket, place.names.stored)
        tasks, answers, dead = self._open_queues(run, place)
        ledger, control = self._ledgers(place)
        channel = Channel(
            tasks=tasks,
            answers=answers,
            dead=dead,
            ledger=ledger,
            control=control,
            objects=S3Objects(self._calls, bucket, prefix),
        )
        return channel if self._key is None else signed(channel, run, self._key)

    async def stored(self, run: str) -> tuple[S3Objects, ColdStore]:
        """What the run's kind has stored, which outlives its queues: to make links, and to ask it back."""
        bucket, prefix = self._options.stored or await self._resources.stored(check_run(run))
        return S3Objects(self._calls, bucket, prefix), ColdStore(self._calls, bucket, prefix)

    async def describe(self, run: str) -> list[Resource]:
        """What `create` makes for the run, and what of it is there already."""
        return await self._resources.describe(check_run(run))

    async def found(self) -> list[FoundRun]:
        """The runs of this prefix that are there, whoever has made them."""
        return await found_runs(self._calls, self._options)

    async def delete(self, run: str, keep_objects: bool = False) -> None:
        """Returns when all is gone, which may take a minute. What other runs of the prefix have stays."""
        for name, queue in list(self._queues):
            if name == run:
                self._queues.remove((name, queue))
                await queue.close()
        await self._resources.delete(check_run(run), keep_objects)

    async def close(self) -> None:
        queues, self._queues = self._queues, []
        for _, queue in queues:
            await queue.close()
        await self._calls.close()

    @property
    def requests(self) -> int:
        return self._count.made

    @property
    def billed(self) -> Mapping[str, float]:
        return self._count.billed

    @property
    def operations(self) -> Mapping[tuple[str, str], int]:
        return self._count.operations

    def _new_name(self) -> str:
        return secrets.token_hex(16)

    @property
    def _limits(self) -> QueueLimits:
        limits = FIFO if self.fifo else STANDARD
        return msgspec.structs.replace(limits, depth_lag_s=self._options.depth_lag_s)

    def _open_queues(self, run: str, place: RunPlace) -> list[SqsQueue]:
        overflow = Overflow(self._calls, place.bucket, f"{place.names.objects}overflow/", self._new_name)
        queues = [
            SqsQueue(
                self._calls, url, limits, overflow, self._options.receivers, self._rng, self._message_bytes
            )
            for url, limits in zip(place.urls, (self._limits, STANDARD, self._limits))
        ]
        self._queues += [(run, queue) for queue in queues]
        return queues

    def _ledgers(self, place: RunPlace) -> tuple[Ledger, Ledger]:
        """The strategy's and the run's own, which share what the service gives them."""
        pace = Pace(_CALLS_IN_FLIGHT, self._rng)
        options, prefix = self._options, place.names.objects
        if options.ledger == "s3":
            return (
                S3Ledger(self._calls, place.bucket, f"{prefix}ledger/", pace),
                S3Ledger(self._calls, place.bucket, f"{prefix}control/", pace, shards=1),
            )

        def ledger(name: str, spread: bool) -> DynamoLedger:
            return DynamoLedger(
                self._calls,
                RowLayout(place.names.table, name, spread),
                pace,
                claims=options.claims,
                reads=options.reads if spread else "strong",  # a run's own state is never to be stale
            )

        return ledger("ledger", True), ledger("control", False)
