"""The control table of a run: its status and its workers, for whoever shares its channel."""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import msgspec

from kon.core.ledger import Ledger, Record
from kon.core.spec import RunSpec
from kon.core.task import Segment, State

_Value = TypeVar("_Value")

_STATUS_KEY = 0
_SUBMITTED_KEY = 1
_SPEC_KEY = 2
_KON_KEY = 3
_BEGUN_KEY = 4
_CLIENT_KEY = 5
_ROLL_KEY = 6
_WINDOW_KEY = 7
_HOST_KEYS = 1 << 20
"""Hosts on other machines write under their number, from here on."""
_WINDOW_KEYS = 1 << 30
"""Windows whose tasks share pages are kept from here on, under the index of their first task."""
_WORKER_KEYS = 1 << 40
"""Workers register under random keys from here on."""


_PAGE = 100
"""Workers, or windows, in one look."""

_WORKERS_AT_ONCE = 10_000
"""Words of workers that one look asks for: nearly always all in one."""


class Status(enum.StrEnum):
    """State of a run as a whole."""

    OPEN = "open"  # tasks are or may yet be queued
    CLOSED = "closed"  # every task is accounted for
    CANCELLED = "cancelled"  # a person gave it up
    PAUSED = "paused"  # workers stop and give back what they hold, and a client opens it again


class RunState(msgspec.Struct, frozen=True):
    """submitted: tasks, from the first on, that are safely queued.

    roll: the number of the client's last roll call, which every worker answers; 0 before the first.
    """

    status: Status = Status.OPEN
    submitted: int = 0
    roll: int = 0


class Window(msgspec.Struct, frozen=True, array_like=True):
    """The tasks that a client is about to submit: from `first` to before `upto`.

    rows: tasks of a message, whose rows share a page of the ledger; 0 where rows do not follow messages. A
        client that is started again has to divide the window in the same way, or one task would have
        its row in two places.
    messages: sent before it.
    """

    first: int
    upto: int
    rows: int
    messages: int

    @property
    def segment(self) -> Segment:
        """Where the rows of the window's tasks are, if `rows` is more than one."""
        return Segment(self.first, self.upto, self.rows)


class WorkerState(msgspec.Struct, frozen=True):
    """What a worker says of itself: when it is ready, when the client calls the roll, and when it ends.

    roll: the last roll call that it has answered. holds: messages that it held at that time.
    gone: it has ended by itself; one that was killed can't say so.
    denied: what it might not do, which has ended it; what it had received, it received in vain.
    """

    name: str
    details: dict[str, Any] = {}
    roll: int = 0
    holds: int = 0
    gone: bool = False
    denied: str = ""


class Roll(msgspec.Struct, frozen=True):
    """What came of a roll call: workers that hold messages, and workers that have not answered.

    workers: all that ever became ready, those that are gone too.
    """

    holding: int
    silent: int
    workers: int = 0


class Holder(msgspec.Struct, frozen=True):
    """The client of a run: a process of a host.

    place: tells hosts, and containers, of one name apart; a process number counts within one.
    since_s, expires_s: when it became the client, and until when it is, in seconds since the epoch by its
        clock.
    """

    host: str
    pid: int
    place: str
    since_s: float
    expires_s: float = 0.0

    @property
    def since(self) -> str:
        """The time of `since_s`, for people."""
        return f"{datetime.fromtimestamp(self.since_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


class OtherKon(msgspec.Struct, frozen=True):
    """A host that takes no part, as it has `kon`, and the client `client_kon`."""

    number: int
    kon: str
    client_kon: str

    @property
    def why(self) -> str:
        return f"has kon {self.kon}"


class RightDenied(msgspec.Struct, frozen=True):
    """A host that takes no part, as the backend denies its workers a right. It and the client have `kon`.

    why: the right, in the backend's words.
    at_s: since when, by the host's clock, in seconds since the epoch.
    """

    number: int
    kon: str
    why: str
    at_s: float


HostRefusal = OtherKon | RightDenied


