"""A ledger of objects in S3, one for each row, by conditional writes.

    insert   PUT, If-None-Match: *           412: the row that is there is read back
    replace  GET, compare tokens, PUT, If-Match: the ETag that was read

A PUT's answer tells the ETag of what it wrote, so that whoever replaces its own row needs no GET.
Two writes of one key at once may both get a conflict (409): they are sent again, later.

Slower and dearer than DynamoDB for small rows, by far: a request for each row, at eight times the
price of a write unit. It needs no table, though, and a row may be of any size.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Any, Final

import msgspec

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.pace import TRIES, Pace, given_up, side_by_side
from kon.core.errors import StoreError
from kon.core.ledger import Ledger, Record, missing

MAX_BATCH: Final = 25
"""Rows that callers do well to hand over at once; each is a request of its own."""

SHARDS: Final = 16
"""Prefixes over which rows are spread; S3 takes some 3,500 PUTs a second for each."""

KNOWN_ETAGS: Final = 20_000
"""ETags of rows written here that may soon be replaced; the oldest are forgotten first."""

_LIST_KEYS: Final = 1_000

_CONFLICT: Final = 409
_FAILED: Final = 412

_encoder = msgspec.json.Encoder()
_rows = msgspec.json.Decoder(Record)


class S3Ledger(Ledger):
    """Rows under a prefix of a bucket.

    prefix: ends with a slash. shards: the same for all that use the ledger.
    pace: how many requests may be in flight.
    """

    max_batch = MAX_BATCH

    def __init__(self, calls: Calls, bucket: str, prefix: str, pace: Pace, *, shards: int = SHARDS) -> None:
        self._calls = calls
        self._bucket = bucket
        self._prefix = prefix
        self._pace = pace
        self._shards = shards
        self._etags: dict[int, tuple[str, str]] = {}  # of rows written here: token and ETag

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        return [row for row, _ in await side_by_side([self._get(key) for key in keys])]

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        inserts = [partial(self._insert, record) for record in records]
        return await side_by_side([self._until_settled(insert) for insert in inserts])

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        both = zip(records, if_tokens, strict=True)
        replaces = [partial(self._replace, record, token) for record, token in both]
        return await side_by_side([self._until_settled(replace) for replace in replaces])

    async def put(self, records: Sequence[Record]) -> None:
        await side_by_side([self._put(record) for record in records])

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        deletes = [partial(self._delete, key, token) for key, token in zip(keys, if_tokens, strict=True)]
        found = await side_by_side([self._until_settled(delete) for delete in deletes])
        return [refused is None for refused in found]

    async def scan(self, first: int, limit: int) -> list[Record]:
        """A list of each shard, and a GET for each row: for small tables, as the contract says."""
        shards = await side_by_side([self._list(shard, first, limit) for shard in range(self._shards)])
        rows = await self.read(heapq.nsmallest(limit, chain.from_iterable(shards)))
        return [row for row in rows if row is not None]

    # --- one row -------------------------------------------------------------------------------------

    async def _until_settled(self, attempt: Callable[[], Awaitable[Record | _Again | None]]) -> Record | None:
        for tries in range(1, TRIES + 1):
            verdict = await attempt()
            if not isinstance(verdict, _Again):
                return verdict
            if verdict is _AFTER_A_PAUSE:
                await self._pace.pause(tries)
        raise given_up(1, "written", TRIES, "other writes of the same key were under way")

    async def _insert(self, record: Record) -> Record | _Again | None:
        refused = await self._put(record, IfNoneMatch="*")
        if refused is not None:
            return _after(refused) or (await self._get(record.key))[0] or _AT_ONCE  # gone in between
        return None

    async def _replace(self, record: Record, if_token: str) -> Record | _Again | None:
        row, etag = await self._seen(record.key, if_token)
        if etag is None:
            return row or missing(record.key)
        refused = await self._put(record, IfMatch=etag)
        return None if refused is None else _after(refused) or _AT_ONCE

    async def _delete(self, key: int, if_token: str) -> Record | _Again | None:
        row, etag = await self._seen(key, if_token)
        if etag is None:
            return row or missing(key)
        refused = await self._conditional("DeleteObject", key, IfMatch=etag)
        return None if isinstance(refused, dict) else _after(refused) or _AT_ONCE

    async def _seen(self, key: int, if_token: str) -> tuple[Record | None, str | None]:
        """The ETag of the row that has this token, or what is there instead."""
        token, etag = self._etags.pop(key, (None, ""))
        if token == if_token:
            return None, etag
        row, etag = await self._get(key)
        return row, etag if row is not None and row.token == if_token else None

    # --- requests ------------------------------------------------------------------------------------

    async def _put(self, record: Record, **condition: str) -> int | None:
        """None where it was written, else the status that refused it."""
        body = _encoder.encode(record)
        self._etags.pop(record.key, None)
        reply = await self._conditional("PutObject", record.key, Body=body, **condition)
        if isinstance(reply, int):
            return reply
        while len(self._etags) >= KNOWN_ETAGS:
            del self._etags[next(iter(self._etags))]
        self._etags[record.key] = (record.token, reply["ETag"])
        return None

    async def _conditional(self, operation: str, key: int, **parameters: Any) -> dict[str, Any] | int:
        call = partial(
            self._calls.call, "s3", operation, Bucket=self._bucket, Key=self._name(key), **parameters
        )
        try:
            return await self._pace.run(call)
        except CallRefused as error:
            # 404 is the answer to If-Match where there is no object
            expected = error.status in (_CONFLICT, _FAILED) or error.code == "NoSuchKey"
            if not expected or not parameters.keys() & {"IfMatch", "IfNoneMatch"}:
                raise
            return error.status

    async def _get(self, key: int) -> tuple[Record | None, str]:
        name = self._name(key)

        def get(client: Any) -> tuple[bytes, str]:
            reply = client.get_object(Bucket=self._bucket, Key=name)
            with closing(reply["Body"]) as body:
                return body.read(), reply["ETag"]

        try:
            body, etag = await self._pace.run(partial(self._calls.run, "s3", get, self._bucket))
        except CallRefused as error:
            if error.code == "NoSuchKey":
                return None, ""
            raise
        try:
            return _rows.decode(body), etag
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(
                f"the object {name} of {self._bucket} is no row that kon wrote ({error}); "
                "it is left untouched: remove it, or take another prefix"
            ) from error

    async def _list(self, shard: int, first: int, limit: int) -> list[int]:
        prefix = self._folder(shard)
        parameters: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix}
        if first > 0:
            parameters["StartAfter"] = f"{prefix}{first - 1:014x}"
        keys: list[int] = []
        while len(keys) < limit:
            parameters["MaxKeys"] = min(limit - len(keys), _LIST_KEYS)
            call = partial(self._calls.call, "s3", "ListObjectsV2", **parameters)
            reply = await self._pace.run(call)
            names = [each["Key"] for each in reply.get("Contents", ())]
            keys += [int(name[len(prefix) :], 16) for name in names]
            if not reply.get("IsTruncated"):
                break
            parameters["ContinuationToken"] = reply["NextContinuationToken"]
        return keys

    def _folder(self, shard: int) -> str:
        return f"{self._prefix}{shard:02x}/"

    def _name(self, key: int) -> str:
        """Fourteen hexadecimal digits, as keys are below 2**53: names sort as keys do."""
        return f"{self._folder(key % self._shards)}{key:014x}"


class _Again:
    """The verdict that there is none yet."""


_AT_ONCE: Final = _Again()
_AFTER_A_PAUSE: Final = _Again()


def _after(status: int) -> _Again | None:
    return _AFTER_A_PAUSE if status == _CONFLICT else None
