"""Deleting what a run has at Amazon: each thing whatever becomes of the others, and all in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from kon.backends.aws.creation import keep_rules
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.objects import abort_uploads
from kon.backends.aws.options import PROJECT, SHARED, AwsOptions, Names
from kon.backends.aws.things import Things, is_ours
from kon.core.errors import KonError, StoreError, counted

NEW_S: Final = 1.0
"""For so long after its creation a queue may not be found by its name, in seconds."""

_DELETE_KEYS: Final = 1_000


class Deletion:
    """Deletes the things of one run. run: as its tags have it."""

    def __init__(self, things: Things, options: AwsOptions, run: str, names: Names) -> None:
        self._things = things
        self._options = options
        self._run = run
        self._names = names

    async def delete(self, bucket: str, keep_objects: bool) -> None:
        """Returns when all is gone but the bucket, which runs share.

        Raises the first error once all else has been seen to, with the number of the others.
        """
        await _all(
            [
                self._delete_queues(),
                self._delete_table(self._names.table),
                self._empty_bucket(bucket, keep_objects),
            ]
        )

    async def _delete_queues(self) -> None:
        names = self._names
        # whatever its type: the run may have been made with another
        stems = [stem.removesuffix(".fifo") for stem in names.queues]
        queues = sorted({f"{stem}{end}" for stem in stems for end in ("", ".fifo")})
        found: set[str] = set()
        await _all([self._delete_queue(name, found) for name in queues])
        missed = [name for name in names.queues if name not in found]
        if found and missed:  # some may be so new that they were not found yet
            await self._things.pause(NEW_S)
            await _all([self._delete_queue(name, found) for name in missed])

    async def _delete_queue(self, name: str, found: set[str]) -> None:
        async def gone() -> bool | None:
            url = await self._things.url(name)
            if url is None:
                return True
            tags = await self._things.queue_tags(url)
            if tags is None:
                return None  # it is going already
            self._check_ours("queue", name, is_ours(tags, self._run))
            found.add(name)
            await self._things.ask("sqs", "DeleteQueue", QueueUrl=url)
            return None

        await self._things.until(gone, f"SQS does not get rid of the queue {name}")

    async def _delete_table(self, name: str) -> None:
        async def gone() -> bool | None:
            table = await self._things.table(name)
            if table is None:
                return True
            if table["TableStatus"] == "DELETING":
                return None
            tags = await self._things.table_tags(table)
            if tags is None:
                return None
            self._check_ours("table", name, is_ours(tags, self._run))
            try:
                await self._things.ask("dynamodb", "DeleteTable", TableName=name)
            except CallRefused as error:
                if error.code != "ResourceInUseException":  # it is still being made or changed
                    raise
            return None

        await self._things.until(gone, f"DynamoDB does not get rid of the table {name}")

    async def _empty_bucket(self, bucket: str, keep_objects: bool) -> None:
        """Delete the run's objects, and its rule. With keep_objects what its kind has stored stays."""
        if not await self._things.has_bucket(bucket):
            return
        tags = await self._things.bucket_tags(bucket)
        if tags is None:
            return
        if is_ours(tags, SHARED):  # what killed workers sent in part, and no one has done again
            await abort_uploads(self._things.call, bucket, self._names.objects)
        listed = await self._list(bucket, {})
        has_rule = self._options.results_cold_after_days is not None and not keep_objects
        if not listed and not has_rule:
            return  # nothing of the run's is in it, whosever it is
        self._check_ours("bucket", bucket, is_ours(tags, SHARED), SHARED)
        while listed:
            stay = self._names.stored if keep_objects else None
            keys = [{"Key": key} for key in listed if stay is None or not key.startswith(stay)]
            if keys:
                await self._delete_keys(bucket, keys)
            listed = await self._list(bucket, {"StartAfter": listed[-1]})
        if has_rule:
            await keep_rules(self._things, self._options, bucket, self._names.stored, on=False)

    async def _list(self, bucket: str, last: dict[str, str]) -> list[str]:
        reply = await self._things.ask(
            "s3", "ListObjectsV2", Bucket=bucket, Prefix=self._names.objects, MaxKeys=_DELETE_KEYS, **last
        )
        return [] if reply is None else [each["Key"] for each in reply.get("Contents", ())]

    async def _delete_keys(self, bucket: str, keys: list[dict[str, str]]) -> None:
        deleted = {"Objects": keys, "Quiet": True}
        reply = await self._things.ask("s3", "DeleteObjects", Bucket=bucket, Delete=deleted)
        if failed := (reply or {}).get("Errors"):
            raise StoreError(
                f"{counted(len(failed), 'object')} of the bucket {bucket} can't be deleted "
                f"({failed[0].get('Code')}, {failed[0].get('Key')}). Mend the cause and delete the run again"
            )

    def _check_ours(self, kind: str, name: str, ours: bool, run: str | None = None) -> None:
        """Raises StoreError for a thing that does not say of itself that it is this run's."""
        if not ours:
            raise StoreError(
                f"the {kind} {name} does not carry the tags Project={PROJECT} and Run={run or self._run}, so "
                "it is not kon's to delete. It is left as it is; delete it by hand if it is to go"
            )


async def _all(work: list[Coroutine[Any, Any, None]]) -> None:
    """Each to its end. Raises the first error; where there are others, it says how many."""
    errors = [each for each in await asyncio.gather(*work, return_exceptions=True) if each is not None]
    if not errors:
        return
    first = errors[0]
    if isinstance(first, KonError) and len(errors) > 1:
        first.args = (f"{first} (and {len(errors) - 1} more)", *first.args[1:])
    raise first