class Control:
    """Reads and writes the control table. Each row has one writer, so that none undoes another's word."""

    def __init__(self, table: Ledger) -> None:
        self._table = table

    async def read(self) -> RunState:
        status, submitted, roll = await self._table.read([_STATUS_KEY, _SUBMITTED_KEY, _ROLL_KEY])
        return RunState(
            _said(status, _status) or Status.OPEN, _said(submitted, _number) or 0, _said(roll, _number) or 0
        )

    async def client(self) -> tuple[str, Holder | None]:
        """The token of the row of the run's client, and who that is; "" and None where there is none."""
        [row] = await self._table.read([_CLIENT_KEY])
        return _held(row)

    async def be_client(self, holder: Holder, token: str, over: str) -> tuple[str, Holder | None] | None:
        """Write that `holder` is the client, in place of the row with the token `over`, or "" for none.

        None where it was written, else what stands there, as `client` has it.
        """
        row = Record(_CLIENT_KEY, token, State.DONE, outcome=msgspec.json.encode(holder))
        [found] = await (self._table.replace([row], [over]) if over else self._table.insert_new([row]))
        return None if found is None or found.token == token else _held(found)

    async def no_client(self, token: str) -> None:
        """Remove the row of the client with this token, if it stands."""
        await self._table.delete([_CLIENT_KEY], [token])

    async def close(self, status: Status) -> None:
        """End the run, or, with OPEN, open it again."""
        await self._table.put([_row(_STATUS_KEY, msgspec.json.encode(status))])

    async def submitted(self, tasks: int) -> None:
        """Note that this many tasks, from the first on, are queued."""
        await self._table.put([_row(_SUBMITTED_KEY, msgspec.json.encode(tasks))])

    async def plan(self, window: Window) -> None:
        """Note which tasks are to be submitted next. Call it before the first of them is sent."""
        value = msgspec.json.encode(window)
        kept = [_row(_WINDOW_KEYS + window.first, value)] if window.rows > 1 else []
        await self._table.put([_row(_WINDOW_KEY, value), *kept])

    async def planned(self) -> Window | None:
        """The window that was noted last; None where messages have the size that the spec says."""
        return (await self.begun())[1]

    async def begun(self) -> tuple[int, Window | None]:
        """How many tasks are queued, from the first on, and the window that was noted last, in one call."""
        submitted, window = await self._table.read([_SUBMITTED_KEY, _WINDOW_KEY])
        return _said(submitted, _number) or 0, _said(window, _windows)

    async def segments(self) -> list[Segment]:
        """All segments of the run so far: where its tasks' rows are, if they are in pages of messages."""
        segments: list[Segment] = []
        at = _WINDOW_KEYS
        while rows := await self._table.scan(at, _PAGE):
            found = [_told(row, _windows) for row in rows if row.key < _WORKER_KEYS]
            segments += [window.segment for window in found]
            if len(found) < _PAGE:
                break
            at = rows[-1].key + 1
        return segments

    async def tasks_per_message(self) -> float:
        """How many tasks a message has had so far, on average, where the spec does not say so."""
        window = await self.planned()
        if window is None:
            return 1.0
        return window.first / window.messages if window.messages else float(max(1, window.rows))

    async def is_over(self) -> bool:
        return (await self.read()).status is not Status.OPEN

    async def register(self, worker: WorkerState, rng: random.Random) -> int:
        """Note that a worker is ready. The number under which it speaks of itself from now on."""
        key = _WORKER_KEYS + rng.getrandbits(40)
        await self.say(key, worker)
        return key

    async def say(self, key: int, worker: WorkerState) -> None:
        """Put a worker's word of itself in the place of its last one."""
        await self._table.put([_row(key, msgspec.json.encode(worker))])

    async def workers(self) -> list[WorkerState]:
        """Every worker that ever became ready, in no order."""
        found, first = [], _WORKER_KEYS
        while True:
            rows = await self._table.scan(first, _WORKERS_AT_ONCE)
            found += [_told(row, _workers) for row in rows]
            if len(rows) < _WORKERS_AT_ONCE:
                return found
            first = rows[-1].key + 1

    async def call_roll(self) -> int:
        """Ask every worker what it holds; the number of this roll call. Each answers as its heart beats."""
        roll = (await self.read()).roll + 1
        await self._table.put([_row(_ROLL_KEY, msgspec.json.encode(roll))])
        return roll

    async def roll(self, number: int) -> Roll:
        """What was answered to a roll call so far."""
        holding = silent = workers = 0
        first = _WORKER_KEYS
        while rows := await self._table.scan(first, _PAGE):
            workers += len(rows)
            for row in rows:
                if not (worker := _told(row, _workers)).gone:
                    holding += worker.roll >= number and worker.holds > 0
                    silent += worker.roll < number
            first = rows[-1].key + 1
        return Roll(holding, silent, workers)

    async def publish(self, spec: RunSpec, kon: str, begun_s: float | None) -> None:
        """Tell hosts on other machines that the client is there, what the run is, and by which kon.

        begun_s: when the client began it, by its own clock: what tells the run from others of its name.
        """
        told = {_KON_KEY: kon, _BEGUN_KEY: begun_s, _SPEC_KEY: spec}
        await self._table.put([_row(key, msgspec.json.encode(value)) for key, value in told.items()])

    async def published(self) -> RunSpec | None:
        """What `publish` told; None before that."""
        [row] = await self._table.read([_SPEC_KEY])
        return _said(row, _specs)

    async def published_by(self) -> str:
        """The version of the kon that has published; nothing before that."""
        [row] = await self._table.read([_KON_KEY])
        return _said(row, _texts) or ""

    async def begun_s(self) -> float | None:
        """When the client that has published began the run; None where it did not say."""
        [row] = await self._table.read([_BEGUN_KEY])
        return _said(row, _times)

    async def host(self, number: int, at_work: bool) -> None:
        """Note that a host on another machine has begun, or has ended its workers."""
        await self._table.put([_row(_HOST_KEYS + number, msgspec.json.encode(at_work))])

    async def refuse(self, refusal: HostRefusal) -> None:
        """Note that a host does not take part, and why."""
        value = msgspec.json.encode(_RefusalRow.of(refusal))
        await self._table.put([_row(_HOST_KEYS + refusal.number, value)])

    async def refusals(self, numbers: Sequence[int], client_kon: str) -> list[HostRefusal]:
        """The hosts among these that do not take part with a client of this version."""
        rows = await self._table.read([_HOST_KEYS + number for number in numbers])
        said = [_said(row, _hosts) for row in rows]
        return [
            each.refusal for each in said if isinstance(each, _RefusalRow) and each.client_kon == client_kon
        ]

    async def hosts_at_work(self, numbers: Sequence[int]) -> list[int]:
        """Which of these hosts have begun and not ended, as far as they could tell."""
        rows = await self._table.read([_HOST_KEYS + number for number in numbers])
        return [number for number, row in zip(numbers, rows) if _said(row, _hosts) is True]


