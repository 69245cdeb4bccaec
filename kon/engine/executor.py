"""The executor: slots in which admitted tasks run, and what becomes of an attempt."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from kon.core.clock import Clock
from kon.core.errors import BackendDenied, KindError
from kon.core.kind import Attempt, Kind, Spent
from kon.core.task import LAST_ATTEMPT, Outcome, State, encode
from kon.engine.holding import Job
from kon.engine.records.events import Event, Recorder

INSTANT_BATCH: Final = 1_000
"""Tasks that `Kind.execute_now` gets at once: enough to make its overhead vanish, few enough that
the event loop is back within a millisecond or two."""


class ExecutorOptions(msgspec.Struct, frozen=True):
    """slots: tasks at once. attempts: failed attempts before a task counts as failed.

    timeout_s: the longest an attempt may take. max_result_bytes: the largest encoded outcome.
    """

    run: str
    slots: int
    attempts: int
    timeout_s: float | None
    max_result_bytes: int


_WEIGHT: Final = 0.2
"""Weight of the newest duration in the mean: some ten tasks are remembered."""


class Executor:
    """Runs jobs in their order of arrival, `slots` at a time, each under its own timeout."""

    def __init__(
        self,
        kind: Kind,
        options: ExecutorOptions,
        clock: Clock,
        recorder: Recorder,
        on_finished: Callable[[Sequence[Job]], None],
        on_dropped: Callable[[Job], None],
    ) -> None:
        self._kind = kind
        self._options = options
        self._clock = clock
        self._recorder = recorder
        self._on_finished = on_finished
        self._on_dropped = on_dropped
        self._backlog: deque[Job] = deque()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._waits = type(kind).ready is not Kind.ready
        self._instant = type(kind).execute_now is not Kind.execute_now
        self._closing = False
        self._cancelled = False
        self._slots: list[asyncio.Task[None]] = []
        self._stopped: list[Job] = []
        self.running = 0
        self.started = 0
        """Tasks that were started so far."""
        self.took_s = 0.0
        """How long all that have ended took together."""
        self.last_start_s = 0.0
        """When a task was started last, by the event loop's clock."""
        self.mean_s: float | None = None
        """How long a task takes, lately; None before the first has ended."""

    @property
    def waiting(self) -> int:
        return len(self._backlog)

    @property
    def idle(self) -> bool:
        return not self._backlog and self.running == 0

    def submit(self, jobs: Sequence[Job]) -> None:
        self._backlog.extend(jobs)
        self._work.set()

    def withdraw(self, count: int) -> list[Job]:
        """Take back the last `count` jobs that have not started, or fewer where fewer wait."""
        backlog = self._backlog
        return [backlog.pop() for _ in range(min(count, len(backlog)))][::-1]

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start the slots. What ends one before `stop` is called ends the group, with an error."""
        group.create_task(self._watch_slots())

    async def stop(self, drain_s: float) -> list[Job]:
        """Let running tasks go on for `drain_s` seconds, then stop them. Returns those that were stopped.

        They have no outcome: to be stopped is not to fail. Call `withdraw` first; nothing is started
        after this.
        """
        self._closing = True
        if self.running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self._idle.wait()
        await self._cancel_slots()
        return self._stopped

    async def _watch_slots(self) -> None:
        """Let no slot end unheard, and end them all when the group ends.

        They are none of the group's own tasks. So whoever cancels one before `_cancelled` is set is the task
        that runs in it, as cancel scopes do.
        """
        # made here: a group that ends before this has begun would never end them
        slots = self._slots = [asyncio.create_task(self._slot()) for _ in range(self._options.slots)]
        try:
            await asyncio.wait(slots, return_when=asyncio.FIRST_COMPLETED)
            if self._closing:
                await asyncio.wait(slots, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await self._cancel_slots()
            errors = [error for slot in slots if not slot.cancelled() and (error := slot.exception())]
            if errors:
                raise BaseExceptionGroup("a worker's slots can't go on", errors)
        if not self._closing:
            raise RuntimeError("a worker's slot ended by itself")

    async def _cancel_slots(self) -> None:
        self._cancelled = True
        for slot in self._slots:
            slot.cancel()
        if self._slots:
            await asyncio.wait(self._slots)

    async def _slot(self) -> None:
        while not self._cancelled:
            while not self._backlog:
                self._work.clear()
                await self._work.wait()
            if self._instant and self._run_instantly():
                await asyncio.sleep(0)
                continue
            if self._waits:
                await self._kind.ready()
                if not self._backlog:
                    continue
            job = self._backlog.popleft()
            if not self._may_start(job):
                continue
            self.running += 1
            self.started += 1
            self.last_start_s = asyncio.get_running_loop().time()
            job.outcome = await self._attempt(job)
            self.running -= 1
            if self._closing and self.running == 0:
                self._idle.set()
            if job.outcome is None:
                self._stopped.append(job)
            else:
                self._learn(1, job.outcome.ended_s - job.outcome.started_s)
                self._on_finished((job,))
            if self._closing:
                return
            await _take_back_cancels()

    def _may_start(self, job: Job) -> bool:
        """A job whose claim ran out while it waited may be running elsewhere by now."""
        if job.claim.until_s > self._clock.now_s():
            return True
        self._on_dropped(job)
        return False

    def _run_instantly(self) -> bool:
        """Run what is waiting in one go, where its kind can."""
        backlog = self._backlog
        if len(backlog) <= INSTANT_BATCH:
            jobs = list(backlog)
            backlog.clear()
        else:
            jobs = [backlog.popleft() for _ in range(INSTANT_BATCH)]
        started_s = self._clock.now_s()
        self.last_start_s = asyncio.get_running_loop().time()
        ready = [job for job in jobs if job.claim.until_s > started_s]
        tasks = [job.task for job in ready]
        results = self._kind.execute_now([task.body for task in tasks])
        if results is None:
            backlog.extendleft(reversed(jobs))
            return False
        self.started += len(ready)
        # Such kinds have no effects, so that a start which a SIGKILL leaves unrecorded never was.
        self._recorder.tasks(Event.START, tasks)
        self._recorder.flush()
        ended_s = self._clock.now_s()
        done = State.DONE  # Python 3.11 takes as long to find a member in its class as to make an outcome
        for job, task, result in zip(ready, tasks, results, strict=True):
            job.outcome = Outcome(task.index, task.attempt, done, result, None, started_s, ended_s)
        if ready:
            self._learn(len(ready), (ended_s - started_s) / len(ready))
            self._on_finished(ready)
        if len(ready) < len(jobs):
            for job in jobs:
                if job.claim.until_s <= started_s:
                    self._on_dropped(job)
        return True

    async def _attempt(self, job: Job) -> Outcome | None:
        """How the attempt ends; None where it was stopped, and another is to follow."""
        task = job.task
        self._recorder.tasks(Event.START, (task,))
        self._recorder.flush()
        started_s = self._clock.now_s()
        result: Any = None
        error: str | None = None
        is_final = False
        deadline = asyncio.timeout(self._options.timeout_s)
        attempt = Attempt(self._options.run, task.index, task.attempt)
        try:
            async with deadline:
                result = await self._kind.execute(task.body, attempt)
        except BackendDenied:
            raise  # what this worker may not do says nothing of the task, whose kind has asked for it
        except (Exception, asyncio.CancelledError) as failure:
            # Whatever a task raises is its own failure, never the worker's: a CancelledError of its own would
            # end this slot unheard. While it is being stopped, it fails by nothing.
            if not self._cancelled:
                result, error, is_final = self._failed(failure, deadline)
            elif task.attempt < LAST_ATTEMPT:
                return None
            else:
                stops = job.held.bundle.stops + 1
                error, is_final = f"its worker was told to stop {stops} times as it ran", True
        if attempt.spent is not None:
            self._recorder.tasks(Event.SPENT, (task,), **_fields(attempt.spent))
        return self._outcome(job, result, error, started_s, is_final)

    def _failed(self, failure: BaseException, deadline: asyncio.Timeout) -> tuple[Any, str, bool]:
        """What a failed attempt left behind, why it failed, and whether another would fail as well."""
        if isinstance(failure, KindError):
            return failure.result, _said(failure), failure.is_final
        if deadline.expired():  # whatever the task has made of that
            return None, f"timed out after {self._options.timeout_s} s", False
        return None, f"{type(failure).__name__}: {_said(failure)}", False

    def _outcome(self, job: Job, result: Any, error: str | None, started_s: float, is_final: bool) -> Outcome:
        task = job.task
        ended_s = self._clock.now_s()
        if error is None:
            outcome = Outcome(task.index, task.attempt, State.DONE, result, None, started_s, ended_s)
            error = self._unfit(outcome)
            if error is None:
                return outcome
            result, is_final = None, True  # it ran, and would have the same result
        allowed = min(self._options.attempts + job.held.bundle.stops, LAST_ATTEMPT)
        state = State.FAILED if is_final or task.attempt >= allowed else State.RETRY
        outcome = Outcome(task.index, task.attempt, state, result, error, started_s, ended_s)
        if self._unfit(outcome) is not None:
            short = error[:1_000]
            return Outcome(task.index, task.attempt, state, None, short, started_s, ended_s)
        return outcome

    def _unfit(self, outcome: Outcome) -> str | None:
        """Why an outcome can't travel, if it can't."""
        try:
            size_bytes = len(encode(outcome))
        except (TypeError, ValueError, OverflowError, RecursionError) as failure:
            return f"its result is not a JSON value: {failure}"
        limit = self._options.max_result_bytes
        return f"its result has {size_bytes} bytes, and {limit} are allowed" if size_bytes > limit else None

    def _learn(self, tasks: int, duration_s: float) -> None:
        self._recorder.ran(tasks, duration_s)
        self.took_s += tasks * duration_s
        self.mean_s = (
            duration_s if self.mean_s is None else self.mean_s + _WEIGHT * (duration_s - self.mean_s)
        )


async def _take_back_cancels() -> None:
    """Undo what a task leaves behind that has cancelled the slot it ran in."""
    slot = asyncio.current_task()
    assert slot is not None, "a slot is a task"
    while slot.cancelling():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # it may not have been raised yet
        slot.uncancel()


def _said(failure: BaseException) -> str:
    """What an exception says, as text that can be written down. Names of files may hold what is no UTF-8."""
    try:
        said = str(failure)
    except Exception:
        said = "(an exception that can't be shown as text)"
    return said.encode(errors="backslashreplace").decode()


def _fields(spent: Spent) -> dict[str, float]:
    peak = {} if spent.peak_bytes is None else {"peak_bytes": spent.peak_bytes}
    return {"task_cpu_s": spent.cpu_s, **peak}
