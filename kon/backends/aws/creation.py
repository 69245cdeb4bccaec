"""Making what a run needs at Amazon. What stands there already is looked at before anything is changed.

Nothing is written to a thing that does not have this run's tags. A creation that was interrupted is taken up:
of what is there already only the tag ExpiresAt is moved on.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any, Final

from kon.backends.aws.cold import rules_differ, with_rules
from kon.backends.aws.dynamodb import EXPIRY_ATTRIBUTE, table_definition
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.options import EXPIRES, OPTIONS_TAG, SHARED, AwsOptions, Names
from kon.backends.aws.pace import side_by_side
from kon.backends.aws.queue import CALL_BYTES, LONGEST_POLL_S
from kon.backends.aws.things import Things, is_ours, pairs
from kon.core.backend import ChannelOptions, check_same
from kon.core.errors import ConfigurationError

RETENTION_S: Final = 14 * 86_400
"""How long SQS keeps a message: as long as it can, so that no run that waits loses one."""

SETTINGS_TAG: Final = "KonSettings"
"""Tag of the bucket: which of the settings below it has been given, so that they are made only once."""

_log = logging.getLogger(__name__)


_QUEUE_LATER: Final = ("QueueDeletedRecently", "QueueNameExists", "QueueAlreadyExists")
"""The name is blocked for a minute, or another client has made the queue meanwhile: its tags tell."""


class Creation:
    """Makes the things of one run. tags: of each of them. bucket: its name, shared by runs of a prefix."""

    def __init__(
        self, things: Things, options: AwsOptions, run: str, names: Names, tags: Mapping[str, str]
    ) -> None:
        self._things = things
        self._options = options
        self._run = run
        self._names = names
        self._tags = dict(tags)

    async def make(self, channel: ChannelOptions, bucket: str) -> None:
        """Raises ConfigurationError where something of that name is not this run's, or was made otherwise."""
        await self._check_made(channel)
        names = self._names
        hold = {"VisibilityTimeout": str(math.ceil(channel.visibility_s))}
        dead_arn = await self._make_queue(names.dead, self._tags, hold)

        async def make_answers() -> None:
            await self._make_queue(names.answers, self._tags, hold)

        made = [make_answers(), self._make_bucket(bucket)]
        if self._options.ledger == "dynamodb":
            made.append(self._make_table(names.table))
        await side_by_side(made)
        redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": channel.max_receives}
        # the last: a run that has its queue of tasks has everything
        await self._make_queue(
            names.tasks,
            {**self._tags, OPTIONS_TAG: _shown(self._options, channel)},
            {**hold, "RedrivePolicy": json.dumps(redrive)},
        )

    # --- queues --------------------------------------------------------------------------------------

    async def _check_made(self, wanted: ChannelOptions) -> None:
        stem = self._names.tasks.removesuffix(".fifo")
        for name in (stem, f"{stem}.fifo"):
            url = await self._things.url(name)
            tags = None if url is None else await self._things.queue_tags(url)
            if tags is None:
                continue  # it is not there, or is just going
            if OPTIONS_TAG not in tags or not is_ours(tags, self._tags["Run"]):
                raise self._foreign("queue", name)
            shown = tags[OPTIONS_TAG]
            made = dict(word.partition("=")[::2] for word in shown.split())
            was = ChannelOptions(float(made["visibility_s"]), int(made["max_receives"]))
            check_same(self._run, was, wanted)
            if shown != _shown(self._options, wanted):
                raise ConfigurationError(
                    f'the run "{self._run}" is there already, with {shown}; asked for was '
                    f"{_shown(self._options, wanted)}. It is left as it is: keep its options, delete it, or "
                    "choose another name"
                )

    async def _make_queue(self, name: str, tags: Mapping[str, str], attributes: Mapping[str, str]) -> str:
        """The queue's ARN, once the queue can be used."""
        account, region, partition = await self._things.account_region_partition()
        arn = f"arn:{partition}:sqs:{region}:{account}:{name}"
        whole = {
            "MessageRetentionPeriod": str(RETENTION_S),
            "MaximumMessageSize": str(CALL_BYTES),
            "ReceiveMessageWaitTimeSeconds": str(LONGEST_POLL_S),
            **attributes,
        }
        if await self._things.has_tls("sqs"):  # or it would keep kon itself out
            whole["Policy"] = json.dumps(_tls_only("sqs:*", [arn]))
        if self._options.kms_key is None:
            whole["SqsManagedSseEnabled"] = "true"
        else:
            whole["KmsMasterKeyId"] = self._options.kms_key
        if name.endswith(".fifo"):
            whole |= {
                "FifoQueue": "true",
                # a group for each message: the limits then count for groups, not for the queue
                "DeduplicationScope": "messageGroup",
                "FifoThroughputLimit": "perMessageGroupId",
            }
        made_here = False

        async def ready() -> str | None:
            nonlocal made_here
            url = await self._things.url(name)
            if url is None:
                made_here = made_here or await self._create_queue(name, whole, tags)
                return None
            there = dict(tags) if made_here else await self._things.queue_tags(url)
            if there is None:
                return None  # it is going, or is not known everywhere yet
            if not is_ours(there, tags["Run"]):
                raise self._foreign("queue", name)
            found = await self._things.queue_attributes(url)
            if found is None:
                return None
            hold_s, wanted_s = found.get("VisibilityTimeout"), attributes["VisibilityTimeout"]
            if hold_s != wanted_s:
                raise ConfigurationError(
                    f"there is a queue {name} with other settings (its VisibilityTimeout is {hold_s} and not "
                    f"{wanted_s}). It is left as it is: delete the run by `kon down`, or choose another name"
                )
            if there.get(EXPIRES, "") < tags[EXPIRES]:
                await self._things.call("sqs", "TagQueue", QueueUrl=url, Tags={EXPIRES: tags[EXPIRES]})
            return found["QueueArn"]

        return await self._things.until(ready, f"SQS does not make the queue {name}")

    async def _create_queue(self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> bool:
        """Whether it was made: False where it can't be yet, or is there after all."""
        try:
            await self._things.call(
                "sqs", "CreateQueue", QueueName=name, Attributes=dict(attributes), tags=dict(tags)
            )
        except CallRefused as error:
            if error.code.endswith(_QUEUE_LATER):
                return False
            if error.code.endswith("InvalidParameterValue") and "Dead letter target" in str(error):
                return False  # the queue that it names is a moment old
            raise
        return True

    # --- table ---------------------------------------------------------------------------------------

    async def _make_table(self, name: str) -> None:
        made_here = False

        async def ready() -> bool | None:
            nonlocal made_here
            table = await self._things.table(name)
            if table is None:
                made_here = made_here or await self._create_table(name)
                return None
            if table["TableStatus"] == "DELETING":
                return None
            if not made_here:
                tags = await self._things.table_tags(table)
                if tags is None:
                    return None
                self._check_table(name, table, tags)
                if table["TableStatus"] == "ACTIVE" and tags.get(EXPIRES, "") < self._tags[EXPIRES]:
                    await self._tag_table(table)
            return True if table["TableStatus"] == "ACTIVE" else None

        await self._things.until(ready, f"the table {name} is still being made, changed or deleted")
        await self._things.until(
            lambda: self._has_expiry(name), f"DynamoDB does not let rows of the table {name} expire"
        )

    async def _create_table(self, name: str) -> bool:
        billing = self._options.capacity
        wanted: dict[str, Any] = {"BillingMode": "PAY_PER_REQUEST", **table_definition()}
        if billing is not None:
            units = {"ReadCapacityUnits": billing.read, "WriteCapacityUnits": billing.write}
            wanted |= {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}
        if self._options.kms_key is not None:
            wanted["SSESpecification"] = {
                "Enabled": True,
                "SSEType": "KMS",
                "KMSMasterKeyId": self._options.kms_key,
            }
        try:
            await self._things.call(
                "dynamodb", "CreateTable", TableName=name, Tags=pairs(self._tags), **wanted
            )
        except CallRefused as error:
            if error.code != "ResourceInUseException":  # another client was faster, or one is just going
                raise
            return False
        return True

    def _check_table(self, name: str, table: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        if not is_ours(tags, self._tags["Run"]):
            raise self._foreign("table", name)
        wanted = table_definition()["KeySchema"]
        if table.get("KeySchema", wanted) != wanted:
            raise ConfigurationError(
                f"the table {name} has other keys than kon's tables have. It is left as it is: delete the "
                "run by `kon down`, or choose another name"
            )

    async def _tag_table(self, table: Mapping[str, Any]) -> None:
        tag = pairs({EXPIRES: self._tags[EXPIRES]})
        try:
            await self._things.call("dynamodb", "TagResource", ResourceArn=table["TableArn"], Tags=tag)
        except CallRefused as error:
            if (
                error.code != "ResourceInUseException"
            ):  # it is being changed: the tag is for people, and waits
                raise

    async def _has_expiry(self, name: str) -> bool | None:
        """Have old rows go by themselves; None where the table can't be changed yet."""
        try:
            reply = await self._things.call("dynamodb", "DescribeTimeToLive", TableName=name)
            if reply["TimeToLiveDescription"].get("TimeToLiveStatus", "DISABLED") != "DISABLED":
                return True
            await self._things.call(
                "dynamodb",
                "UpdateTimeToLive",
                TableName=name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY_ATTRIBUTE},
            )
        except CallRefused as error:
            if error.code == "ResourceInUseException" or error.not_there:
                return None
            if error.code == "ValidationException" and "already enabled" in str(error):
                return True  # by another client, or by a call whose reply was lost
            if error.code == "ValidationException" and "modified multiple times" in str(error):
                _log.warning("rows of the table %s do not expire by themselves: %s", name, error)
                return True
            raise
        return True

    # --- bucket --------------------------------------------------------------------------------------

    async def _make_bucket(self, bucket: str) -> None:
        """Never deleted at a run's end: its name would be free for anybody, and blocked for an hour."""
        shared = {**self._tags, "Run": SHARED}

        made_here = False

        async def ready() -> dict[str, str] | None:
            nonlocal made_here
            if not await self._things.has_bucket(bucket):
                made_here = await self._create_bucket(bucket, shared)
                return None
            tags = await self._things.bucket_tags(bucket)
            # some servers that speak S3 make a bucket and leave out its tags
            return shared if made_here and tags == {} else tags

        tags = await self._things.until(ready, f"S3 does not make the bucket {bucket}")
        if not is_ours(tags, SHARED):
            raise ConfigurationError(
                f"there is a bucket {bucket} that does not have the tags Project=kon and Run={SHARED}, so "
                "kon did not make it. It is left as it is: choose another `prefix`, or, where it is yours "
                "and kon may use it and write its rules, give it these tags"
            )
        kms_key = self._options.kms_key
        settings = "1" if kms_key is None else f"1 kms:{kms_key.rpartition('/')[2]}"
        if tags.get(SETTINGS_TAG) != settings:
            await self._protect(bucket)
        await self._keep_rules(bucket)
        if tags.get(SETTINGS_TAG) != settings or tags.get(EXPIRES, "") < shared[EXPIRES]:
            later = max(tags.get(EXPIRES, ""), shared[EXPIRES])
            await self._tag_bucket(bucket, {**tags, SETTINGS_TAG: settings, EXPIRES: later})

    async def _create_bucket(self, bucket: str, tags: Mapping[str, str]) -> bool:
        """Whether it was made: False where another client was faster."""
        _, region, _ = await self._things.account_region_partition()
        where: dict[str, Any] = {"Tags": pairs(tags)}
        if region != "us-east-1":
            where["LocationConstraint"] = region
        try:
            await self._things.call("s3", "CreateBucket", Bucket=bucket, CreateBucketConfiguration=where)
        except CallRefused as error:
            if error.code == "BucketAlreadyExists":
                raise ConfigurationError(
                    f"the name of the bucket {bucket} is taken by another account. Choose another `prefix`"
                ) from error
            if error.code != "BucketAlreadyOwnedByYou":
                raise
            return False
        return True

    async def _protect(self, bucket: str) -> None:
        """Public to nobody, reached by TLS alone, encrypted."""
        _, _, partition = await self._things.account_region_partition()
        arn = f"arn:{partition}:s3:::{bucket}"
        block = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        default: dict[str, Any] = {"SSEAlgorithm": "AES256"}
        if self._options.kms_key is not None:
            default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": self._options.kms_key}
        rule = {
            "ApplyServerSideEncryptionByDefault": default,
            "BucketKeyEnabled": self._options.kms_key is not None,
        }
        await self._things.call(
            "s3", "PutPublicAccessBlock", Bucket=bucket, PublicAccessBlockConfiguration=block
        )
        if await self._things.has_tls("s3"):  # or it would keep kon itself out
            policy = json.dumps(_tls_only("s3:*", [arn, f"{arn}/*"]))
            await self._things.call("s3", "PutBucketPolicy", Bucket=bucket, Policy=policy)
        await self._things.call(
            "s3",
            "PutBucketEncryption",
            Bucket=bucket,
            ServerSideEncryptionConfiguration={"Rules": [rule]},
        )

    async def _keep_rules(self, bucket: str) -> None:
        await keep_rules(self._things, self._options, bucket, self._names.stored, on=True)

    async def _tag_bucket(self, bucket: str, tags: Mapping[str, str]) -> None:
        """All tags, as S3 replaces the whole set. One of Amazon's own keeps all from being written."""
        if not any(key.startswith("aws:") for key in tags):
            await self._things.call("s3", "PutBucketTagging", Bucket=bucket, Tagging={"TagSet": pairs(tags)})

    def _foreign(self, kind: str, name: str) -> ConfigurationError:
        return ConfigurationError(
            f'there is a {kind} {name} that kon did not make for the run "{self._run}". It is left as it is: '
            "choose another name for the run, or another `prefix`"
        )


async def keep_rules(things: Things, options: AwsOptions, bucket: str, stored: str, *, on: bool) -> None:
    """Have the lifecycle of a shared bucket be right for a run; all other rules stay.

    stored: what the keys of its results begin with. on: whether the run keeps the rule that it asks for.
    """
    try:
        reply = await things.call("s3", "GetBucketLifecycleConfiguration", Bucket=bucket)
    except CallRefused as error:
        if error.code == "NoSuchBucket" and not on:
            return
        if error.code != "NoSuchLifecycleConfiguration":
            raise
        reply = {}
    before = reply.get("Rules", [])
    days = options.results_cold_after_days if on else None
    rules = with_rules(before, stored, days, options.results_storage_class)
    if rules_differ(before, rules):
        await things.call(
            "s3",
            "PutBucketLifecycleConfiguration",
            Bucket=bucket,
            LifecycleConfiguration={"Rules": rules},
        )


def _shown(options: AwsOptions, channel: ChannelOptions) -> str:
    """The options that a run is made with, as its tag has them."""
    billing = options.capacity
    units = "on_demand" if billing is None else f"{billing.read}/{billing.write}"
    if options.ledger == "s3":
        units = "none"
    return (
        f"visibility_s={channel.visibility_s} max_receives={channel.max_receives} queue={options.queue} "
        f"ledger={options.ledger} billing={units}"
    )


def _tls_only(action: str, resources: list[str]) -> dict[str, Any]:
    """A resource's policy that refuses whatever comes without TLS."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": action,
                "Resource": resources,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