_status = msgspec.json.Decoder(Status)
_windows = msgspec.json.Decoder(Window)
_number = msgspec.json.Decoder(int)
_workers = msgspec.json.Decoder(WorkerState)
_specs = msgspec.json.Decoder(RunSpec)
_texts = msgspec.json.Decoder(str)
_times = msgspec.json.Decoder(float | None)
_holders = msgspec.json.Decoder(Holder)


class _RefusalRow(msgspec.Struct, frozen=True):
    """A refusal as it is written: a host and a client of two versions both have to read it.

    denied: nothing where the host has another kon.
    """

    number: int
    kon: str
    client_kon: str
    denied: str = ""
    at_s: float = 0.0

    @classmethod
    def of(cls, refusal: HostRefusal) -> Self:
        if isinstance(refusal, RightDenied):
            return cls(refusal.number, refusal.kon, refusal.kon, refusal.why, refusal.at_s)
        return cls(refusal.number, refusal.kon, refusal.client_kon)

    @property
    def refusal(self) -> HostRefusal:
        if self.denied:
            return RightDenied(self.number, self.kon, self.denied, self.at_s)
        return OtherKon(self.number, self.kon, self.client_kon)


_hosts = msgspec.json.Decoder(bool | _RefusalRow)


def _said(row: Record | None, decoder: msgspec.json.Decoder[_Value]) -> _Value | None:
    """What a row says; None where there is none."""
    return None if row is None or row.outcome is None else decoder.decode(row.outcome)


def _told(row: Record, decoder: msgspec.json.Decoder[_Value]) -> _Value:
    """What a row says that is there."""
    assert row.outcome is not None, "each row says something"
    return decoder.decode(row.outcome)


def _held(row: Record | None) -> tuple[str, Holder | None]:
    # a refusal may tell of a row that is not there: its token is empty, and it says nothing
    return ("", None) if row is None else (row.token, _said(row, _holders))


def _row(key: int, value: bytes) -> Record:
    return Record(key=key, token="control", state=State.DONE, outcome=value)
