"""The fewest requests that a run's tasks can be had for: arithmetic, from the services' own limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from kon.engine.layout import MAX_ROWS

CALL_MESSAGES: Final = 10
"""Of SQS, in one call."""

CALL_BYTES: Final = 1 << 20
"""Of SQS, in one call, and in one message."""

STATEMENTS: Final = 25
"""Of DynamoDB's BatchExecuteStatement, and items of its BatchWriteItem."""

KEYS: Final = 100
"""Of DynamoDB's BatchGetItem."""

OUTCOME_BYTES: Final = 64
"""Of a task without a result in an answer, about."""


def _writes(times: int) -> Callable[[int], int]:
    return lambda rows: times * math.ceil(rows / STATEMENTS)


def _read_and_write(rows: int) -> int:
    return math.ceil(rows / KEYS) + math.ceil(rows / STATEMENTS)


LEDGER: Final[Mapping[str, Callable[[int], int]]] = {
    "none": _writes(0),
    "fifo": _writes(0),
    "conditional_put": _writes(1),
    "lease": _writes(2),
    "result_once": _read_and_write,
    "read_then_write": _read_and_write,
}
"""Calls to the ledger for so many rows, by strategy: a claim, a claim and a commit, a look and a record."""


class Requests(msgspec.Struct, frozen=True):
    """Of a whole run. answers: sent, received and deleted, three calls for as many as fit into one."""

    sends: int
    receives: int
    deletes: int
    ledger: int
    answers: int

    @property
    def total(self) -> int:
        return self.sends + self.receives + self.deletes + self.ledger + self.answers


def least_requests(tasks: int, bundle: int, strategy: str, tasks_per_row: int | None = None) -> Requests:
    """Every call full, none in vain, none repeated. tasks_per_row: None for a bundle's tasks."""
    calls = math.ceil(math.ceil(tasks / bundle) / CALL_MESSAGES)
    answers = 3 * math.ceil(tasks * OUTCOME_BYTES / CALL_BYTES)
    rows = math.ceil(tasks / (tasks_per_row or min(bundle, MAX_ROWS)))
    return Requests(calls, calls, calls, LEDGER[strategy](rows), answers)
