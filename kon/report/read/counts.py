"""What happened to the tasks of a run, counted from its records alone.

Nine bytes a task, and one more for each attempt, kind of event and task that was tried again: ten
million tasks fit into some hundred megabytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec

from kon.core.errors import StoreError
from kon.core.task import State
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.moments import Moments
from kon.report.read.scan import scan

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
    """`Seen`, for each attempt on its own: a retry after a failed attempt is no repeat.

    since: where attempts are not told apart, the numbers from which they are again: attempts that were
        made because somebody asked for what had failed to be run again.
    """

    def __init__(self, tasks: int, since: Sequence[int] | None = None) -> None:
        self._tasks = tasks
        self._since = since
        self._attempts: dict[int, Seen] = {}

    @property
    def met(self) -> int:
        return sum(seen.met for seen in self._attempts.values())

    @property
    def repeats(self) -> int:
        return sum(seen.repeats for seen in self._attempts.values())

    def add(self, attempt: int, indexes: list[int] | None, run: tuple[int, int] | None) -> None:
        if self._since is not None:
            attempt = bisect_right(self._since, attempt)
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
    billed: dict[str, float] | None = None
    first_attempt: int = 1

    @property
    def tasks(self) -> int:
        return len(self.i or ()) + (self.r[1] if self.r else 0)


class EventCounts:
    """The counts of a run's events."""

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._moments: Moments | None = None
        self.deliveries = ByAttempt(tasks)
        self.starts = ByAttempt(tasks)
        self.first_attempts: list[int] = []
        """Of each time that what had failed was to be run again, in order."""
        self.keeps = ByAttempt(tasks, self.first_attempts)
        self.tasks: dict[str, int] = {}
        """Tasks in events that are only added up."""
        self.lives = 0
        """Times that a worker became ready."""
        self.began_s: float | None = None
        self._closed_s: float | None = None
        self.wall_s: float | None = None
        self.requests = 0
        self.billed: dict[str, float] | None = None
        """What a provider bills of the requests, by the names of `RequestCount`; None where no process said
        anything of it."""
        self.worker_cpu_s = 0.0

    @property
    def moments(self) -> Moments:
        """When tasks were delivered and kept, from the first `open` of a client on."""
        if self._moments is None:
            span_s = self._closed_s - self.began_s if self._closed_s and self.began_s else None
            self._moments = Moments(self._tasks, self.began_s, span_s)
        return self._moments

    def read_client(self, lines: Iterable[_Line]) -> None:
        """Add the events of the clients, one after another. To be called before `read_workers`.

        The makespan is the time from `open` to `close`: that of a client that was killed ends when another
        has done its work. Where tasks were run again after that, both times are added up.
        """
        opened_s: float | None = None
        for line in lines:
            if line.e in (Event.CLOSE, Event.USAGE):
                self._add_requests(line.requests or 0, line.billed)
            if line.e == Event.OPEN:
                if opened_s is None:
                    opened_s = line.t
                if self.began_s is None:
                    self.began_s = line.t
                if line.first_attempt > 1 and line.first_attempt not in self.first_attempts:
                    self.first_attempts.append(line.first_attempt)
            elif line.e == Event.CLOSE and opened_s is not None:
                self.wall_s = (self.wall_s or 0.0) + line.t - opened_s
                self._closed_s, opened_s = line.t, None

    def read_workers(self, lines: Iterable[_Line]) -> None:
        """Add the events of one file: of one life of a worker, or of several one after another."""
        moments = self.moments
        cpu_s, requests, billed = 0.0, 0, None  # what a life says of itself last counts
        for line in lines:
            event = line.e
            if event == Event.START:
                self.starts.add(line.a, line.i, line.r)
            elif event == Event.DELIVER:
                self.deliveries.add(line.a, line.i, line.r)
                moments.deliver(line.t, line.i, line.r)
            elif event == Event.KEEP:
                self.keeps.add(line.a, line.i, line.r)
                moments.keep(line.t, line.i, line.r)
            elif event in _ADDED_UP:
                self.tasks[event] = self.tasks.get(event, 0) + line.tasks
            elif event == Event.UP:
                self._add_usage(cpu_s, requests, billed)
                cpu_s, requests, billed = 0.0, 0, None
                self.lives += 1
            if line.cpu_s is not None:
                cpu_s = line.cpu_s
            if line.requests is not None:
                requests = line.requests
            if line.billed is not None:
                billed = line.billed
        self._add_usage(cpu_s, requests, billed)

    def _add_usage(self, cpu_s: float, requests: int, billed: dict[str, float] | None) -> None:
        self.worker_cpu_s += cpu_s
        self._add_requests(requests, billed)

    def _add_requests(self, requests: int, billed: dict[str, float] | None) -> None:
        self.requests += requests
        if billed is not None:
            so_far = self.billed or {}
            self.billed = {key: so_far.get(key, 0.0) + billed.get(key, 0.0) for key in {**so_far, **billed}}


_ADDED_UP: Final = frozenset({Event.SKIP, Event.DEFER, Event.RETRY, Event.REFUSE, Event.DROP})


def count_events(folder: RunFolder, tasks: int) -> EventCounts:
    """The counts of a run of so many tasks. Raises StoreError for records that can't be its own."""
    counts = EventCounts(tasks)
    counts.read_client(scan(folder.events / f"{CLIENT}.jsonl", _lines))
    for file in sorted(folder.events.glob("*.jsonl")):
        if file.stem == CLIENT:
            continue
        try:
            counts.read_workers(scan(file, _lines))
        except IndexError as error:
            raise _foreign(file, tasks) from error
    return counts


class _Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    index: _Index
    attempt: int
    state: State  # results and errors that follow are not read


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """A line of results, without the results."""

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
    return StoreError(f"{file}: names a task beyond the {tasks} of its run; it is of another")


_CODES: Final = {state: code for code, state in enumerate(State, start=1)}
_lines = msgspec.json.Decoder(_Line)
_packets = msgspec.json.Decoder(Packet)
