"""An event loop in virtual time: no clock, no selector, no threads, and whatever order a schedule picks.

Time stands still while anything is ready, and jumps to the next timer when nothing is. Each callback
belongs to the host in whose context it was made, and a host can be crashed or paused at any await. The file
is long, as asyncio asks a loop for these methods; they are one life cycle, that of a callback.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import math
import sys
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec

from kon.backends.sim.refusals import RefusingLoop, SimulationError
from kon.backends.sim.schedule import Schedule
from kon.backends.sim.tasks import SimTask, drop, where

_Result = TypeVar("_Result")

current_host: contextvars.ContextVar[str] = contextvars.ContextVar("current_host", default="")
"""The simulated host that the running code belongs to; empty for the services and the scenario itself."""


class SimDeadlock(SimulationError):
    """Nothing is ready, no timer is set, and the simulation has not ended: it never will."""


class SimTimeout(SimulationError):
    """The simulation has not ended within its limit of virtual time or of steps."""


class SimClosed(SimulationError):
    """The simulation is over, and something in it, a `finally:` for one, still tries to act."""


class SimUnhandled(SimulationError):
    """Something failed in the background and nobody looked; the failure is this error's cause."""


class Handle(msgspec.Struct):
    """A callback that waits. What `asyncio.Handle` is, at half the price."""

    callback: Callable[..., object] | None
    args: Sequence[Any]
    context: contextvars.Context
    loop: SimLoop | None = None
    when_s: float = 0.0

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback, self.args = None, ()
            if self.loop is not None:
                self.loop._timer_cancelled()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.when_s


_COMPACT_FROM: Final = 256
"""Cancelled timers that are worth clearing out."""

_SIFT_FROM: Final = 256
"""Tasks that were made, before those that have ended are worth sifting out."""


