"""Tasks that come one by one: an open run, whose number of tasks is known when nobody submits any more."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.errors import MessageTooLarge
from kon.core.journal import Journal
from kon.core.spec import RunSpec
from kon.core.task import Bundle, Outcome, State, Task, encode
from kon.engine.client import Client, ClientOptions, Listener
from kon.engine.packing import batches, chunks, messages_of
from kon.engine.tally import Tally
from kon.launch.local import LocalRun

_log = logging.getLogger("kon")

MOST_TASKS: Final = 10_000_000
"""Most tasks of an open run while it is open: a byte is set aside for each, and used once there is one."""

_AHEAD_S: Final = 0.1
"""Calls that are queued ahead of the workers take about this long. Those beyond can still be cancelled."""

_MOST_AHEAD: Final = 2_000
_SHORT_S: Final = 0.005
"""Calls that take less share a message."""

_MOST_IN_MESSAGE: Final = 50

_WAIT_S: Final = 0.1
"""The client's wait for answers, before it looks whether the run is over."""


class SubmittedCall(NamedTuple):
    """A call that waits. body: of its task."""

    future: Future[Any]
    body: Any


class OpenTally(Tally):
    """Which tasks are accounted for, of as many as there will have been."""

    def __init__(self) -> None:
        super().__init__(MOST_TASKS)
        self.fresh: list[Outcome] = []
        """Outcomes that were counted and not told yet."""

    def count(self, outcomes: list[Outcome]) -> list[Outcome]:
        news = super().count(outcomes)
        self.fresh += news
        return news


