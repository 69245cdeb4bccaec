"""What a request costs, in the units that Amazon bills."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any, Final

from kon.core.backend import RequestCount

_CHUNK_BYTES: Final = 64 << 10
_READS: Final = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})
_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})


class Meter:
    """Counts what botocore really sends, retries included. For any thread."""

    def __init__(self, count: RequestCount) -> None:
        self._count = count
        self._lock = threading.Lock()

    def sent(self, service: str, operation: str, fifo: bool, method: str, size_bytes: int) -> None:
        """One request left."""
        with self._lock:
            self._count.made += 1
            self._bill(f"{service}.calls", 1)
            operations = self._count.operations
            operations[service, operation] = operations.get((service, operation), 0) + 1
            self._bill("bytes_out", size_bytes)
            if service == "sqs":
                self._bill(_sqs(fifo), max(1, math.ceil(size_bytes / _CHUNK_BYTES)))
            elif service == "s3" and not operation.startswith(("Delete", "Abort")):  # those are free
                puts = method in ("PUT", "POST") or operation.startswith("List")
                self._bill("s3.put_requests" if puts else "s3.get_requests", 1)

    def answered(
        self,
        service: str,
        operation: str,
        fifo: bool,
        size_bytes: int,
        parameters: Mapping[str, Any],
        response: Mapping[str, Any],
    ) -> None:
        """An answer came; an error is one too."""
        with self._lock:
            self._bill("bytes_in", size_bytes)
            if service == "sqs" and size_bytes > _CHUNK_BYTES:
                self._bill(_sqs(fifo), math.ceil(size_bytes / _CHUNK_BYTES) - 1)
            elif service == "dynamodb":
                self._units(operation, parameters, response)

    def _units(self, operation: str, parameters: Mapping[str, Any], response: Mapping[str, Any]) -> None:
        code = response.get("Error", {}).get("Code", "")
        if code and code != "ConditionalCheckFailedException":  # a condition that fails is billed as a write
            return
        items = 1
        if operation == "BatchExecuteStatement":
            statements = parameters.get("Statements", ())
            items = len(statements)
            reads = items > 0 and statements[0]["Statement"].startswith("SELECT")
        elif operation in _READS:
            reads = True
        elif operation in _WRITES:
            reads = False
        else:
            return  # of the control plane: free
        consumed = response.get("ConsumedCapacity")
        if consumed:
            tables = [consumed] if isinstance(consumed, Mapping) else consumed
            units = sum(float(table.get("CapacityUnits", 0.0)) for table in tables)
        else:
            units = float(items)  # as one for each item of up to 1 KB, or 4 KB read
        if operation == "BatchGetItem":
            units = max(units, _least_read_units(parameters, response))  # not every emulator tells
        self._bill("dynamodb.read_units" if reads else "dynamodb.write_units", units)

    def _bill(self, what: str, amount: float) -> None:
        self._count.bill(what, amount)


def _least_read_units(parameters: Mapping[str, Any], response: Mapping[str, Any]) -> float:
    """One for each key that was looked up, whether there was an item or not; half for an eventual read."""
    unread = response.get("UnprocessedKeys", {})
    units = 0.0
    for table, wanted in parameters.get("RequestItems", {}).items():
        keys = len(wanted["Keys"]) - len(unread.get(table, {}).get("Keys", ()))
        units += keys * (1.0 if wanted.get("ConsistentRead") else 0.5)
    return units


def _sqs(fifo: bool) -> str:
    return "sqs.fifo_requests" if fifo else "sqs.requests"