class SimLoop(RefusingLoop):
    """Runs coroutines in virtual time. Not to be shared between threads.

    schedule: picks the next of the ready callbacks; None runs them in order, which is faster.
    limit_s: the latest virtual time, in seconds; the simulation starts at 0.
    max_steps: the most callbacks.
    """

    def __init__(
        self, schedule: Schedule | None = None, *, limit_s: float = math.inf, max_steps: int = sys.maxsize
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.steps = 0
        """Callbacks run so far, those of crashed and paused hosts included."""
        self._now_s = 0.0
        self._limit_s = limit_s
        self._max_steps = max_steps
        self._ready: deque[Handle] | list[Handle] = []
        if schedule is None:
            self._ready = deque()
        else:
            schedule.ready = self._ready
        self._timers: list[tuple[float, int, Handle]] = []
        self._cancelled_timers = 0
        self._order = itertools.count()
        self._own_context = contextvars.Context()
        self._closed = False
        self._stopping = False
        self._unhandled: list[BaseException] = []
        self._asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        # asyncio's own list has the tasks of every loop that was not collected yet, and takes as long
        self._made: list[weakref.ref[SimTask[Any]]] = []  # in the order of their making
        self._sift_at = _SIFT_FROM
        # steps before which the scenario wants to be called, and the earliest step to look up at
        self._watched: list[tuple[int, int, Callable[[], object]]] = []
        self._next_watched = max_steps
        # hosts that are not as others: looked at only while there are any
        self._crashed: set[str] = set()
        self._paused: dict[str, list[Handle]] = {}
        self._resume_s: dict[str, float] = {}
        self._special: set[str] = set()  # all of these
        self._graveyard: list[object] = []

    # --- running -----------------------------------------------------------------------------------

    def run_until_complete(self, future: Generator[Any, None, _Result] | Awaitable[_Result]) -> _Result:
        """Run until this is done, and no longer: what else is under way stays where it is.

        Raises SimDeadlock or SimTimeout when that can't be, SimRefused when anything reached for the
        real world (even where the error was caught), and SimUnhandled for an error nobody looked at.
        """
        if self._closed:
            raise SimClosed("this loop was closed; a simulation runs once")
        main = asyncio.ensure_future(cast("Awaitable[_Result]", future), loop=self)
        self._run(main.done)
        if self.refusals:
            raise self.refusals[0]
        result = main.result()
        self._raise_unhandled()
        return result

    def run_forever(self) -> None:
        """Run until `stop`. Raises as `run_until_complete` does."""
        self._stopping = False
        self._run(lambda: self._stopping)
        if self.refusals:
            raise self.refusals[0]
        self._raise_unhandled()

    def stop(self) -> None:
        self._stopping = True

    def _run(self, done: Callable[[], bool]) -> None:
        hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._asyncgens.add, finalizer=self._finalize_asyncgen)
        try:
            if self.schedule is None:
                self._run_in_order(cast("deque[Handle]", self._ready), done)
            else:
                self._run_as_picked(cast("list[Handle]", self._ready), self.schedule.pick, done)
        finally:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    # The two loops differ in one line. They are apart because a call for each callback would cost
    # a tenth of the whole.

    def _run_in_order(self, ready: deque[Handle], done: Callable[[], bool]) -> None:
        take, special = ready.popleft, self._special
        while not done():
            if self.steps >= self._next_watched:
                self._look_up()
                continue
            if not ready:
                self._advance(done)
                continue
            self.steps += 1
            handle = take()
            if handle.callback is None:
                continue
            if special and (host := handle.context.get(current_host, "")) in special:
                self._hold_back(handle, host)
                continue
            handle.context.run(handle.callback, *handle.args)

    def _run_as_picked(
        self, ready: list[Handle], pick: Callable[[int], int], done: Callable[[], bool]
    ) -> None:
        take, special = ready.pop, self._special
        while not done():
            if self.steps >= self._next_watched:
                self._look_up()
                continue
            waiting = len(ready)
            if not waiting:
                self._advance(done)
                continue
            self.steps += 1
            handle = take(pick(waiting) if waiting > 1 else 0)
            if handle.callback is None:
                continue
            if special and (host := handle.context.get(current_host, "")) in special:
                self._hold_back(handle, host)
                continue
            handle.context.run(handle.callback, *handle.args)

    def _advance(self, done: Callable[[], bool]) -> None:
        """Jump to the next timer, and make ready all that are due then."""
        timers, ready = self._timers, self._ready
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
            self._cancelled_timers -= 1
        if not timers:
            raise SimDeadlock(
                f"at {self._now_s:.6f} s, after {self.steps} steps, nothing is ready and no timer is set. "
                f"Waiting:\n{self.describe_tasks()}"
            )
        due_s = timers[0][0]
        if due_s > self._limit_s:
            raise SimTimeout(
                f"not at its end after {self._limit_s} s of virtual time ({self.steps} steps). "
                f"Waiting:\n{self.describe_tasks()}"
            )
        self._now_s = due_s
        while timers and timers[0][0] <= due_s:
            handle = heapq.heappop(timers)[2]
            handle.loop = None
            if handle.callback is None:
                self._cancelled_timers -= 1
            else:
                ready.append(handle)

    def _look_up(self) -> None:
        """Call what was to be called before this step, or end a simulation that takes too many."""
        while self._watched and self._watched[0][0] <= self.steps:
            heapq.heappop(self._watched)[2]()
        if self.steps >= self._max_steps:
            raise SimTimeout(
                f"not at its end after {self._max_steps} steps (at {self._now_s:.6f} s of virtual time). "
                f"Waiting:\n{self.describe_tasks()}"
            )
        self._next_watched = self._watched[0][0] if self._watched else self._max_steps

    def _raise_unhandled(self) -> None:
        if self._unhandled:
            first = self._unhandled[0]
            raise SimUnhandled(f"nobody looked at: {type(first).__name__}: {first}") from first

    # --- scheduling --------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the simulation began."""
        return self._now_s

    def call_soon(  # type: ignore[override] # a handle that quacks like asyncio's and costs half
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override] # as call_soon
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        if context is None:
            context = contextvars.copy_context()
        if when <= self._now_s:
            handle = Handle(callback, args, context, None, when)
            self._ready.append(handle)
        else:
            handle = Handle(callback, args, context, self, when)
            heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def call_later(  # type: ignore[override] # as call_soon
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, _Result] | Generator[Any, None, _Result],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[_Result]:
        if self._closed:
            coro.close()
            raise SimClosed("the simulation is over: no task can be made any more")
        if context is None:
            context = contextvars.copy_context()
        host = context.get(current_host, "")
        task = SimTask(coro, self, None if name is None else str(name), context, host, next(self._order))
        self._made.append(weakref.ref(task))
        if len(self._made) > self._sift_at:
            self._made = [weakref.ref(each) for each in self._tasks()]
            self._sift_at = 2 * len(self._made) + _SIFT_FROM
        return task

    def spawn(
        self, host: str, coro: Coroutine[Any, Any, _Result], name: str = "main"
    ) -> asyncio.Task[_Result]:
        """Start a coroutine on a host: all that it makes, tasks and timers, belongs to the host."""
        context = contextvars.copy_context()
        context.run(current_host.set, host)
        return self.create_task(coro, name=name, context=context)

    def _timer_cancelled(self) -> None:
        self._cancelled_timers += 1
        if self._cancelled_timers > _COMPACT_FROM and self._cancelled_timers * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    # --- hosts -------------------------------------------------------------------------------------

    def before_step(self, step: int, callback: Callable[[], object]) -> None:
        """Call back right before the given step, between two callbacks: at any await, that is.

        A step that has passed means the next one. The callback must not wait.
        """
        heapq.heappush(self._watched, (step, next(self._order), callback))
        self._next_watched = min(self._next_watched, self._watched[0][0])

    def crash(self, host: str) -> None:
        """End a host at once, as SIGKILL or a power cut would: no callback of it ever runs again.

        Its coroutines stay suspended where they are, so that not even `finally:` is run, and what
        they asked of others goes on. A new life of the host needs a name of its own.
        """
        self._crashed.add(host)
        self._special.add(host)
        # lest they be collected, which would run their `finally:` blocks in the midst of it all
        self._graveyard.extend(task for task in self._tasks() if task.host == host)
        # what is ready is dropped when it comes up; a timer would make time go on until then
        self._timers = [timer for timer in self._timers if _host_of(timer[2]) != host]
        heapq.heapify(self._timers)
        self._cancelled_timers = sum(timer[2].callback is None for timer in self._timers)

    def is_alive(self, host: str) -> bool:
        """Whether the host has not crashed; one that stands still is alive."""
        return host not in self._crashed

    def pause(self, host: str, for_s: float) -> None:
        """Stop a host for a while, as a long garbage collection or a suspended machine would.

        Time goes on, and so do its requests; replies and timers wait for it. A second pause makes
        the first longer, never shorter.
        """
        self._paused.setdefault(host, [])
        self._special.add(host)
        until_s = max(self._now_s + for_s, self._resume_s.get(host, 0.0))
        self._resume_s[host] = until_s
        self.call_at(until_s, self._resume, host, until_s, context=self._own_context)

    def _resume(self, host: str, until_s: float) -> None:
        if self._resume_s.get(host) != until_s:
            return
        del self._resume_s[host]
        self._ready.extend(self._paused.pop(host, ()))
        if host not in self._crashed:
            self._special.discard(host)

    def _hold_back(self, handle: Handle, host: str) -> None:
        """Put a callback that its host can't run where it belongs."""
        if host in self._crashed:
            self._graveyard.append(handle)
        else:
            self._paused[host].append(handle)

    # --- errors and the end ------------------------------------------------------------------------

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Asyncio reports here what it would otherwise swallow; `run_until_complete` raises it."""
        if not self._closed:
            error = context.get("exception")
            self._unhandled.append(error if error is not None else SimulationError(str(context["message"])))

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Drop all that is still under way. Whatever its `finally:` blocks do now has no effect.

        Services refuse calls on a closed loop, and what is scheduled is never run. Each coroutine is
        closed here and now, lest the garbage collector do it in the midst of another simulation.
        """
        if self._closed:
            return
        if self.is_running():
            raise SimulationError("a loop can't be closed from within")
        self._closed = True
        asyncio._set_running_loop(self)
        try:
            for task in self._tasks():
                drop(task)
        finally:
            asyncio._set_running_loop(None)
        self._ready.clear()
        self._timers.clear()
        self._paused.clear()
        self._graveyard.clear()
        self._watched.clear()
        self._made.clear()

    async def shutdown_asyncgens(self) -> None:
        """Close the asynchronous generators that nobody has read to their end."""
        for generator in list(self._asyncgens):
            await generator.aclose()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none. timeout: in seconds; asyncio's runner gives it since Python 3.12."""

    def _finalize_asyncgen(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self._closed:
            self.call_soon(self.create_task, generator.aclose())

    def describe_tasks(self) -> str:
        """One line for each task that waits: its host and name, and where it waits."""
        lines = [
            f"  {task.host or 'no host'}, {task.get_name()}: {where(task.get_coro())}"
            for task in self._tasks()
            if task.host not in self._crashed
        ]
        return "\n".join(lines) or "  nobody"

    def _tasks(self) -> list[SimTask[Any]]:
        """Every task that has not ended, in the order of their making."""
        return [task for made in self._made if (task := made()) is not None and not task.done()]


def simulate(main: Coroutine[Any, Any, _Result], loop: SimLoop) -> _Result:
    """Run a simulation from its start to its end, and close its loop."""
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def _host_of(handle: Handle) -> str:
    return handle.context.get(current_host, "")
