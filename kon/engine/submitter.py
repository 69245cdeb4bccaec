"""The submitter: packs a run's tasks into messages, window by window, and sends them.

It learns from answers how long tasks take, and makes messages larger or smaller by that.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, groupby, islice, repeat
from typing import Any, Final

import msgspec

from kon.core.backend import Channel
from kon.core.errors import WorkloadError
from kon.core.queue import Message
from kon.core.spec import RunSpec
from kon.core.task import Bundle, Outcome, Task, encode
from kon.engine.control import Control, Window
from kon.engine.packing import batches, messages_of
from kon.engine.sizing import MOST_TASKS, Sizing
from kon.engine.tally import Tally

PILOT_S: Final = 0.3
"""How long the client waits for a first answer that tells how long tasks take, before it goes on without."""


class Submitter:
    """Queues the tasks of one run."""

    def __init__(
        self,
        spec: RunSpec,
        channel: Channel,
        tally: Tally,
        rng: random.Random,
        in_flight: int,
        sizes: Sequence[int] = (),
        following: int = 0,
    ) -> None:
        """`channel`: one with patience. `tally`: what an earlier client has recorded.

        in_flight: sends under way at once. sizes, following: see ClientOptions.
        """
        self._spec = spec
        self._channel = channel
        self._control = Control(channel.control)
        self._tally = tally
        self._rng = rng
        self._in_flight = in_flight
        self._sizing = Sizing(spec, sizes, following)
        self._answered = asyncio.Event()
        self._waited = False
        self.expects_answers = False
        """Whether somebody collects at the same time: then a first answer is worth waiting for."""

    def learn(self, news: Sequence[Outcome]) -> None:
        """Note how long tasks took."""
        self._sizing.learn(news)
        self._answered.set()

    async def submit(self, bodies: Iterable[Any], upto: int | None = None, first_attempt: int = 1) -> None:
        """Queue every task that is not queued yet. `bodies` are all the run's, from the first one on.

        upto: only that many, from the first, where the others come later.
        Raises MessageTooLarge for a task that fits into no message; those before it are queued.
        """
        submitted, window = await self._control.begun()
        numbered = map(Task, count(), _made(bodies), repeat(first_attempt))
        end = self._spec.tasks if upto is None else upto
        tasks: Iterator[Task] = islice(numbered, submitted, end)
        if self._tally.left < self._spec.tasks:
            # recorded by an earlier client: done in a queue that is no more, or not to be run again
            tasks = (task for task in tasks if self._tally.state_of(task.index) is None)
        await self._submit(tasks, submitted, end, window)

    async def _submit(self, tasks: Iterator[Task], at: int, end: int, window: Window | None) -> None:
        """Queue these tasks, which have indexes from `at` to before `end`, window by window.

        window: the one that an earlier client noted last.
        """
        sizing = self._sizing
        learns = self._spec.bundle is None or self._spec.tasks_per_row is None
        room = asyncio.Semaphore(self._in_flight)
        messages = 0 if window is None else window.messages
        following: Task | None = None  # taken from `tasks`, and of a later window
        while at < end and self._tally.left:  # none is left of a run that was given up
            left = self._spec.tasks - at
            planned = True
            if window is None or not window.first <= at < window.upto:
                planned, size = False, sizing.size(left)
                window = Window(at, min(at + sizing.span(left, size), end), size, messages)
            part: list[Task] = []
            # no body is asked for before the window that it belongs to: it may fail
            while not part or part[-1].index + 1 < window.upto:
                following = following or next(tasks, None)
                if following is None or following.index >= window.upto:
                    break
                part.append(following)
                following = None
            if not planned:
                rows = self._fit(window.rows, part) if self._spec.tasks_per_row is None else 0
                window = msgspec.structs.replace(window, rows=rows)
                if learns:
                    await self._control.plan(window)
            sent = list(self._packed(part, window))
            await self._send(self._with_repeats(sent), room)
            messages += len(sent)
            at = min(window.upto, end)
            await self._control.submitted(at)
            if at < end and sizing.is_blind and self.expects_answers and not self._waited:
                self._waited = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PILOT_S):
                        await self._answered.wait()

    async def _send(self, messages: Sequence[Message], room: asyncio.Semaphore) -> None:
        queue = self._channel.tasks
        async with asyncio.TaskGroup() as group:
            for batch in batches(messages, queue.limits):
                await room.acquire()
                group.create_task(queue.send(batch)).add_done_callback(lambda _: room.release())

    def _fit(self, size: int, tasks: list[Task]) -> int:
        """The size, or less where these tasks are too large for it."""
        some = tasks[:: max(1, len(tasks) // 8)]
        task_bytes = len(encode(Bundle(self._spec.run, some))) / max(1, len(some))
        return self._sizing.fit(size, task_bytes, self._channel.tasks.limits.max_bytes)

    def _packed(self, tasks: list[Task], window: Window) -> Iterator[Message]:
        """The tasks of a window in messages: by the window's pages, or of the size that suits."""
        run, max_bytes = self._spec.run, self._channel.tasks.limits.max_bytes
        if window.rows == 0:
            at = 0
            most = self._fit(MOST_TASKS, tasks) if self._spec.bundle is None else self._spec.bundle
            while at < len(tasks):
                size = min(self._sizing.size(self._spec.tasks - tasks[at].index), most)
                yield from messages_of(tasks[at : at + size], run, max_bytes)
                at += size
            return
        segment = window.segment if window.rows > 1 else None
        for _, page in groupby(tasks, key=lambda task: (task.index - window.first) // window.rows):
            yield from messages_of(list(page), run, max_bytes, segment)

    def _with_repeats(self, messages: list[Message]) -> list[Message]:
        """The messages, a share of them twice where the experiment asks for that: the second copy at a
        random place of the same window, so that it comes early, late, or while the first one runs."""
        rate = self._spec.faults.duplicate_rate
        if not rate:
            return messages
        copies = [message for message in messages if self._rng.random() < rate]
        for copy in copies:
            messages.insert(self._rng.randrange(len(messages) + 1), copy)
        return messages


def _made(bodies: Iterable[Any]) -> Iterator[Any]:
    """The bodies. Raises WorkloadError where whatever makes them raises CancelledError.

    A group of tasks would take that for somebody's wish, and its other tasks would wait for ever.
    """
    try:
        yield from bodies
    except asyncio.CancelledError as error:
        raise WorkloadError("a task's body can't be made: whatever makes it raised CancelledError") from error