class Feed:
    """Calls on their way from the threads of a program to the loop of its client, and their outcomes back."""

    def __init__(self, slots: int, settle: Callable[[SubmittedCall, Outcome], BaseException | None]) -> None:
        """slots: calls at once. settle: what is done with a call that has ended; it returns why none can be
        made any more, None as a rule.
        """
        self.slots = slots
        self._settle = settle
        self._lock = threading.Lock()
        self._begun: deque[SubmittedCall] = deque()
        """Calls that can't be cancelled any more, and are not queued yet."""
        self._waiting: deque[SubmittedCall] = deque()
        self._in_flight: dict[int, SubmittedCall] = {}
        self._count = 0
        self._mean_s: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Event | None = None
        self._is_woken = False
        self.is_closed = False
        self.broken: BaseException | None = None
        """Why nothing can be run any more."""

    # --- for the program's threads -----------------------------------------------------------------

    def put(self, call: SubmittedCall) -> bool:
        """Queue a call. False where the feed is closed."""
        with self._lock:
            if self.is_closed:
                return False
            if len(self._begun) + len(self._in_flight) < self.slots and not self._waiting:
                call.future.set_running_or_notify_cancel()  # a slot is free: it counts as begun at once
                self._begun.append(call)
            else:
                self._waiting.append(call)
        self._wake()
        return True

    def close(self, *, cancels: bool = False) -> None:
        """No more calls come. `cancels`: those that wait are cancelled."""
        with self._lock:
            self.is_closed = True
            dropped = list(self._waiting) if cancels else []
            if cancels:
                self._waiting.clear()
        for call in dropped:
            call.future.cancel()
            call.future.set_running_or_notify_cancel()
        self._wake()

    def fail(self, cause: BaseException) -> None:
        """Nothing can be run any more: every call that has not ended gets a BrokenExecutor."""
        with self._lock:
            self.is_closed = True
            self.broken = self.broken or cause
            begun = [*self._begun, *self._in_flight.values()]
            begun += [call for call in self._waiting if call.future.set_running_or_notify_cancel()]
            self._begun.clear()
            self._in_flight.clear()
            self._waiting.clear()
        for call in begun:
            settled(partial(call.future.set_exception, broken_by(cause)))

    def _wake(self) -> None:
        if self._loop is None or self._is_woken:
            return
        self._is_woken = True
        try:
            self._loop.call_soon_threadsafe(self._set)
        except RuntimeError:
            pass  # the loop has ended

    # --- in the client's loop ----------------------------------------------------------------------

    def attach(self) -> None:
        """Call it in the running loop, before the others."""
        self._news = asyncio.Event()
        self._news.set()
        self._loop = asyncio.get_running_loop()

    def _set(self) -> None:
        self._is_woken = False
        assert self._news is not None
        self._news.set()

    async def next(self) -> list[tuple[int, SubmittedCall]]:
        """The calls to be queued now, with their indexes; none when no more come."""
        assert self._news is not None
        while True:
            self._news.clear()
            found = self._take(self._room())
            if found or (self.is_closed and not self._waiting and not self._begun):
                return found
            await self._news.wait()

    def _take(self, most: int) -> list[tuple[int, SubmittedCall]]:
        found: list[tuple[int, SubmittedCall]] = []
        while len(found) < most:
            with self._lock:
                if self._begun:
                    call, is_begun = self._begun.popleft(), True
                elif self._waiting:
                    call, is_begun = self._waiting.popleft(), False
                else:
                    break
                if is_begun or call.future.set_running_or_notify_cancel():
                    self._in_flight[self._count] = call
                    found.append((self._count, call))
                    self._count += 1
        return found

    def _room(self) -> int:
        ahead = self.slots
        if self._mean_s is not None:
            ahead += min(_MOST_AHEAD, int(self.slots * _AHEAD_S / max(self._mean_s, 1e-6)))
        return self.slots + ahead - len(self._in_flight)

    def bundle(self, calls: int) -> int:
        """How many of that many calls go into a message."""
        if self._mean_s is None or self._mean_s > _SHORT_S:
            return 1
        return max(1, min(_MOST_IN_MESSAGE, calls // (4 * self.slots)))

    def refuse(self, index: int, error: BaseException) -> None:
        """A call that can't be queued."""
        settled(partial(self._in_flight.pop(index).future.set_exception, error))

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            took_s = outcome.ended_s - outcome.started_s
            self._mean_s = took_s if self._mean_s is None else self._mean_s + 0.2 * (took_s - self._mean_s)
            call = self._in_flight.pop(outcome.index, None)
            broken = None if call is None else self._settle(call, outcome)
            if broken is not None:
                self.fail(broken)
        if self._news is not None:
            self._news.set()

    @property
    def total(self) -> int:
        """Calls that have been queued, or will be; for any thread, once it is closed the last word."""
        with self._lock:
            return self._count + len(self._begun) + len(self._waiting)

    @property
    def waiting(self) -> int:
        """Calls for which there was no room yet."""
        return len(self._waiting)

    @property
    def count(self) -> int:
        """Calls that have been queued."""
        return self._count


def broken_by(cause: BaseException) -> BrokenExecutor:
    """What calls get where nothing can be run."""
    error = BrokenExecutor(str(cause))
    error.__cause__ = cause
    return error


def settled(settle: Callable[[], None]) -> None:
    """Settle a future. Callbacks are the program's: what one raises breaks nothing of the run.

    Futures see to errors themselves. CancelledError and SystemExit are none, and would end the run's client,
    or leave it waiting for ever.
    """
    try:
        settle()
    except BaseException:
        _log.exception("a callback of a future has raised")


class _TellingJournal(Journal):
    """Tells of outcomes once they are recorded."""

    def __init__(self, inner: Journal, tally: OpenTally, feed: Feed) -> None:
        self._inner = inner
        self._tally = tally
        self._feed = feed

    def append(self, lines: Sequence[bytes]) -> None:
        self._inner.append(lines)
        fresh, self._tally.fresh = self._tally.fresh, []
        self._feed.ended(fresh)

    async def on_disk(self, always: bool = False) -> None:
        await self._inner.on_disk(always)


class OpenClient(Client):
    """The client of an open run."""

    def __init__(
        self,
        feed: Feed,
        spec: RunSpec,
        channel: Channel,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
        options: ClientOptions,
    ) -> None:
        self._tell, self._told = listener.on_progress, -1
        tally = OpenTally()
        results = _TellingJournal(listener.results, tally, feed)
        listener = dataclasses.replace(listener, results=results, on_progress=self._tell_news)
        options = msgspec.structs.replace(options, wait_s=_WAIT_S)
        super().__init__(spec, channel, listener, clock, rng, options)
        self.tally: OpenTally = tally
        self._feed = feed
        feed.attach()

    def _tell_news(self, tally: Tally) -> None:
        """Tell of progress where there is any: this client looks often, and others wait for quiet."""
        ended = sum(tally.counts.values())
        if ended != self._told:
            self._told = ended
            self._tell(tally)

    async def submit(self, bodies: Iterable[Any], upto: int | None = None) -> None:
        queue, run = self._channel.tasks, self.spec.run
        # what is not in a function of its own would keep a call, and so its result, until the next one comes
        while (tasks := self._tasks(await self._feed.next(), queue.limits.max_bytes)) is not None:
            parts = chunks(tasks, self._feed.bundle(len(tasks)))
            messages = [each for part in parts for each in messages_of(part, run, queue.limits.max_bytes)]
            for batch in batches(messages, queue.limits):
                await queue.send(batch)
        self.tally.close(self._feed.count)
        self.spec = msgspec.structs.replace(self.spec, tasks=self._feed.count)
        await self._control.submitted(self._feed.count)

    def _account_for(self, state: State, error: str) -> None:
        if not self._feed.is_closed:  # it is given up while calls may still come
            self._feed.close(cancels=True)
        self.tally.close(self._feed.count)
        super()._account_for(state, error)

    def _tasks(self, calls: Sequence[tuple[int, SubmittedCall]], limit_bytes: int) -> list[Task] | None:
        """The tasks of calls, but of those that fit into no message; None where there are no calls."""
        tasks = []
        for index, call in calls:
            task = Task(index, call.body)
            size_bytes = len(encode(Bundle(self.spec.run, [task])))
            if size_bytes <= limit_bytes:
                tasks.append(task)
                continue
            said = f"the call has {size_bytes} bytes, and a message of this backend takes {limit_bytes}"
            self._feed.refuse(index, MessageTooLarge(said))
            self.tally.count([Outcome(index, 1, State.FAILED)])
        return tasks if calls else None


class FedRun(LocalRun):
    """A run whose calls come one by one."""

    def __init__(self, feed: Feed, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.make_client = partial(OpenClient, feed)
