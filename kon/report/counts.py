"""What happened to the tasks of a run, counted from its records alone.

One byte a task, and one more for each attempt, kind of event and task that was tried again: ten
million tasks fit into a few dozen megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec

from kon.errors import StoreError
from kon.events import Event
from kon.records import RunFolder
from kon.report.scan import scan
from kon.task import State

CLIENT: Final = "client"
"""The client's file among those of the workers."""

_Index = Annotated[int, msgspec.Meta(ge=0)]


class Seen:
    """How often tasks were met: in all, and how many of them for the first time."""

    def __init__(self, tasks: int) -> None:
        self.met = 0
        self._tasks = tasks
        self._marks = bytearray(tasks)

    @property
    def repeats(self) -> int:
        """Meetings of a task beyond its first."""
        return self.met - self._marks.count(1)

    def add(self, indexes: list[int] | None, run: tuple[int, int] | None) -> None:
        """Tasks by index, or as the first index and how many follow it. Raises IndexError."""
        if run is not None:
            first, count = run
            if first + count > self._tasks:
                raise IndexError(first)
            self._marks[first : first + count] = b"\1" * count
            self.met += count
        if indexes:
            marks = self._marks
            for index in indexes:
                marks[index] = 1
            self.met += len(indexes)


class ByAttempt:
    """`Seen`, for each attempt on its own: a retry after a failed attempt is no repeat."""

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._attempts: dict[int, Seen] = {}

    @property
    def met(self) -> int:
        return sum(seen.met for seen in self._attempts.values())

    @property
    def repeats(self) -> int:
        return sum(seen.repeats for seen in self._attempts.values())

    def add(self, attempt: int, indexes: list[int] | None, run: tuple[int, int] | None) -> None:
        seen = self._attempts.get(attempt)
        if seen is None:
            seen = self._attempts[attempt] = Seen(self._tasks)
        seen.add(indexes, run)


class _Line(msgspec.Struct, frozen=True, gc=False):
    e: str
    t: float = 0.0
    i: list[_Index] | None = None
    r: tuple[_Index, _Index] | None = None
    a: int = 1
    cpu_s: float | None = None
    requests: int | None = None

    @property
    def tasks(self) -> int:
        return len(self.i or ()) + (self.r[1] if self.r else 0)


class EventCounts:
    """The counts of a run's events."""

    def __init__(self, tasks: int) -> None:
        self.deliveries = ByAttempt(tasks)
        self.starts = ByAttempt(tasks)
        self.keeps = Seen(tasks)
        self.tasks: dict[str, int] = {}
        """Tasks in events that are only added up."""
        self.lives = 0
        """Times that a worker became ready."""
        self.opened_s: float | None = None
        self.closed_s: float | None = None
        self.requests = 0
        self.worker_cpu_s = 0.0

    @property
    def wall_s(self) -> float | None:
        """The makespan: from the client's first `open` to its last `close`; None before it has one."""
        if self.opened_s is None or self.closed_s is None:
            return None
        return self.closed_s - self.opened_s

    def read_life(self, lines: Iterable[_Line], of_client: bool) -> None:
        """Add the events of one file."""
        cpu_s, requests = 0.0, 0  # what a life says of itself last counts
        for line in lines:
            event = line.e
            if event == Event.START:
                self.starts.add(line.a, line.i, line.r)
            elif event == Event.DELIVER:
                self.deliveries.add(line.a, line.i, line.r)
            elif event == Event.KEEP:
                self.keeps.add(line.i, line.r)
            elif event in _ADDED_UP:
                self.tasks[event] = self.tasks.get(event, 0) + line.tasks
            elif event in _BEGINS:  # another life in the same file
                self._add_usage(cpu_s, requests, of_client)
                cpu_s, requests = 0.0, 0
                self._begin(line, of_client)
            elif event == Event.CLOSE and of_client:
                self.closed_s = line.t
            if line.cpu_s is not None:
                cpu_s = line.cpu_s
            if line.requests is not None:
                requests = line.requests
        self._add_usage(cpu_s, requests, of_client)

    def _begin(self, line: _Line, of_client: bool) -> None:
        if not of_client:
            self.lives += 1
        elif self.opened_s is None:
            self.opened_s = line.t

    def _add_usage(self, cpu_s: float, requests: int, of_client: bool) -> None:
        self.requests += requests
        if not of_client:
            self.worker_cpu_s += cpu_s


_ADDED_UP: Final = frozenset({Event.SKIP, Event.DEFER, Event.RETRY, Event.REFUSE, Event.DROP})
_BEGINS: Final = frozenset({Event.UP, Event.OPEN})


def count_events(folder: RunFolder, tasks: int) -> EventCounts:
    """The counts of a run of so many tasks. Raises StoreError for records that can't be its own."""
    counts = EventCounts(tasks)
    for file in sorted(folder.events.glob("*.jsonl")):
        try:
            counts.read_life(scan(file, _lines), file.stem == CLIENT)
        except IndexError as error:
            raise _foreign(file, tasks) from error
    return counts


class _Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    index: _Index
    attempt: int
    state: State  # results and errors that follow are not read


class _Packet(msgspec.Struct, frozen=True, array_like=True):
    worker: str
    outcomes: list[_Outcome]


def count_states(folder: RunFolder, tasks: int) -> dict[State, int]:
    """How many tasks ended in each state; what was recorded last stands for a task. Raises StoreError."""
    marks = bytearray(tasks)
    try:
        for packet in scan(folder.results, _packets):
            for outcome in packet.outcomes:
                marks[outcome.index] = _CODES[outcome.state]
    except IndexError as error:
        raise _foreign(folder.results, tasks) from error
    return {state: marks.count(code) for state, code in _CODES.items()}


def _foreign(file: Path, tasks: int) -> StoreError:
    return StoreError(f"{file}: names a task beyond the {tasks} of its run; it belongs to another")


_CODES: Final = {state: code for code, state in enumerate(State, start=1)}
_lines = msgspec.json.Decoder(_Line)
_packets = msgspec.json.Decoder(_Packet)
