"""What the records of one run come to so far, added up line by line: a few bytes for each task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, TypeVar

import msgspec

from kon.core.errors import StoreError
from kon.core.spec import RunSpec
from kon.core.task import FINAL, State
from kon.engine.records.events import Event
from kon.report.live.failures import RETRY, Failure, Failures, output_of
from kon.report.live.lives import Life
from kon.report.live.pace import Pace
from kon.report.read.counts import CLIENT, ByAttempt

_Line = TypeVar("_Line")
_Index = Annotated[int, msgspec.Meta(ge=0)]

NOT_WORKERS: Final = frozenset({CLIENT, "dead-letter queue"})
"""Who else may stand as the worker of an outcome."""


class EventLine(msgspec.Struct, frozen=True, gc=False):
    """A line of events; docs/records.md says what its keys mean."""

    e: str
    t: float = 0.0
    w: str | None = None
    i: list[_Index] | None = None
    r: tuple[_Index, _Index] | None = None
    a: int = 1
    host: str | None = None
    slots: int | None = None
    requests: int | None = None
    billed: dict[str, float] | None = None
    error: str | None = None
    first_attempt: int = 1

    @property
    def tasks(self) -> list[int] | range:
        return range(self.r[0], self.r[0] + self.r[1]) if self.r is not None else self.i or []


class _Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    index: _Index
    attempt: int
    state: State
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    started_s: float = 0.0
    ended_s: float = 0.0


class _Packet(msgspec.Struct, frozen=True, array_like=True):
    worker: str
    outcomes: list[_Outcome]


class Tally:
    """Counts of a run's tasks and events. Its methods raise StoreError for a task that the run has not."""

    def __init__(self, spec: RunSpec) -> None:
        self.tasks = spec.tasks
        self.counts = dict.fromkeys(State, 0)
        self.lives: dict[str, Life] = {}
        self.failures = Failures()
        self.pace: Pace | None = None
        self.began_s: float | None = None
        self.closed_s: float | None = None
        """When the client accounted for the last task; None while one is at work."""
        self.latest_s = 0.0
        """The last moment that any record tells of."""
        self.avoided = 0
        self.retries = 0
        self.unread_lines = 0
        self.client_requests = 0
        self.client_billed: dict[str, float] | None = None
        self._marks = bytearray(spec.tasks)
        self._first_attempts: list[int] = []
        self._deliveries = ByAttempt(spec.tasks)
        self._starts = ByAttempt(spec.tasks)
        self._keeps = ByAttempt(spec.tasks, self._first_attempts)
        self._by_worker: dict[str, Life] = {}

    @property
    def accounted(self) -> int:
        return sum(self.counts[state] for state in FINAL)

    @property
    def not_done(self) -> int:
        """Tasks that are accounted for, and not done."""
        return self.accounted - self.counts[State.DONE]

    @property
    def deliveries_again(self) -> int:
        """Deliveries of an attempt at a task beyond its first."""
        return self._deliveries.repeats

    @property
    def second_starts(self) -> int:
        return self._starts.repeats

    @property
    def second_results(self) -> int:
        return self._keeps.repeats

    @property
    def requests(self) -> int:
        """As workers, and clients that have ended, have told so far."""
        return self.client_requests + sum(life.requests for life in self.lives.values())

    @property
    def billed(self) -> dict[str, float] | None:
        """None where nobody said anything of it: where requests cost nothing."""
        told = [self.client_billed, *(life.billed for life in self.lives.values())]
        found = [each for each in told if each is not None]
        return _added(found) if found else None

    def add_events(self, stem: str, lines: bytes) -> None:
        """Whole lines of one file of events, by its name."""
        try:
            for line in self._decoded(lines, _events):
                self.latest_s = max(self.latest_s, line.t)
                if stem == CLIENT:
                    self._client(line)
                else:
                    self._worker(line.w or stem, line)
        except IndexError as error:
            raise _foreign(f"events/{stem}.jsonl", self.tasks) from error

    def add_results(self, lines: bytes) -> None:
        """Whole lines of results."""
        try:
            for packet in self._decoded(lines, _packets):
                life = None if packet.worker in NOT_WORKERS else self._life(packet.worker)
                for outcome in packet.outcomes:
                    self._outcome(packet.worker, life, outcome)
        except IndexError as error:
            raise _foreign("results.jsonl", self.tasks) from error

    def _decoded(self, lines: bytes, decoder: msgspec.json.Decoder[_Line]) -> Iterator[_Line]:
        """A line that can't be read is left out, and counted."""
        try:
            yield from decoder.decode_lines(lines)
            return
        except msgspec.DecodeError:
            pass  # nothing has been handed out: all lines of a block are decoded first
        for line in lines.split(b"\n"):
            try:
                if line:
                    yield decoder.decode(line)
            except msgspec.DecodeError:
                self.unread_lines += 1

    def _client(self, line: EventLine) -> None:
        if line.e in (Event.CLOSE, Event.USAGE):
            self.client_requests += line.requests or 0
            if line.billed is not None:
                self.client_billed = _added([self.client_billed or {}, line.billed])
        if line.e == Event.OPEN:
            self.began_s = line.t if self.began_s is None else self.began_s
            self.closed_s = None
            if line.first_attempt > 1 and line.first_attempt not in self._first_attempts:
                self._first_attempts.append(line.first_attempt)
        elif line.e == Event.CLOSE:
            self.closed_s = line.t

    def _worker(self, name: str, line: EventLine) -> None:
        event = line.e
        if event == Event.USAGE and name not in self.lives:
            self.lives[name] = Life(name, slots=0, ended=True)  # a simulation's, of all: no life of its own
        life = self._life(name)
        life.last_s = max(life.last_s, line.t)
        if event == Event.START:
            self._starts.add(line.a, line.i, line.r)
            tasks = line.tasks
            if len(tasks) == 1:  # what is started together takes no time of its own
                life.start(tasks[0], line.a, line.t)
        elif event in _ENDS:
            life.end(line.tasks)
            if event == Event.KEEP:
                self._keeps.add(line.a, line.i, line.r)
            elif event == Event.RETRY:
                self._retry(name, line)
        elif event == Event.DELIVER:
            self._deliveries.add(line.a, line.i, line.r)
        elif event == Event.SKIP:
            self.avoided += len(line.tasks)
        elif event == Event.UP:
            self._up(life, line)
        elif event == Event.DOWN:
            life.close(replaced=False)
        if line.requests is not None:
            life.requests = line.requests
        if line.billed is not None:
            life.billed = line.billed

    def _up(self, life: Life, line: EventLine) -> None:
        life.slots, life.host, life.ended = line.slots, line.host or "", False
        before = self._by_worker.get(life.worker)
        if before is not None and before is not life and not before.ended:
            if before.last_s > life.last_s:  # files are not read in order of time
                life.close(replaced=True)
                return
            before.close(replaced=True)
        self._by_worker[life.worker] = life

    def _life(self, name: str) -> Life:
        life = self.lives.get(name)
        if life is None:
            life = self.lives[name] = Life(name)
        return life

    def _retry(self, worker: str, line: EventLine) -> None:
        self.retries += len(line.tasks)
        for task in line.tasks:
            if not self._marks[task]:
                self.failures.add(Failure(task, line.a, RETRY, worker, line.error or "", {}, line.t))

    def _outcome(self, worker: str, life: Life | None, outcome: _Outcome) -> None:
        state, index = outcome.state, outcome.index
        if life is not None:
            life.answered += 1
            life.failed += state is not State.DONE
        code, before = _CODES[state], self._marks[index]
        if code != before:
            self._marks[index] = code
            self.counts[state] += 1
            if before:
                self.counts[_STATES[before]] -= 1
            if outcome.ended_s:
                self.latest_s = max(self.latest_s, outcome.ended_s)
                if self.pace is None:
                    self.pace = Pace(self.began_s or outcome.ended_s)
                self.pace.add(outcome.ended_s)
        if state is State.DONE:
            self.failures.forget(index)
        else:
            output = output_of(msgspec.json.decode(outcome.result))
            error, at_s = outcome.error or "", outcome.ended_s
            self.failures.add(Failure(index, outcome.attempt, state.value, worker, error, output, at_s))


def _added(parts: list[dict[str, float]]) -> dict[str, float]:
    return {
        name: sum(part.get(name, 0.0) for part in parts) for name in {n: 0 for part in parts for n in part}
    }


def _foreign(file: str, tasks: int) -> StoreError:
    return StoreError(f"{file}: names a task beyond the {tasks} of its run; it is of another")


_ENDS: Final = frozenset({Event.KEEP, Event.RETRY, Event.REFUSE})
_CODES: Final = {state: code for code, state in enumerate(State, start=1)}
_STATES: Final = {code: state for state, code in _CODES.items()}
_events: Final = msgspec.json.Decoder(EventLine)
_packets: Final = msgspec.json.Decoder(_Packet)
