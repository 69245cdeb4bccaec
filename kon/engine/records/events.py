"""Events: what happened to which tasks, as each worker, and the client, saw it.

The tables' counts of repeats come from these lines and from nothing else. A line is a JSON object:
`t` is seconds since the epoch on the worker's clock, `e` the event, and `w` the worker's life where a
file has several. Tasks are `i` (a list of indexes) or `r` (first index and count); `a` is their attempt
when it is not the first. The rest is what the event has to say. Lines are about batches, so that a
million small tasks make a few thousand.
"""

from __future__ import annotations

import enum
import os
import platform
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from kon.core.backend import Backend
from kon.core.clock import Clock
from kon.core.journal import Journal
from kon.core.task import Outcome, Task


class Event(enum.StrEnum):
    """Every event, in the order in which a task meets them."""

    OPEN = "open"  # the client begins to submit; from here on the makespan is counted
    CLOSE = "close"  # the client has accounted for every task; with its own CPU seconds and requests
    UP = "up"  # the worker is ready; with its pid, host and options
    DELIVER = "deliver"  # tasks came in a message
    CLAIM = "claim"  # the strategy lets them run; with the token
    SKIP = "skip"  # the strategy says that they were done or begun before: a repeat avoided
    DEFER = "defer"  # another holds them; they were sent again, to be looked at later
    START = "start"  # about to run; on disk before the first of them does
    SPENT = "spent"  # an attempt's processes have ended; with their CPU seconds and memory
    KEEP = "keep"  # committed: this worker's outcome is the one that stands
    RETRY = "retry"  # the attempt failed and the next one has been sent
    REFUSE = "refuse"  # the commit was refused: another's outcome stands, or will
    DROP = "drop"  # not started: the claim ran out or was lost before a slot was free
    GIVE_BACK = "give_back"  # not started: the worker was told to stop, or others could start it sooner
    STOP = "stop"  # it ran when the worker was told to stop, and was queued again: no failed attempt
    ANSWER = "answer"  # outcomes were sent to the client
    ACK = "ack"  # the messages are deleted; `stale` counts those that were not this worker's any more
    DEAD = "dead"  # sent to the dead-letter queue: received too often
    RENEW = "renew"  # leases of tasks were renewed
    USAGE = "usage"  # CPU seconds and requests of this worker so far, or of a client that only submits
    TROUBLE = "trouble"  # the backend did not answer; with the error and how long it is given
    DOWN = "down"  # the worker ends


class Named:
    """Which tasks an event is about, worked out once for all events of one batch."""

    __slots__ = ("groups", "indexes")

    def __init__(self, tasks: Sequence[Task | Outcome]) -> None:
        if len(tasks) == 1:  # whatever starts by itself
            [task] = tasks
            self.indexes = [task.index]
            self.groups = [_group(self.indexes, task.attempt)]
            return
        self.indexes = [task.index for task in tasks]
        attempts = {task.attempt for task in tasks}
        if len(attempts) <= 1:  # as good as always
            self.groups = [_group(self.indexes, attempt) for attempt in attempts]
        else:
            self.groups = [
                _group([task.index for task in tasks if task.attempt == attempt], attempt)
                for attempt in sorted(attempts)
            ]

    @property
    def repeated(self) -> bool:
        """Whether one task stands in the batch twice."""
        if len(self.groups) == 1 and "r" in self.groups[0]:
            return False
        return len(set(self.indexes)) < len(self.indexes)

    def attempts(self) -> Iterator[tuple[int, int]]:
        """Each task's index, and its attempt."""
        for group in self.groups:
            first, count = group.get("r", (0, 0))
            for index in group.get("i") or range(first, first + count):
                yield index, group.get("a", 1)


def _group(indexes: list[int], attempt: int) -> dict[str, Any]:
    first, count = indexes[0], len(indexes)
    run = count > 2 and indexes[-1] - first == count - 1 and indexes == list(range(first, first + count))
    named: dict[str, Any] = {"r": (first, count)} if run else {"i": indexes}
    if attempt != 1:
        named["a"] = attempt
    return named


class Watcher:
    """Looks on while a worker works: what it counts for Prometheus, what it writes to a log.

    Each call is about a batch, as the lines of events are, and what is left as it is here costs nothing more.
    """

    def note(self, event: Event, fields: Mapping[str, Any]) -> None:
        """An event of the worker itself."""

    def tasks(self, event: Event, tasks: Named, fields: Mapping[str, Any]) -> None:
        """An event of these tasks."""

    def failed(self, outcomes: Sequence[Outcome]) -> None:
        """The outcomes of tasks that have failed for good, among those whose `keep` follows at once."""

    def ran(self, tasks: int, each_s: float) -> None:
        """Tasks have run, and taken `each_s` seconds each."""

    def settled(self, tasks: int, took_s: float) -> None:
        """Outcomes were committed, answered and acked, which took `took_s` seconds."""


class Recorder:
    """Writes the events of one worker to a journal.

    life: where several share a journal, the name that each line has, as `w`.
    watches: they get the same, and what only they care for.
    """

    def __init__(
        self, journal: Journal, clock: Clock, life: str | None = None, watches: Sequence[Watcher] = ()
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._lines: list[bytes] = []
        self._who = {} if life is None else {"w": life}
        self._watches = watches

    def note(self, event: Event, **fields: Any) -> None:
        """An event of the worker itself. Kept in memory until `flush`."""
        self._lines.append(_encode({"t": self._clock.now_s(), "e": event, **self._who, **fields}))
        for watch in self._watches:
            watch.note(event, fields)

    def tasks(self, event: Event, tasks: Sequence[Task | Outcome] | Named, **fields: Any) -> None:
        """An event of these tasks. Kept in memory until `flush`."""
        named = tasks if isinstance(tasks, Named) else Named(tasks)
        for group in named.groups:
            self._lines.append(
                _encode({"t": self._clock.now_s(), "e": event, **self._who, **group, **fields})
            )
        for watch in self._watches:
            watch.tasks(event, named, fields)

    def failed(self, outcomes: Sequence[Outcome]) -> None:
        """Tell watches of failures. The records have them in the results."""
        for watch in self._watches:
            watch.failed(outcomes)

    def ran(self, tasks: int, each_s: float) -> None:
        """Tell those who watch that tasks have run, `each_s` seconds each."""
        for watch in self._watches:
            watch.ran(tasks, each_s)

    def settled(self, tasks: int, took_s: float) -> None:
        """Tell those who watch that outcomes were settled, which took `took_s` seconds."""
        for watch in self._watches:
            watch.settled(tasks, took_s)

    def flush(self) -> None:
        """After this, a SIGKILL loses none of the events so far."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._journal.append(lines)


def spent(backend: Backend, cpu_s: float) -> dict[str, Any]:
    """What `usage` and `close` say of this process: who it is, and what it has used so far.

    cpu_s: its CPU time, in seconds.
    """
    used: dict[str, Any] = {
        "pid": os.getpid(),
        "host": platform.node(),
        "cpu_s": cpu_s,
        "requests": backend.requests,
    }
    if billed := backend.billed:
        used["billed"] = {name: round(amount, 3) for name, amount in dict(billed).items()}
    return used


_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Life:
    """One life of a worker, from its start to its end.

    name: unique; a replacement of the worker has another one.
    recorder: writes this life's events.
    usage: returns what the worker's process has used so far, such as CPU seconds and requests.
    """

    name: str
    clock: Clock
    recorder: Recorder
    rng: random.Random
    usage: Callable[[], dict[str, Any]] = dict
