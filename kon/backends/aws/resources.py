"""What kon makes at Amazon for a run: queues, a table, a bucket; made, described and deleted.

Each run has a table of its own rather than rows in a shared one: to delete a table is one free call, while
to delete rows costs a write each; capacity, tags and rights are then the run's alone; and DynamoDB spreads
each table's rows by their keys over partitions of its own (see rows.py for how they are spread).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from kon.backends.aws.calls import Calls
from kon.backends.aws.cold import rules_differ, with_rules
from kon.backends.aws.dynamodb import EXPIRY_ATTRIBUTE, table_definition
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.names import PROJECT, SHARED, Names, bucket_name, names_of, tags_of
from kon.backends.aws.options import AwsOptions
from kon.backends.aws.pace import side_by_side
from kon.backends.aws.queue import CALL_BYTES, LONGEST_POLL_S
from kon.core.backend import ChannelOptions, check_same
from kon.core.errors import BackendUnavailable, ConfigurationError, StoreError

_Found = TypeVar("_Found")

RETENTION_S: Final = 14 * 86_400
"""How long SQS keeps a message: as long as it can, so that no run that waits loses one."""

CHANGE_S: Final = 300.0
"""How long a table or queue may take to be made or to go, in seconds."""

OPTIONS_TAG: Final = "KonOptions"
"""Of a queue of tasks: what the run was made with."""

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_DELETE_KEYS: Final = 1_000


class Resource(msgspec.Struct, frozen=True):
    """One thing at Amazon, as `create` makes it.

    kind: `queue`, `table` or `bucket`. exists: whether it is there already.
    """

    service: str
    kind: str
    name: str
    exists: bool
    tags: dict[str, str]


class Place(msgspec.Struct, frozen=True):
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
        self._sleep = sleep

    async def create(self, run: str, channel: ChannelOptions) -> None:
        """Make what is not there yet. Raises ConfigurationError where the run is there with other options."""
        names = names_of(run, self._options)
        tags = tags_of(run, self._options, self._now_s())
        await self._check_made(run, channel)
        account, region = await self._account_and_region()
        shown = self._shown(channel)
        hold = {"VisibilityTimeout": str(math.ceil(channel.visibility_s))}
        dead_url = await self._make_queue(names.dead, tags, hold)
        attributes = await self._calls.call(
            "sqs", "GetQueueAttributes", QueueUrl=dead_url, AttributeNames=["QueueArn"]
        )
        redrive = {
            "deadLetterTargetArn": attributes["Attributes"]["QueueArn"],
            "maxReceiveCount": channel.max_receives,
        }

        async def make_answers() -> None:
            await self._make_queue(names.answers, tags, hold)

        made = [
            make_answers(),
            self._make_bucket(bucket_name(self._options, account, region), region, tags, names.stored),
        ]
        if self._options.ledger == "dynamodb":
            made.append(self._make_table(names.table, tags))
        await side_by_side(made)
        # the last: a run that has its queue of tasks has everything
        await self._make_queue(
            names.tasks,
            {**tags, OPTIONS_TAG: shown},
            {**hold, "RedrivePolicy": json.dumps(redrive)},
        )

    async def find(self, run: str) -> Place:
        """Where the run is. Raises StoreError where it isn't."""
        names = names_of(run, self._options)
        *urls, region = await asyncio.gather(*map(self._url, names.queues), self._region())
        tasks, answers, dead = urls
        if tasks is None or answers is None or dead is None:
            raise StoreError(
                f'there is no run "{run}" at Amazon in {region}: no queue {names.tasks}. It was deleted, '
                "never made, or is in another region or account; `kon run` and `kon up` make it"
            )
        account = tasks.split("/")[-2]
        return Place(names, bucket_name(self._options, account, str(region)), (tasks, answers, dead))

    async def stored(self, run: str) -> tuple[str, str]:
        """The bucket, and what keys begin with there, of what the run's kind has stored; whether or not there
        is any."""
        account, region = await self._account_and_region()
        return bucket_name(self._options, account, region), names_of(run, self._options).stored

    async def describe(self, run: str) -> list[Resource]:
        """What `create` makes, in its order, and what of it is there."""
        names = names_of(run, self._options)
        account, region = await self._account_and_region()
        bucket = bucket_name(self._options, account, region)
        tags = tags_of(run, self._options, self._now_s())
        urls = await asyncio.gather(*map(self._url, names.queues))
        found = [
            Resource("sqs", "queue", name, url is not None, tags) for name, url in zip(names.queues, urls)
        ]
        if self._options.ledger == "dynamodb":
            there = await self._table(names.table) is not None
            found.append(Resource("dynamodb", "table", names.table, there, tags))
        shared = {**tags, "Run": SHARED}
        return [*found, Resource("s3", "bucket", bucket, await self._has_bucket(bucket), shared)]

    async def delete(self, run: str, keep_objects: bool = False) -> None:
        """Delete all of the run's, and wait until it is gone. The bucket goes with the prefix's last run.

        keep_objects: but for what its kind has stored, and then for the bucket.
        """
        names = names_of(run, self._options)
        tags = tags_of(run, self._options, self._now_s())
        account, region = await self._account_and_region()
        # whatever its type: the run may have been made with another
        queues = {f"{stem.removesuffix('.fifo')}{end}" for stem in names.queues for end in ("", ".fifo")}
        await asyncio.gather(*[self._delete_queue(name, tags["Run"]) for name in sorted(queues)])
        await self._delete_table(names.table, tags["Run"])
        bucket, kept = bucket_name(self._options, account, region), names.stored if keep_objects else None
        await self._delete_objects(bucket, names.objects, kept)
        has_rule = self._options.results_cold_after_days is not None
        if has_rule and not keep_objects and await self._has_bucket(bucket):
            await self._keep_rules(bucket, names.stored, None)

    # --- queues ----------------------------------------------------------------------------------------

    async def _check_made(self, run: str, wanted: ChannelOptions) -> None:
        """Raises ConfigurationError where the run is there, and was made otherwise."""
        names = names_of(run, self._options)
        stem = names.tasks.removesuffix(".fifo")
        for name in (stem, f"{stem}.fifo"):
            url = await self._url(name)
            if url is None:
                continue
            tags = await self._queue_tags(url)
            if OPTIONS_TAG not in tags or tags.get("Run") != tags_of(run, self._options, 0.0)["Run"]:
                raise ConfigurationError(
                    f'there is a queue {name} that kon did not make for the run "{run}". It is left as '
                    "it is: choose another name for the run, or another `prefix`"
                )
            shown = tags[OPTIONS_TAG]
            made = dict(word.partition("=")[::2] for word in shown.split())
            was = ChannelOptions(float(made["visibility_s"]), int(made["max_receives"]))
            check_same(run, was, wanted)
            if shown != self._shown(wanted):
                raise ConfigurationError(
                    f'the run "{run}" is there already, with {shown}; asked for was {self._shown(wanted)}. '
                    "It is left as it is: keep its options, delete it, or choose another name"
                )

    def _shown(self, channel: ChannelOptions) -> str:
        """The options that a run is made with, as its tag has them."""
        options, billing = self._options, self._options.capacity
        units = "on_demand" if billing is None else f"{billing.read}/{billing.write}"
        if options.ledger == "s3":
            units = "none"
        return (
            f"visibility_s={channel.visibility_s} max_receives={channel.max_receives} queue={options.queue} "
            f"ledger={options.ledger} billing={units}"
        )

    async def _make_queue(self, name: str, tags: Mapping[str, str], attributes: Mapping[str, str]) -> str:
        """The queue's URL. One that is there with these attributes is taken as it is."""
        whole = {
            "MessageRetentionPeriod": str(RETENTION_S),
            "MaximumMessageSize": str(CALL_BYTES),
            "ReceiveMessageWaitTimeSeconds": str(LONGEST_POLL_S),
            **attributes,
        }
        if name.endswith(".fifo"):
            whole |= {
                "FifoQueue": "true",
                # a group for each message: the limits then count for groups, not for the queue
                "DeduplicationScope": "messageGroup",
                "FifoThroughputLimit": "perMessageGroupId",
            }

        async def make() -> str | None:
            try:
                reply = await self._calls.call(
                    "sqs", "CreateQueue", QueueName=name, Attributes=whole, tags=dict(tags)
                )
            except CallRefused as error:
                if error.code.endswith("QueueDeletedRecently"):
                    return None  # for a minute
                if error.code.endswith(("QueueNameExists", "QueueAlreadyExists")):
                    raise ConfigurationError(
                        f"there is a queue {name} with other settings. It is left as it is: delete the run, "
                        "or choose another name"
                    ) from error
                raise
            url: str = reply["QueueUrl"]
            return url

        return await self._until(make, f"SQS does not make the queue {name}, as one of that name was deleted")

    async def _url(self, name: str) -> str | None:
        try:
            reply = await self._calls.call("sqs", "GetQueueUrl", QueueName=name)
        except CallRefused as error:
            if error.not_there:
                return None
            raise
        url: str = reply["QueueUrl"]
        return url

    async def _queue_tags(self, url: str) -> dict[str, str]:
        reply = await self._calls.call("sqs", "ListQueueTags", QueueUrl=url)
        tags: dict[str, str] = reply.get("Tags", {})
        return tags

    async def _delete_queue(self, name: str, run: str) -> None:
        async def gone() -> bool | None:
            url = await self._url(name)
            if url is None:
                return True
            try:
                _check_ours("queue", name, await self._queue_tags(url), run)
                await self._calls.call("sqs", "DeleteQueue", QueueUrl=url)
            except CallRefused as error:
                if not error.not_there:
                    raise
            return None

        await self._until(gone, f"SQS does not get rid of the queue {name}")

    # --- table -----------------------------------------------------------------------------------------

    async def _make_table(self, name: str, tags: Mapping[str, str]) -> None:
        billing = self._options.capacity
        capacity: dict[str, Any] = {"BillingMode": "PAY_PER_REQUEST"}
        if billing is not None:
            units = {"ReadCapacityUnits": billing.read, "WriteCapacityUnits": billing.write}
            capacity = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}

        async def make() -> bool | None:
            table = await self._table(name)
            if table is not None:
                # DELETING goes away, and then it can be made; whatever else is under way, too
                return True if table["TableStatus"] == "ACTIVE" else None
            try:
                await self._calls.call(
                    "dynamodb",
                    "CreateTable",
                    TableName=name,
                    Tags=_pairs(tags),
                    **capacity,
                    **table_definition(),
                )
            except CallRefused as error:
                if error.code != "ResourceInUseException":  # another client was faster
                    raise
            return None

        await self._until(make, f"the table {name} is still being made, changed or deleted")
        expiry = await self._calls.call("dynamodb", "DescribeTimeToLive", TableName=name)
        if expiry["TimeToLiveDescription"].get("TimeToLiveStatus", "DISABLED") == "DISABLED":
            await self._calls.call(
                "dynamodb",
                "UpdateTimeToLive",
                TableName=name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY_ATTRIBUTE},
            )

    async def _table(self, name: str) -> dict[str, Any] | None:
        try:
            reply = await self._calls.call("dynamodb", "DescribeTable", TableName=name)
        except CallRefused as error:
            if error.not_there:
                return None
            raise
        table: dict[str, Any] = reply["Table"]
        return table

    async def _delete_table(self, name: str, run: str) -> None:
        async def gone() -> bool | None:
            table = await self._table(name)
            if table is None:
                return True
            if table["TableStatus"] != "DELETING":
                try:
                    reply = await self._calls.call(
                        "dynamodb", "ListTagsOfResource", ResourceArn=table["TableArn"]
                    )
                    tags = {tag["Key"]: tag["Value"] for tag in reply.get("Tags", ())}
                    _check_ours("table", name, tags, run)
                    await self._calls.call("dynamodb", "DeleteTable", TableName=name)
                except CallRefused as error:
                    # in use: it is still being made or changed
                    if not error.not_there and error.code != "ResourceInUseException":
                        raise
            return None

        await self._until(gone, f"DynamoDB does not get rid of the table {name}")

    # --- bucket ----------------------------------------------------------------------------------------

    async def _make_bucket(self, bucket: str, region: str, tags: Mapping[str, str], stored: str) -> None:
        shared = _pairs({**tags, "Run": SHARED})
        if not await self._has_bucket(bucket):
            where: dict[str, Any] = {"Tags": shared}
            if region != "us-east-1":
                where["LocationConstraint"] = region
            try:
                await self._calls.call("s3", "CreateBucket", Bucket=bucket, CreateBucketConfiguration=where)
            except CallRefused as error:
                if error.code == "BucketAlreadyExists":
                    raise ConfigurationError(
                        f"the name of the bucket {bucket} is taken by another account. Choose another "
                        "`prefix`"
                    ) from error
                if error.code != "BucketAlreadyOwnedByYou":  # another client was faster
                    raise
        await self._calls.call("s3", "PutBucketTagging", Bucket=bucket, Tagging={"TagSet": shared})
        await self._keep_rules(bucket, stored, self._options.results_cold_after_days)

    async def _keep_rules(self, bucket: str, stored: str, cold_after_days: int | None) -> None:
        """Have the bucket's lifecycle be right for a run; it is shared, and other runs' rules stay.

        stored: what the keys of its results begin with.
        """
        try:
            reply = await self._calls.call("s3", "GetBucketLifecycleConfiguration", Bucket=bucket)
        except CallRefused as error:
            if error.code not in ("NoSuchLifecycleConfiguration", "NoSuchBucket"):
                raise
            reply = {}
        before = reply.get("Rules", [])
        rules = with_rules(before, stored, cold_after_days, self._options.results_storage_class)
        if rules_differ(before, rules):
            await self._calls.call(
                "s3",
                "PutBucketLifecycleConfiguration",
                Bucket=bucket,
                LifecycleConfiguration={"Rules": rules},
            )

    async def _has_bucket(self, bucket: str) -> bool:
        try:
            await self._calls.call("s3", "HeadBucket", Bucket=bucket)
        except CallRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def _delete_objects(self, bucket: str, prefix: str, kept: str | None) -> None:
        """The run's objects, but for those below `kept`; the bucket too, where nothing else is in it."""
        if not await self._has_bucket(bucket):
            return
        last: dict[str, str] = {}
        while True:
            listed = await self._calls.call(
                "s3", "ListObjectsV2", Bucket=bucket, Prefix=prefix, MaxKeys=_DELETE_KEYS, **last
            )
            found = [each["Key"] for each in listed.get("Contents", ())]
            if not found:
                break
            last = {"StartAfter": found[-1]}
            keys = [{"Key": key} for key in found if kept is None or not key.startswith(kept)]
            if not keys:
                continue
            reply = await self._calls.call(
                "s3", "DeleteObjects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True}
            )
            if failed := reply.get("Errors"):
                raise StoreError(
                    f"{len(failed)} objects of the bucket {bucket} can't be deleted "
                    f"({failed[0].get('Code')}, {failed[0].get('Key')}). Mend the cause "
                    "and delete the run again"
                )
        others = await self._calls.call("sqs", "ListQueues", QueueNamePrefix=f"{self._options.prefix}-")
        if not others.get("QueueUrls"):
            try:
                await self._calls.call("s3", "DeleteBucket", Bucket=bucket)
            except CallRefused as error:
                if error.code not in ("BucketNotEmpty", "NoSuchBucket"):  # another run's, or gone already
                    raise

    # --- all -------------------------------------------------------------------------------------------

    async def _account_and_region(self) -> tuple[str, str]:
        identity, region = await asyncio.gather(self._calls.call("sts", "GetCallerIdentity"), self._region())
        return identity["Account"], region

    async def _region(self) -> str:
        region: str = await self._calls.run("sqs", lambda client: client.meta.region_name)
        return region

    async def _until(self, look: Callable[[], Awaitable[_Found | None]], trouble: str) -> _Found:
        """Look again and again until something comes of it. Raises BackendUnavailable after `CHANGE_S`."""
        waited_s, pause_s = 0.0, _FIRST_PAUSE_S
        while (found := await look()) is None:
            if waited_s >= CHANGE_S:
                raise BackendUnavailable(
                    f"{trouble}, after {CHANGE_S:.0f} s. Run the same command again in a while"
                )
            await self._sleep(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return found


def _check_ours(kind: str, name: str, tags: Mapping[str, str], run: str) -> None:
    """Raises StoreError for a thing that does not say of itself that it is this run's."""
    if tags.get("Project") != PROJECT or tags.get("Run") != run:
        raise StoreError(
            f"the {kind} {name} does not carry the tags Project={PROJECT} and Run={run}, so it is not kon's "
            "to delete. It is left as it is; delete it by hand if it is to go"
        )


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
