"""A ledger that behaves as DynamoDB is documented to, in virtual time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

from kon.backends.sim.network import BACKOFF_S, Network, NetworkCall
from kon.backends.sim.trace import What
from kon.core.errors import BackendUnavailable
from kon.core.ledger import Ledger, Record, missing
from kon.core.task import task_of_key

MAX_BATCH: Final = 25
"""Statements of one BatchExecuteStatement."""

THROTTLE_TRIES: Final = 10
"""Attempts at an item that is turned down, each after a longer pause; the SDK's own default for DynamoDB."""

UNIT_BYTES: Final = 1_024
"""That a write unit pays for."""

_PAGED: Final = 1 << 52
"""Keys from here on are no tasks', but of `kon.engine.paged_ledger`' own."""

_MESSAGE_PAGE: Final = 1 << 47
"""A bit of the keys of pages that follow the messages (see `kon.engine.layout`)."""

_Verdict = TypeVar("_Verdict")


class _Throttled:
    """The verdict for an item that was turned down for now."""


_THROTTLED: Final = _Throttled()


class SimLedger(Ledger):
    """One table. Each item of a request is written on its own; requests of one call run side by side."""

    max_batch = MAX_BATCH

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self._network = network
        self._faults = network.faults
        self.stale_reads = self._faults is not None and self._faults.can_fire("stale_read")
        self._throttles = self._faults is not None and self._faults.can_fire("throttle")
        self.tasks_per_row = 1
        """For the trace, where workers keep their tasks in pages (see `kon.engine.paged_ledger`)."""
        self.rows: dict[int, Record] = {}
        """What is really there now, for invariants."""
        self._past: dict[int, list[tuple[float, Record | None]]] = {}  # until when, what stood there

    async def read(self, keys: Sequence[int]) -> list[Record | None]:
        keys = list(keys)
        return await self._batch("read", keys, lambda i: self._read(keys[i]))

    async def insert_new(self, records: Sequence[Record]) -> list[Record | None]:
        records = list(records)
        keys = [record.key for record in records]
        return await self._batch("insert_new", keys, lambda i: self._insert(records[i]), _units(records))

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        records, tokens = list(records), list(if_tokens)
        _check_lengths(records, tokens)
        keys = [record.key for record in records]
        return await self._batch(
            "replace", keys, lambda i: self._replace(records[i], tokens[i]), _units(records)
        )

    async def put(self, records: Sequence[Record]) -> None:
        records = list(records)
        keys = [record.key for record in records]
        await self._batch("put", keys, lambda i: self._write(keys[i], records[i]), _units(records))

    async def delete(self, keys: Sequence[int], if_tokens: Sequence[str]) -> list[bool]:
        keys, tokens = list(keys), list(if_tokens)
        _check_lengths(keys, tokens)
        return await self._batch("delete", keys, lambda i: self._delete(keys[i], tokens[i]))

    async def scan(self, first: int, limit: int) -> list[Record]:
        """Sorts the keys: for small tables, as the contract says."""
        return await self._network.call(
            NetworkCall("ledger", self.name, "scan", limit), functools.partial(self._scan, first, limit)
        )

    # --- what they do to one row ---------------------------------------------------------------------

    def _read(self, key: int) -> Record | None:
        faults = self._faults
        if faults is not None and (far := faults.fires("stale_read", self.name)) is not None:
            then_s = asyncio.get_running_loop().time() - far.uniform(0.0, faults.spans.stale_s)
            for until_s, record in self._past.get(key, ()):
                if until_s > then_s:
                    return record
        return self.rows.get(key)

    def _insert(self, record: Record) -> Record | None:
        found = self.rows.get(record.key)
        if found is None:
            self._write(record.key, record)
        return found

    def _replace(self, record: Record, if_token: str) -> Record | None:
        found = self.rows.get(record.key)
        if found is None:
            return missing(record.key)
        if found.token != if_token:
            return found
        self._write(record.key, record)
        return None

    def _delete(self, key: int, if_token: str) -> bool:
        found = self.rows.get(key)
        if found is None or found.token != if_token:
            return False
        self._write(key, None)
        return True

    def _write(self, key: int, record: Record | None) -> None:
        if self.stale_reads:
            now_s = asyncio.get_running_loop().time()
            self._past.setdefault(key, []).append((now_s, self.rows.get(key)))
        if record is None:
            del self.rows[key]
        else:
            self.rows[key] = record

    def _scan(self, first: int, limit: int, host: str) -> list[Record]:
        keys = sorted(key for key in self.rows if key >= first)
        return [self.rows[key] for key in keys[:limit]]

    # --- requests ------------------------------------------------------------------------------------

    async def _batch(
        self,
        op: str,
        keys: Sequence[int],
        apply: Callable[[int], _Verdict],
        units: Sequence[int] | None = None,
    ) -> list[_Verdict]:
        """The verdicts on all items. `apply` does to the item at an index what the call is for.

        units: of capacity that each takes; None for 1.
        """
        if not keys:
            return []
        if len(keys) <= self.max_batch:
            return await self._request(op, keys, range(len(keys)), apply, units)
        parts = [range(at, min(at + self.max_batch, len(keys))) for at in range(0, len(keys), self.max_batch)]
        requests = [self._request(op, keys, part, apply, units) for part in parts]
        verdicts: list[_Verdict] = []
        for answer in await asyncio.gather(*requests, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
            verdicts.extend(answer)
        return verdicts

    async def _request(
        self,
        op: str,
        keys: Sequence[int],
        items: Sequence[int],
        apply: Callable[[int], _Verdict],
        units: Sequence[int] | None,
    ) -> list[_Verdict]:
        loses = "" if op == "read" else "write_reply_lost"
        verdicts: dict[int, _Verdict] = {}
        todo: Sequence[int] = items
        for attempt in range(THROTTLE_TRIES):
            tasks = () if self._network.trace is None else self._tasks([keys[i] for i in todo])
            taken = len(todo) if units is None else sum(units[i] for i in todo)
            call = NetworkCall("ledger", self.name, op, taken, tasks, loses)
            effect = functools.partial(self._apply, op, keys, todo, apply)
            answer = await self._network.call(call, effect)
            if not self._throttles:
                return cast("list[_Verdict]", answer)
            for i, verdict in zip(todo, answer, strict=True):
                if not isinstance(verdict, _Throttled):
                    verdicts[i] = verdict
            if len(verdicts) == len(items):
                return [verdicts[i] for i in items]
            todo = [i for i in items if i not in verdicts]
            await asyncio.sleep(BACKOFF_S * 2**attempt)
        raise BackendUnavailable(
            f"{self.name}.{op}: {len(todo)} of {len(items)} items were throttled {THROTTLE_TRIES} times; "
            "the others were written"
        )

    def _apply(
        self, op: str, keys: Sequence[int], items: Sequence[int], apply: Callable[[int], _Verdict], host: str
    ) -> list[_Verdict | _Throttled]:
        verdicts: list[_Verdict | _Throttled] = []
        faults = self._faults if self._throttles else None
        for i in items:
            if faults is not None and faults.fires("throttle", self.name) is not None:
                verdicts.append(_THROTTLED)
                self._tell(What.FAULT, host, op, keys[i], "throttled")
                continue
            verdict = apply(i)
            verdicts.append(verdict)
            if self._network.trace is not None:
                self._tell(What.EFFECT, host, op, keys[i], self._describe(op, keys[i], verdict))
        return verdicts

    # --- the trace -----------------------------------------------------------------------------------

    def _describe(self, op: str, key: int, verdict: Any) -> str:
        if op == "read":
            stale = "" if verdict == self.rows.get(key) else "an old version: "
            return f"{stale}{_row(verdict)}"
        if op == "delete":
            return "deleted" if verdict else f"refused: {_row(self.rows.get(key))}"
        return f"written: {_row(self.rows[key])}" if verdict is None else f"refused, there is {_row(verdict)}"

    def _tasks(self, keys: Sequence[int]) -> tuple[int, ...]:
        if self._network.trace is None:
            return ()
        return tasks_of_rows(keys, self.tasks_per_row)

    def _tell(self, what: What, host: str, op: str, key: int, note: str) -> None:
        if self._network.trace is not None:
            now_s = asyncio.get_running_loop().time()
            self._network.trace.add(now_s, what, host, self.name, op, self._tasks([key]), note)


def _units(records: Sequence[Record]) -> list[int]:
    """DynamoDB's write units, one for each begun kilobyte; what a row has besides the outcome is little."""
    return [1 if row.outcome is None else 1 + len(row.outcome) // UNIT_BYTES for row in records]


def tasks_of_rows(keys: Sequence[int], tasks_per_row: int) -> tuple[int, ...]:
    """The indexes of the tasks that have these rows, for the trace."""
    keys = [key & ~_MESSAGE_PAGE for key in keys]  # which the trace names by its first task
    return tuple(
        task_of_key(key * tasks_per_row + at) for key in keys if key < _PAGED for at in range(tasks_per_row)
    )


def _row(record: Record | None) -> str:
    if record is None or record == missing(record.key):
        return "no row"
    expiry = f" until {record.expires_s:.3f}" if record.expires_s else ""
    return f"{record.state} with token {record.token or 'none'}{expiry}"


def _check_lengths(items: Sequence[object], tokens: Sequence[str]) -> None:
    if len(items) != len(tokens):
        raise ValueError(f"{len(items)} items and {len(tokens)} tokens: each item needs one")
