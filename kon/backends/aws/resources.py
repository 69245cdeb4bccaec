"""What kon makes at Amazon for a run: queues, a table, a bucket; made, found, described and deleted.

Each run has a table of its own rather than rows in a shared one: to delete a table is one free call, while
to delete rows costs a write each; capacity, tags and rights are then the run's alone; and DynamoDB spreads
each table's rows by their keys over partitions of its own (see rows.py for how they are spread).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from kon.backends.aws.calls import Calls
from kon.backends.aws.creation import Creation
from kon.backends.aws.deletion import NEW_S, Deletion
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.options import (
    OPTIONS_TAG,
    PROJECT,
    SHARED,
    AwsOptions,
    Names,
    bucket_name,
    names_of,
    tags_of,
)
from kon.backends.aws.things import Things
from kon.core.backend import ChannelOptions
from kon.core.errors import StoreError

_MORE_LOOKS: Final = 2
"""For a run that is there in part: its other queues may be a second old, and not found yet."""


class Resource(msgspec.Struct, frozen=True):
    """One thing at Amazon, as `create` makes it.

    kind: `queue`, `table` or `bucket`. exists: whether it is there already.
    """

    service: str
    kind: str
    name: str
    exists: bool
    tags: dict[str, str]


class RunPlace(msgspec.Struct, frozen=True):
    """Where a run's things are. urls: of the queues for tasks, answers and the dead."""

    names: Names
    bucket: str
    urls: tuple[str, str, str]


class Resources:
    """Makes, finds and deletes what belongs to runs.

    now_s: seconds since the epoch, for the tag ExpiresAt. sleep: for waits at the service.
    """

    def __init__(
        self,
        calls: Calls,
        options: AwsOptions,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._calls = calls
        self._options = options
        self._now_s = now_s
        self._things = Things(calls, now_s, sleep)
        self._looks = Things(calls, now_s, sleep, outage_s=0.0)

    async def create(self, run: str, channel: ChannelOptions) -> None:
        """Make what is not there yet. Raises ConfigurationError where the run is there with other options."""
        tags = tags_of(run, self._options, self._now_s())
        creation = Creation(self._things, self._options, run, names_of(run, self._options), tags)
        await creation.make(channel, await self._bucket(self._things))

    async def find(self, run: str) -> RunPlace:
        """Where the run is. Raises StoreError where it isn't."""
        names = names_of(run, self._options)
        urls = await asyncio.gather(*map(self._looks.url, names.queues))
        for _ in range(_MORE_LOOKS):
            if all(urls) or not any(urls):
                break
            await self._looks.pause(NEW_S)
            urls = await asyncio.gather(*map(self._looks.url, names.queues))
        tasks, answers, dead = urls
        region = await self._looks.region()
        if tasks is None or answers is None or dead is None:
            raise StoreError(
                f'there is no run "{run}" at Amazon in {region}: no queue {names.tasks}. It was deleted, '
                "never made, or is in another region or account; `kon run` and `kon up` make it"
            )
        account = tasks.split("/")[-2]
        bucket = bucket_name(self._options, account, region)
        self._calls.expect_owner(bucket, account)
        return RunPlace(names, bucket, (tasks, answers, dead))

    async def stored(self, run: str) -> tuple[str, str]:
        """The bucket, and what keys begin with there, of what the run's kind has stored; whether or not there
        is any."""
        return await self._bucket(self._looks), names_of(run, self._options).stored

    async def describe(self, run: str) -> list[Resource]:
        """What `create` makes, in its order, and what of it is there."""
        names = names_of(run, self._options)
        bucket = await self._bucket(self._looks)
        tags = tags_of(run, self._options, self._now_s())
        urls = await asyncio.gather(*map(self._looks.url, names.queues))
        found = [
            Resource("sqs", "queue", name, url is not None, tags) for name, url in zip(names.queues, urls)
        ]
        if self._options.ledger == "dynamodb":
            there = await self._looks.table(names.table) is not None
            found.append(Resource("dynamodb", "table", names.table, there, tags))
        shared = {**tags, "Run": SHARED}
        return [*found, Resource("s3", "bucket", bucket, await self._looks.has_bucket(bucket), shared)]

    async def delete(self, run: str, keep_objects: bool = False) -> None:
        """Delete all of the run's, and wait until it is gone. The bucket stays: runs share it, and once it is
        deleted anybody can take its name.

        keep_objects: what its kind has stored stays as well.
        """
        tag = tags_of(run, self._options, self._now_s())["Run"]
        deletion = Deletion(self._things, self._options, tag, names_of(run, self._options))
        await deletion.delete(await self._bucket(self._things), keep_objects)

    async def _bucket(self, things: Things) -> str:
        account, region, _ = await things.account_region_partition()
        bucket = bucket_name(self._options, account, region)
        self._calls.expect_owner(bucket, account)
        return bucket


_ENDS = ("-tasks", "-tasks.fifo")


class FoundRun(msgspec.Struct, frozen=True):
    """A run's name, and the options of `aws` that open it."""

    run: str
    options: dict[str, Any]


async def found_runs(calls: Calls, options: AwsOptions) -> list[FoundRun]:
    """Those of the prefix that are there, in order of their names. What is not kon's is passed over.

    SQS lists a queue for up to a minute after it was deleted.
    """
    runs: list[FoundRun] = []
    page: dict[str, Any] = {"MaxResults": 1_000}
    while True:
        reply = await calls.call("sqs", "ListQueues", QueueNamePrefix=f"{options.prefix}-", **page)
        for url in reply.get("QueueUrls", ()):
            if url.endswith(_ENDS) and (run := await _run_of(calls, url, options)) is not None:
                runs.append(run)
        if not reply.get("NextToken"):
            return sorted(runs, key=lambda found: found.run)
        page["NextToken"] = reply["NextToken"]


async def _run_of(calls: Calls, url: str, options: AwsOptions) -> FoundRun | None:
    try:
        tags = (await calls.call("sqs", "ListQueueTags", QueueUrl=url)).get("Tags", {})
    except CallRefused as error:
        if error.not_there:
            return None
        raise
    if tags.get("Project") != PROJECT or "Run" not in tags or OPTIONS_TAG not in tags:
        return None
    made = dict(word.partition("=")[::2] for word in tags[OPTIONS_TAG].split())
    given = {"prefix": options.prefix, "queue": made.get("queue"), "ledger": made.get("ledger")}
    if options.region is not None:
        given["region"] = options.region
    run = tags["Run"]
    # the tag can't hold every name; where the name that it tells is not the queue's, nobody can open it
    if names_of(run, AwsOptions.parse(given)).tasks != url.rpartition("/")[2]:
        return None
    return FoundRun(run, given)
