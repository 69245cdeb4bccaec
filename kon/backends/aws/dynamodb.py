"""A ledger in a DynamoDB table.

Conditional writes go 25 to a call, as PartiQL statements, and each statement is answered on its own.
What is turned down for now is sent again alone, later. What fails its condition is answered with the
row that stands there, from the reply, or read back where the reply leaves it out: DynamoDB does so for
an INSERT that finds a row.

A statement that is sent again may meet its own row, when the reply to the first was lost. That row is
answered like any other; strategies compare tokens (see `Ledger`).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused, in_kons_words
from kon.backends.aws.pace import TRIES, Pace, given_up, side_by_side
from kon.backends.aws.rows import (
    EXPIRY_ATTRIBUTE,
    MAX_OUTCOME_BYTES,
    Item,
    RowLayout,
    check_size,
    expiry_s,
    table_definition,
)
from kon.core.ledger import Ledger, Record, missing

__all__ = ["EXPIRY_ATTRIBUTE", "DynamoLedger", "RowLayout", "table_definition"]

_Work = TypeVar("_Work")

MAX_BATCH: Final = 25
"""Statements of a BatchExecuteStatement, and items of a BatchWriteItem."""

MAX_KEYS: Final = 100
"""Most keys of a BatchGetItem."""

MAX_REQUEST_BYTES: Final = 4_000_000
"""Bytes of rows in one request: well below the limits that DynamoDB documents, 4 MB and up."""

SEGMENTS: Final = 4
"""That a scan of a ledger whose rows are spread reads side by side."""

KEEP_S: Final = 30 * 86_400.0
"""How long rows outlive their last write; more than twice as long as SQS keeps a message."""

_FOR_NOW: Final = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "RequestLimitExceeded",
        "TransactionConflict",
        "InternalServerError",
    }
)
"""Codes of a statement that may be sent again. After an InternalServerError it may have been written."""

_CONDITION: Final = frozenset({"DuplicateItem", "ConditionalCheckFailed"})


class _Write(NamedTuple):
    """A conditional write, and its place in the call. if_token: None where there may be no row."""

    at: int
    record: Record
    if_token: str | None


class DynamoLedger(Ledger):
    """Rows of one layout in one table.

    claims: `batch` as told above; `single` makes a PutItem for each row, to compare the two.
    reads: `strong` sees every earlier write; `eventual` costs half and may be stale. What is read back
        after a failed condition is always read strongly.
    pace: shared by the ledgers of a table, which throttles them together.
    now_s: seconds since the epoch, for the rows' expiry alone. keep_s: see `KEEP_S`.
    """

    max_batch = MAX_BATCH
    max_outcome_bytes = MAX_OUTCOME_BYTES

    def __init__(
        self,
        calls: Calls,
        layout: RowLayout,
        pace: Pace,
        *,
        claims: Literal["batch", "single"] = "batch",
        reads: Literal["strong", "eventual"] = "strong",
        now_s: Callable[[], float] = time.time,
        keep_s: float = KEEP_S,
    ) -> None:
        self.stale_reads = reads == "eventual"
        self._calls = calls
        self._layout = layout
        self._pace = pace
        self._single = claims == "single"
        self._now_s = now_s
        self._keep_s = keep_s

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        rows = await self._rows(keys, strong=not self.stale_reads)
        return [rows.get(key) for key in keys]

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        return await self._write([_Write(at, record, None) for at, record in enumerate(records)])

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        both = zip(records, if_tokens, strict=True)
        return await self._write([_Write(at, record, token) for at, (record, token) in enumerate(both)])

    async def put(self, records: Sequence[Record]) -> None:
        sizes = list(map(check_size, records))
        await side_by_side(
            [self._until_through("written", records[part], self._put) for part in _parts(sizes)]
        )

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        """One call for each row: a PartiQL DELETE does not tell a row that it deleted from one that was
        not there."""
        deleted = [False] * len(keys)
        work = [(at, key, token) for at, (key, token) in enumerate(zip(keys, if_tokens, strict=True))]
        once = partial(self._delete, deleted)
        await side_by_side([self._until_through("deleted", [each], once) for each in work])
        return deleted

    async def scan(self, first: int, limit: int) -> list[Record]:
        """Where rows are spread, it reads the whole table, however few it is asked for."""
        if limit < 1:
            return []
        if not self._layout.spread:
            return await self._query(first, limit)
        found: list[Record] = []
        await side_by_side([self._scan(segment, first, found) for segment in range(SEGMENTS)])
        return heapq.nsmallest(limit, found, key=lambda record: record.key)

    # --- conditional writes --------------------------------------------------------------------------

    async def _write(self, writes: list[_Write]) -> list[Record | None]:
        verdicts: list[Record | None] = [None] * len(writes)
        rounds = 0
        while writes:
            sizes = [check_size(write.record) for write in writes]
            if rounds == TRIES:
                raise given_up(
                    len(writes), "written", rounds, "other writers made and removed them meanwhile"
                )
            rounds += 1
            unseen: list[_Write] = []
            if self._single:
                once = partial(self._put_if, verdicts, unseen)
                parts = [[write] for write in writes]
            else:
                once = partial(self._execute, verdicts, unseen)
                parts = [writes[part] for part in _parts(sizes)]
            await side_by_side([self._until_through("written", part, once) for part in parts])
            writes = await self._look(unseen, verdicts)
        return verdicts

    async def _execute(
        self, verdicts: list[Record | None], unseen: list[_Write], writes: Sequence[_Write]
    ) -> list[_Write]:
        """Many writes in one call. Returns those that were turned down for now."""
        layout, expires_at_s = self._layout, expiry_s(self._now_s(), self._keep_s)
        reply = await self._calls.call(
            "dynamodb",
            "BatchExecuteStatement",
            Statements=[
                layout.insert(record, expires_at_s)
                if if_token is None
                else layout.replace(record, if_token, expires_at_s)
                for _, record, if_token in writes
            ],
            ReturnConsumedCapacity="TOTAL",
        )
        again: list[_Write] = []
        for write, answer in zip(writes, reply["Responses"], strict=True):
            error = answer.get("Error")
            if error is None:
                continue
            code = error.get("Code", "")
            if code in _FOR_NOW:
                again.append(write)
            elif code not in _CONDITION:
                raise self._refused(error)
            elif item := error.get("Item"):
                verdicts[write.at] = layout.record(item)
            else:
                unseen.append(write)
        return again

    async def _put_if(
        self, verdicts: list[Record | None], unseen: list[_Write], writes: Sequence[_Write]
    ) -> list[_Write]:
        """One write in one call."""
        (write,) = writes
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if write.if_token is not None:
            condition = {
                "ConditionExpression": "fence = :token",
                "ExpressionAttributeValues": {":token": {"S": write.if_token}},
            }
        try:
            await self._calls.call(
                "dynamodb",
                "PutItem",
                TableName=self._layout.table,
                Item=self._item(write.record),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                ReturnConsumedCapacity="TOTAL",
                **condition,
            )
        except CallRefused as error:
            if error.code == "TransactionConflictException":
                return [write]
            if error.code != "ConditionalCheckFailedException":
                raise
            if item := error.response.get("Item"):
                verdicts[write.at] = self._layout.record(item)
            else:
                unseen.append(write)
        return []

    async def _look(self, unseen: list[_Write], verdicts: list[Record | None]) -> list[_Write]:
        """Read the rows back that replies left out. Returns the writes for which they stand no longer as
        they stood against them: whoever wrote them has been faster again."""
        rows = await self._rows([write.record.key for write in unseen], strong=True)
        again: list[_Write] = []
        for write in unseen:
            row = rows.get(write.record.key)
            if row is None and write.if_token is not None:
                verdicts[write.at] = missing(write.record.key)
            elif row is None or row.token == write.if_token:
                again.append(write)
            else:
                verdicts[write.at] = row
        return again

    def _refused(self, error: dict[str, Any]) -> Exception:
        """A statement's own error as if the whole call had met it."""
        code = error.get("Code", "")
        if code == "ResourceNotFound":
            code = "ResourceNotFoundException"
        answer = {"Error": {"Code": code, "Message": error.get("Message", "")}}
        whole = ClientError(answer, "BatchExecuteStatement")
        return in_kons_words(whole, "dynamodb", "BatchExecuteStatement", self._layout.table) or whole

    # --- the others ----------------------------------------------------------------------------------

    async def _put(self, records: Sequence[Record]) -> list[Record]:
        table = self._layout.table
        requests = [{"PutRequest": {"Item": self._item(record)}} for record in records]
        reply = await self._calls.call(
            "dynamodb", "BatchWriteItem", RequestItems={table: requests}, ReturnConsumedCapacity="TOTAL"
        )
        left = reply.get("UnprocessedItems", {}).get(table)
        if not left:
            return []
        keys = {self._layout.key_of(request["PutRequest"]["Item"]) for request in left}
        return [record for record in records if record.key in keys]

    async def _delete(
        self, deleted: list[bool], work: Sequence[tuple[int, int, str]]
    ) -> list[tuple[int, int, str]]:
        ((at, key, token),) = work
        try:
            await self._calls.call(
                "dynamodb",
                "DeleteItem",
                TableName=self._layout.table,
                Key=self._layout.key(key),
                ConditionExpression="fence = :token",
                ExpressionAttributeValues={":token": {"S": token}},
                ReturnConsumedCapacity="TOTAL",
            )
        except CallRefused as error:
            if error.code == "TransactionConflictException":
                return list(work)
            if error.code != "ConditionalCheckFailedException":
                raise
        else:
            deleted[at] = True
        return []

    async def _rows(self, keys: Sequence[int], strong: bool) -> dict[int, Record]:
        rows: dict[int, Record] = {}
        parts = [keys[begin : begin + MAX_KEYS] for begin in range(0, len(keys), MAX_KEYS)]
        await side_by_side(
            [self._until_through("read", part, partial(self._get, rows, strong)) for part in parts]
        )
        return rows

    async def _get(self, rows: dict[int, Record], strong: bool, keys: Sequence[int]) -> list[int]:
        layout = self._layout
        wanted = {"Keys": list(map(layout.key, keys)), "ConsistentRead": strong}
        reply = await self._calls.call(
            "dynamodb", "BatchGetItem", RequestItems={layout.table: wanted}, ReturnConsumedCapacity="TOTAL"
        )
        for item in reply["Responses"].get(layout.table, ()):
            record = layout.record(item)
            rows[record.key] = record
        left = reply.get("UnprocessedKeys", {}).get(layout.table, {}).get("Keys", ())
        return [layout.key_of(key) for key in left]

    async def _query(self, first: int, limit: int) -> list[Record]:
        """Rows that lie in one partition, in order."""
        found: list[Record] = []
        async for items in self._pages(
            "Query",
            KeyConditionExpression="pk = :name AND sk >= :first",
            ExpressionAttributeValues={":name": {"S": self._layout.name}, ":first": {"N": str(first)}},
            Limit=limit,
        ):
            found += map(self._layout.record, items)
            if len(found) >= limit:
                break
        return found[:limit]

    async def _scan(self, segment: int, first: int, found: list[Record]) -> None:
        """One segment of the table, which has rows of the other ledger too."""
        async for items in self._pages(
            "Scan",
            Segment=segment,
            TotalSegments=SEGMENTS,
            FilterExpression="begins_with(pk, :name)",
            ExpressionAttributeValues={":name": {"S": self._layout.prefix}},
        ):
            found += [record for record in map(self._layout.record, items) if record.key >= first]

    async def _pages(self, operation: str, **parameters: Any) -> AsyncIterator[list[Item]]:
        parameters |= {"TableName": self._layout.table, "ConsistentRead": True}
        while True:
            call = partial(
                self._calls.call, "dynamodb", operation, **parameters, ReturnConsumedCapacity="TOTAL"
            )
            reply = await self._pace.run(call)
            yield reply["Items"]
            if not reply.get("LastEvaluatedKey"):
                return
            parameters["ExclusiveStartKey"] = reply["LastEvaluatedKey"]

    def _item(self, record: Record) -> Item:
        return self._layout.item(record, expiry_s(self._now_s(), self._keep_s))

    # --- pace ----------------------------------------------------------------------------------------

    async def _until_through(
        self, what: str, work: Sequence[_Work], once: Callable[[Sequence[_Work]], Awaitable[list[_Work]]]
    ) -> None:
        """Send the work, and again what of it was turned down for now, after a pause each time."""
        tries = 0
        while True:
            left = await self._pace.run(partial(once, work), bool)
            if not left:
                return
            tries = tries + 1 if len(left) == len(work) else 1
            if tries == TRIES:
                raise given_up(len(left), what, tries, "DynamoDB is asked for too much at a time")
            await self._pace.pause(tries)
            work = left


def _parts(sizes: Sequence[int]) -> Iterator[slice]:
    """As many in a request as it takes, by number and by bytes."""
    begin = total = 0
    for at, size in enumerate(sizes):
        if at - begin == MAX_BATCH or total + size > MAX_REQUEST_BYTES:
            yield slice(begin, at)
            begin, total = at, 0
        total += size
    if begin < len(sizes):
        yield slice(begin, len(sizes))
