"""Giving back: tasks that wait behind long ones go to workers that can start them sooner.

Nobody knows beforehand how long tasks take. A worker may hold a message of a hundred tasks whose first
takes a minute. It sends the other 99 in new messages, and only then lets go of the old one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from kon.core.queue import Message
from kon.core.spec import RunSpec
from kon.core.strategy import Claim, Strategy
from kon.engine.executor import Executor
from kon.engine.holding import Held, Holding, Job
from kon.engine.prefetch import Prefetch
from kon.engine.records.events import Event, Recorder
from kon.engine.settler import Settler
from kon.engine.sizing import LEAST_WORK_S, MOST_TASKS, abreast

LEAST_LOOK_S: Final = 0.01
"""Between two looks at what waits, at least."""


class TaskRows(NamedTuple):
    """The rows of tasks in the ledger, by index.

    move: gives tasks rows of their own; says for each whether it has one now.
    leaving: while it lasts, a release moves these rows by the same write.
    """

    move: Callable[[Sequence[int]], Awaitable[list[bool]]]
    leaving: Callable[[Sequence[int]], AbstractContextManager[None]]


async def _nowhere(indexes: Sequence[int]) -> list[bool]:
    return [True] * len(indexes)


NO_ROWS: Final = TaskRows(_nowhere, lambda indexes: nullcontext())
"""Where no page has rows of tasks, nothing moves."""


class HoldLimits(msgspec.Struct, frozen=True):
    """How long tasks may wait behind a worker's slots, in seconds.

    stuck_s: while no slot becomes free. In turns of a slot, for tasks that are longer: `stuck_turns`.
    beyond_s: the same, for tasks beyond the worker's even share of the run. There the client may have guessed
        too large, or other workers have nothing left.
    wait_s: by how long tasks take; in a short run `share` of its whole work, and `least_wait_s` at least.
    part_s: work in one of the messages that are sent in place of what was held; `share` here as well.
    """

    stuck_s: float = 0.25
    stuck_turns: float = 3.0
    beyond_s: float = 0.02
    wait_s: float = 2.0
    least_wait_s: float = 0.1
    part_s: float = 0.2
    share: float = 0.1


DEFAULT_HOLD: Final = HoldLimits()


class GiveBack:
    """Sends tasks that have not started back to the queue.

    A task given back was not received in vain: that does not count towards its dead letter. Its message names
    each task of one delivery only, so that this delivery's ack can't overtake it.
    """

    def __init__(
        self,
        holding: Holding,
        executor: Executor,
        strategy: Strategy,
        settler: Settler,
        rows: TaskRows,
        recorder: Recorder,
    ) -> None:
        self._holding = holding
        self._executor = executor
        self._strategy = strategy
        self._settler = settler
        self._rows = rows
        self._recorder = recorder
        self._some = asyncio.Event()
        self._giving = asyncio.Lock()
        self.releases = strategy.forgets_at_once

    @property
    def waiting(self) -> int:
        """Tasks that wait here and may be given back."""
        return len(self._holding.parked) + (self._executor.waiting if self.releases else 0)

    def look(self) -> None:
        """Look after what waits, if anything does."""
        if self.waiting:
            self._some.set()

    async def watch(self, prefetch: Prefetch, spec: RunSpec, limits: HoldLimits) -> None:
        """See to it that no task waits here for long that could run elsewhere. Never returns."""
        now_s = asyncio.get_running_loop().time
        executor, slots = self._executor, spec.slots
        share = _share(spec)
        while True:
            self._some.clear()
            if not self.waiting:
                await self._some.wait()
            mean_s = executor.mean_s or 0.0
            overall_s = executor.took_s / max(1, executor.started)
            # a short run would end late by what is little in a long one
            little_s = limits.share * share * overall_s / slots
            turns_s = limits.stuck_turns * mean_s / slots
            wait_s = limits.wait_s
            if mean_s > limits.stuck_turns * overall_s:  # longer than the client knew when it packed them
                wait_s = min(wait_s, max(limits.least_wait_s, little_s, turns_s))
            part_s = min(limits.part_s, max(LEAST_WORK_S, little_s))
            stuck_s = max(limits.stuck_s, turns_s, prefetch.horizon_s)
            # the first messages hold half of the run
            mine = share if executor.mean_s is not None else math.ceil(share / 2)
            beyond = min(self.waiting, self.waiting + executor.started - mine)
            beyond_s = max(limits.beyond_s, min(little_s, limits.stuck_s), turns_s)
            due_s = min(stuck_s, beyond_s) if beyond > 0 else stuck_s
            since_s = now_s() - executor.last_start_s
            if executor.running < slots:
                since_s = 0.0  # a slot is free: the next start is due
            elif since_s >= due_s:
                count = self.waiting if since_s >= stuck_s else beyond
                prefetch.gave_back()
                await self.back(count, _parts(spec, part_s, max(mean_s, since_s)))
            elif self.waiting * mean_s / slots > wait_s:
                kept = int(slots * min(prefetch.horizon_s, wait_s) / mean_s)
                await self.back(self.waiting - min(kept, share), _parts(spec, part_s, mean_s))
            await asyncio.sleep(max(due_s - since_s, LEAST_LOOK_S))

    async def back(self, count: int, part: int) -> None:
        """Give back the last `count` tasks that wait, in messages of up to `part` tasks."""
        async with self._giving:
            jobs = await self._withdraw(count)
            if not jobs:
                return
            paged = [job for job in jobs if job.held.bundle.segment is not None]
            moved = await self._rows.move([job.task.index for job in paged]) if paged else []
            stays = {job.task.index for job, is_moved in zip(paged, moved, strict=True) if not is_moved}
            self._send(jobs, part, lambda job: job.task.index in stays)

    async def ended(self) -> None:
        """Return when the settler has all that is being given back: a claim on it may still stand."""
        async with self._giving:
            return

    def withdraw_all(self) -> list[Job]:
        """Take every task that waits, for whoever gives it back."""
        jobs = self._unclaimed(len(self._holding.parked))
        return self._executor.withdraw(self._executor.waiting) + jobs

    async def _withdraw(self, count: int) -> list[Job]:
        """Take the last tasks that wait, with no claim held on any of them."""
        async with self._holding.claims:
            parked = self._unclaimed(count)
            jobs = self._executor.withdraw(count - len(parked) if self.releases else 0)
            for job in jobs:
                job.runs = False
            if jobs:
                with self._rows.leaving([job.task.index for job in jobs + parked]):
                    await self._strategy.release([job.claim for job in jobs])
        return jobs + parked

    def _unclaimed(self, count: int) -> list[Job]:
        """Take the last tasks that are parked."""
        parked = self._holding.parked
        taken = [parked.pop() for _ in range(min(count, len(parked)))][::-1]
        jobs = [Job(held, Claim(task), task, runs=False, is_claimed=False) for held, task in taken]
        for job in jobs:
            job.held.jobs.append(job)
        return jobs

    def _send(self, jobs: Iterable[Job], part: int, stays: Callable[[Job], bool]) -> None:
        """Have the settler send these tasks in new messages, and ack what is then done with.

        stays: whether a task's row is in its page still.
        """
        by_held: dict[Held, list[Job]] = {}
        for job in jobs:
            by_held.setdefault(job.held, []).append(job)
        for held, mine in by_held.items():
            for in_page, some in groupby(mine, key=stays):
                alike = list(some)
                for at in range(0, len(alike), part):
                    group = alike[at : at + part]
                    # sent with the first of the group, which is never settled after the others
                    group[0].follow_up = self._message(held, group, in_page)
            self._recorder.tasks(Event.GIVE_BACK, [job.task for job in mine])
            self._settler.add(mine, at_once=True)

    def _message(self, held: Held, jobs: Sequence[Job], in_page: bool) -> Message:
        return self._settler.message(
            [job.task for job in jobs],
            held.bundle,
            receives=held.receives - 1,
            given_back=True,
            own_rows=not in_page,
        )


def _share(spec: RunSpec) -> int:
    """Tasks that an even division of the run gives to each worker process."""
    return math.ceil(spec.tasks * spec.slots / spec.lanes)


def _parts(spec: RunSpec, part_s: float, task_s: float) -> int:
    """Tasks of one message, by how long each takes."""
    if task_s <= 0:
        return MOST_TASKS
    # half of a share is too much for nobody, and a thousand single answers are too much for the client
    least = min(_share(spec) / 2, abreast(spec.tasks, spec.slots, task_s))
    return max(1, min(MOST_TASKS, int(max(least, part_s / task_s))))
