"""What the records of a run come to: the counts of tables, of the live page and of `kon explain`.

Four bytes a task, and three more for each further attempt: ten million tasks fit into some hundred megabytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from kon.core.journal import scan
from kon.core.task import NOT_WORKERS, State
from kon.engine.records.events import Event
from kon.engine.records.records import RunFolder
from kon.report.read.lines import EVENTS, STATES, Ended, EventLine, Packet, Told, tasks_of, worker_files
from kon.report.read.lives import Used, WorkerLife
from kon.report.read.moments import Moments
from kon.report.read.recent import RETRY, Failure, Recent

MOST: Final = 255
"""`Repeats` counts a task no further."""

_NEXT: Final = bytes([*range(1, MOST + 1), MOST])
_REPEATED: Final = bytes([0, 0, *([1] * (MOST - 1))])


class Repeats:
    """How often each task was met, apart for each attempt: a retry after a failed attempt is no repeat.

    since: numbers of attempts; None where every attempt counts apart. Attempts between two of these numbers
        count as one. At each number, somebody had the failed tasks run again.
    """

    def __init__(self, tasks: int, since: Sequence[int] | None = None) -> None:
        self._tasks = tasks
        self._since = since
        self.met = 0
        self._by_attempt: dict[int, bytearray] = {}

    def add(self, line: EventLine) -> None:
        """Raises IndexError for a task beyond those of the run."""
        attempt = line.a if self._since is None else bisect_right(self._since, line.a)
        counts = self._by_attempt.get(attempt)
        if counts is None:
            counts = self._by_attempt[attempt] = bytearray(self._tasks)
        if line.r is not None:
            first, count = line.r
            end = first + count
            if end > self._tasks:
                raise IndexError(first)
            counts[first:end] = counts[first:end].translate(_NEXT)
            self.met += count
        if line.i is not None:
            for index in line.i:
                counts[index] = _NEXT[counts[index]]
            self.met += len(line.i)

    @property
    def repeats(self) -> int:
        """Meetings of a task beyond its first in each attempt."""
        return self.met - sum(self._tasks - counts.count(0) for counts in self._by_attempt.values())

    def repeated(self) -> Iterator[int]:
        """Tasks that were met more than once in one attempt; not in order, and perhaps more than once."""
        for counts in self._by_attempt.values():
            marks = counts.translate(_REPEATED)
            at = marks.find(1)
            while at >= 0:
                yield at
                at = marks.find(1, at + 1)

    def of(self, index: int) -> int:
        """How often a task was met, in all of its attempts."""
        return sum(counts[index] for counts in self._by_attempt.values())

    def attempts(self, index: int) -> int:
        """In how many attempts a task was met."""
        return sum(counts[index] > 0 for counts in self._by_attempt.values())


# Python 3.11 takes longer to find a member in its class than for all else that is done with a line
_DONE: Final = State.DONE
_DELIVER: Final = Event.DELIVER
_START: Final = Event.START
_KEEP: Final = Event.KEEP
_ANSWER: Final = Event.ANSWER
_USAGE: Final = Event.USAGE
_SPENT: Final = Event.SPENT
_CODES: Final = {state: code for code, state in enumerate(State, start=1)}
_DONE_CODE: Final = _CODES[_DONE]
_ENDS: Final = frozenset({Event.RETRY, Event.REFUSE})
_ADDED_UP: Final = (Event.SKIP, Event.DEFER, Event.RETRY, Event.REFUSE, Event.DROP)


class RunTally:
    """Counts of a run's tasks and events, added up line by line, the client's first.

    Its methods raise IndexError for a task that the run does not have.
    """

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.lives: dict[str, WorkerLife] = {}
        self.lives_begun = 0
        """Times that a worker became ready."""
        self.recent = Recent()
        self.moments: Moments | None = None
        """When tasks were delivered and kept; None unless a caller sets it."""
        self.began_s: float | None = None
        self.closed_s: float | None = None
        """When the client accounted for the last task; None while one is at work."""
        self.wall_s: float | None = None
        """The makespan: from `open` to `close`. That of a client that was killed ends when another has done
        its work; where tasks were run again after that, both times are added up."""
        self.latest_s = 0.0
        """The last moment in any record."""
        self.added_up: dict[str, int] = dict.fromkeys(_ADDED_UP, 0)
        """Tasks in events that are only added up."""
        self.first_attempts: list[int] = []
        """The first attempt of each time that the failed tasks were to be run again."""
        self.deliveries = Repeats(tasks)
        self.starts = Repeats(tasks)
        self.keeps = Repeats(tasks, self.first_attempts)
        self.answers: Repeats | None = None
        """Outcomes sent to the client; None unless a caller sets it."""
        self.task_cpu_s: float | None = None
        """CPU time of all attempts' processes; None where no kind has reported it."""
        self.task_peak_bytes: int | None = None
        """The most memory that one of them had, where that was more than its worker's."""
        self.client_requests = 0
        self.client_billed: dict[str, float] | None = None
        self._opened_s: float | None = None
        self._marks = bytearray(tasks)
        self._by_worker: dict[str, WorkerLife] = {}

    # --- what it comes to ----------------------------------------------------------------------------

    def states(self) -> dict[State, int]:
        """How many tasks ended in each state; what was recorded last stands for a task."""
        return {state: self._marks.count(code) for state, code in _CODES.items()}

    @property
    def accounted(self) -> int:
        return self.tasks - self._marks.count(0)

    @property
    def not_done(self) -> int:
        """Tasks that are accounted for, and not done."""
        return self.accounted - self._marks.count(_DONE_CODE)

    @property
    def requests(self) -> int:
        """Requests that workers, and clients that have ended, have reported so far."""
        return self.client_requests + sum(used.requests for used in self._used())

    @property
    def billed(self) -> dict[str, float] | None:
        """What a provider bills, by the names of `RequestCount`; None where requests cost nothing."""
        told = [self.client_billed, *(used.billed for used in self._used())]
        found = [each for each in told if each is not None]
        return _added(found) if found else None

    @property
    def worker_cpu_s(self) -> float:
        return sum(used.cpu_s for used in self._used())

    def _used(self) -> Iterator[Used]:
        return (used for life in self.lives.values() for used in life.used)

    # --- events ----------------------------------------------------------------------------------------

    def add_client(self, lines: Iterable[EventLine]) -> None:
        """Lines of the client's events."""
        for line in lines:
            self.latest_s = max(self.latest_s, line.t)
            if line.e in (Event.CLOSE, Event.USAGE):
                self.client_requests += line.requests or 0
                if line.billed is not None:
                    self.client_billed = _added([self.client_billed or {}, line.billed])
            if line.e == Event.OPEN:
                self._open(line)
            elif line.e == Event.CLOSE:
                self.closed_s = line.t
                if self._opened_s is not None:
                    self.wall_s = (self.wall_s or 0.0) + line.t - self._opened_s
                    self._opened_s = None

    def _open(self, line: EventLine) -> None:
        self.began_s = line.t if self.began_s is None else self.began_s
        self._opened_s = line.t if self._opened_s is None else self._opened_s
        self.closed_s = None
        if line.first_attempt > 1 and line.first_attempt not in self.first_attempts:
            self.first_attempts.append(line.first_attempt)

    def add_worker(self, stem: str, lines: Iterable[EventLine]) -> None:
        """Lines of a file of workers' events, by the file's name."""
        moments, answers, added_up, latest_s = self.moments, self.answers, self.added_up, self.latest_s
        for line in lines:
            event, name = line.e, line.w or stem
            life = self.lives.get(name)
            if life is None:
                life = self.lives[name] = WorkerLife(name)
                if event == _USAGE:  # of all workers of a simulation: no life of its own
                    life.slots, life.ended = 0, True
            if line.t > life.last_s:
                life.last_s = line.t
                if line.t > latest_s:
                    latest_s = line.t
            if event == _DELIVER:
                self.deliveries.add(line)
                if moments is not None:
                    moments.deliver(line.t, line.i, line.r)
            elif event == _START:
                self.starts.add(line)
                if (
                    line.i is not None and len(line.i) == 1
                ):  # what is started together takes no time of its own
                    life.start(line.i[0], line.a, line.t)
            elif event == _KEEP:
                self.keeps.add(line)
                if life.open:
                    life.end(line.tasks)
                if moments is not None:
                    moments.keep(line.t, line.i, line.r)
            elif event == _ANSWER:
                if answers is not None:
                    answers.add(line)
            elif event in added_up:
                added_up[event] += len(line.tasks)
                if event == Event.RETRY:
                    self._retry(name, line)
                if event in _ENDS:
                    life.end(line.tasks)
            elif event == _SPENT:
                self.task_cpu_s = (self.task_cpu_s or 0.0) + line.task_cpu_s
                self.task_peak_bytes = max(self.task_peak_bytes or 0, line.peak_bytes or 0) or None
            elif event == Event.UP:
                self._up(life, line)
            elif event == Event.DOWN:
                life.close(replaced=False)
            elif event == _USAGE:
                life.says(line)
        self.latest_s = latest_s

    def _up(self, life: WorkerLife, line: EventLine) -> None:
        self.lives_begun += 1
        life.begin(line)
        before = self._by_worker.get(life.worker)
        if before is not None and before is not life and not before.ended:
            if before.last_s > life.last_s:  # files are not read in order of time
                life.close(replaced=True)
                return
            before.close(replaced=True)
        self._by_worker[life.worker] = life

    def _retry(self, worker: str, line: EventLine) -> None:
        for task in line.tasks:
            if not self._marks[task]:
                self.recent.failures.add(Failure(task, line.a, RETRY, worker, line.error or "", {}, line.t))

    # --- results ---------------------------------------------------------------------------------------

    def add_states(self, packets: Iterable[Packet[Told]]) -> None:
        """Lines of results; only the tasks' states count."""
        marks, codes = self._marks, _CODES
        for packet in packets:
            for outcome in packet.outcomes:
                marks[outcome.index] = codes[outcome.state]

    def add_results(self, packets: Sequence[Packet[Ended]]) -> None:
        """Lines of results, for viewers."""
        for packet in packets:
            self._look_closely(packet)
            for outcome in packet.outcomes:
                self._marks[outcome.index] = _CODES[outcome.state]

    def _look_closely(self, packet: Packet[Ended]) -> None:
        """Note who answered, and when what ends for the first time has ended. 0 is no time."""
        outcomes, marks, recent = packet.outcomes, self._marks, self.recent
        ended_s = [each.ended_s for each in outcomes if not marks[each.index] and each.ended_s]
        if ended_s:
            self.latest_s = max(self.latest_s, max(ended_s))
            recent.add_ends(ended_s, ended_s[0] if self.began_s is None else self.began_s)
        bad = [each for each in outcomes if each.state is not _DONE]
        if bad or recent.failures:
            for each in outcomes:
                recent.failures.end(packet.worker, each)
        if packet.worker not in NOT_WORKERS:
            life = self.lives.get(packet.worker)
            if life is None:
                life = self.lives[packet.worker] = WorkerLife(packet.worker)
            life.answered += len(outcomes)
            life.failed += len(bad)


