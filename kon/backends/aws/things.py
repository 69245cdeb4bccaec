"""What stands at Amazon under the names of a run, and whose it is.

Each look takes "not yet" for what it is. A new queue is not found for
a second, and a new table's tags come some seconds after it; both are looked at again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.options import PROJECT
from kon.core.errors import BackendUnavailable

_Found = TypeVar("_Found")

CHANGE_S: Final = 300.0
"""How long a thing may take to be made or to go, and how long an outage is ridden out, in seconds."""

YOUNG_S: Final = 60.0
"""A table that is younger may not have its tags yet, in seconds."""

FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_LONGEST_TROUBLE_S: Final = 10.0

_log = logging.getLogger(__name__)


class Things:
    """Looks for and asks about queues, tables and buckets.

    now_s: seconds since the epoch. sleep: for waits at the service. outage_s: how long an outage is ridden
    out; 0 for whoever only looks, and had better be told at once.
    """

    def __init__(
        self,
        calls: Calls,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        outage_s: float = CHANGE_S,
    ) -> None:
        self._outage_s = outage_s
        self._calls = calls
        self._now_s = now_s
        self._sleep = sleep
        self._place: tuple[str, str, str] | None = None

    async def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """One call, made again while the service is in trouble, for up to `outage_s`.

        Raises BackendUnavailable after that, CallRefused for what will not pass.
        """
        waited_s, pause_s = 0.0, 2 * FIRST_PAUSE_S
        while True:
            try:
                return await self._calls.call(service, operation, **parameters)
            except BackendUnavailable as error:
                if waited_s >= self._outage_s:
                    raise
                level = logging.WARNING if pause_s >= 1 else logging.INFO  # what passes at once is no news
                _log.log(level, "%s; trying again in %.1f s", error, pause_s)
            await self._sleep(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, _LONGEST_TROUBLE_S)

    async def ask(self, service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """`call`; None where what it is about is not there."""
        try:
            return await self.call(service, operation, **parameters)
        except CallRefused as error:
            if error.not_there:
                return None
            raise

    async def until(self, look: Callable[[], Awaitable[_Found | None]], trouble: str) -> _Found:
        """Look again and again until something comes of it. Raises BackendUnavailable after `CHANGE_S`."""
        waited_s, pause_s = 0.0, FIRST_PAUSE_S
        while (found := await look()) is None:
            if waited_s >= CHANGE_S:
                raise BackendUnavailable(
                    f"{trouble}, after {CHANGE_S:.0f} s. Run the same command again in a while"
                )
            await self._sleep(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return found

    async def pause(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def account_region_partition(self) -> tuple[str, str, str]:
        """Asked once: whose credentials these are can't change within a process."""
        if self._place is None:
            identity, region = await asyncio.gather(self.call("sts", "GetCallerIdentity"), self.region())
            partition = str(identity.get("Arn", "arn:aws:")).split(":")[1]
            self._place = (identity["Account"], region, partition)
        return self._place

    async def region(self) -> str:
        region: str = await self._calls.run("sqs", lambda client: client.meta.region_name)
        return region

    async def has_tls(self, service: str) -> bool:
        """Whether calls go out by TLS: those to an emulator on this machine do not."""
        return await self._calls.run(service, lambda client: client.meta.endpoint_url.startswith("https://"))

    # --- queues --------------------------------------------------------------------------------------

    async def url(self, name: str) -> str | None:
        """A queue's URL. A queue that was deleted a moment ago may still have one."""
        reply = await self.ask("sqs", "GetQueueUrl", QueueName=name)
        return None if reply is None else str(reply["QueueUrl"])

    async def queue_tags(self, url: str) -> dict[str, str] | None:
        """None for a queue that is not there: not yet, or not any more."""
        reply = await self.ask("sqs", "ListQueueTags", QueueUrl=url)
        return None if reply is None else reply.get("Tags", {})

    async def queue_attributes(self, url: str) -> dict[str, str] | None:
        """None for a queue that is not there: not yet, or not any more."""
        names = ["QueueArn", "VisibilityTimeout"]
        reply = await self.ask("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=names)
        return None if reply is None else reply.get("Attributes", {})

    # --- tables --------------------------------------------------------------------------------------

    async def table(self, name: str) -> dict[str, Any] | None:
        """As DescribeTable describes it."""
        reply = await self.ask("dynamodb", "DescribeTable", TableName=name)
        return None if reply is None else reply["Table"]

    async def table_tags(self, table: Mapping[str, Any]) -> dict[str, str] | None:
        """None where they are not known yet: the table is young, or was deleted meanwhile."""
        reply = await self.ask("dynamodb", "ListTagsOfResource", ResourceArn=table["TableArn"])
        if reply is None:
            return None
        tags = {tag["Key"]: tag["Value"] for tag in reply.get("Tags", ())}
        return None if not tags and self._is_young(table) else tags

    def _is_young(self, table: Mapping[str, Any]) -> bool:
        made = table.get("CreationDateTime")
        return isinstance(made, datetime) and abs(self._now_s() - made.timestamp()) < YOUNG_S

    # --- buckets -------------------------------------------------------------------------------------

    async def has_bucket(self, bucket: str) -> bool:
        try:
            await self.call("s3", "HeadBucket", Bucket=bucket)
        except CallRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def bucket_tags(self, bucket: str) -> dict[str, str] | None:
        """None for a bucket that is not there."""
        try:
            reply = await self.ask("s3", "GetBucketTagging", Bucket=bucket)
        except CallRefused as error:
            if error.code == "NoSuchTagSet":
                return {}
            raise
        return None if reply is None else {tag["Key"]: tag["Value"] for tag in reply.get("TagSet", ())}


def is_ours(tags: Mapping[str, str], run: str) -> bool:
    """Whether a thing says of itself that it is this run's."""
    return tags.get("Project") == PROJECT and tags.get("Run") == run


def pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as DynamoDB and S3 list them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