def tally_run(folder: RunFolder, tasks: int, *, moments: bool = False, answers: bool = False) -> RunTally:
    """The events of a run of `tasks` tasks, with its moments or its answers where these are asked for.

    Raises StoreError for records that can't be those of the run.
    """
    tally = RunTally(tasks)
    tally.add_client(scan(folder.client_events, EVENTS))
    if answers:
        tally.answers = Repeats(tasks, tally.first_attempts)
    if moments:
        began_s, closed_s = tally.began_s, tally.closed_s
        span_s = closed_s - began_s if closed_s is not None and began_s is not None else None
        tally.moments = Moments(tasks, began_s, span_s)
    for file in worker_files(folder):
        with tasks_of(tasks, file):
            tally.add_worker(file.stem, scan(file, EVENTS))
    return tally


def add_states(tally: RunTally, folder: RunFolder) -> RunTally:
    """The tally with the states of the run's tasks. Raises StoreError."""
    with tasks_of(tally.tasks, folder.results):
        tally.add_states(scan(folder.results, STATES))
    return tally


class Repeated(msgspec.Struct, frozen=True):
    """How often a task was met, in all of its attempts; `attempts`: how many were delivered."""

    index: int
    deliveries: int
    starts: int
    results: int
    answers: int
    attempts: int


def duplicates(folder: RunFolder) -> Iterator[Repeated]:
    """Every task that was delivered, started, kept or answered more than once in one attempt, in order.

    Results and answers count for the task, over all of its attempts. They count apart from those of before
    once somebody has the failed tasks run again. Raises StoreError.
    """
    tally = tally_run(folder, folder.read_run().spec.tasks, answers=True)
    assert tally.answers is not None  # they were asked for
    counted = (tally.deliveries, tally.starts, tally.keeps, tally.answers)
    for index in sorted({index for repeats in counted for index in repeats.repeated()}):
        deliveries, starts, results, answers = (repeats.of(index) for repeats in counted)
        yield Repeated(index, deliveries, starts, results, answers, tally.deliveries.attempts(index))


def _added(parts: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}
