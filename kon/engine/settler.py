"""Settling: commit, then answer, then ack, in batches.

The order makes every crash repairable. Before the commit, the message comes again and the task runs
again or is judged by its claim. Between commit and answer, it comes again and is answered from the
ledger. Between answer and ack, it comes again and the client drops the repeated answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from kon.core.backend import Channel
from kon.core.queue import Message, Queue
from kon.core.spec import RunSpec
from kon.core.strategy import Strategy
from kon.core.task import MAX_ATTEMPTS, Bundle, Outcome, State, Task, encode
from kon.engine.holding import Held, Holding, Job
from kon.engine.packing import batches, chunks, pack_answers, without_repeats
from kon.engine.records.events import Event, Life, Named

SETTLE_BATCH: Final = 1_000
"""Outcomes that are settled at once; when that many wait, none waits for more."""

MOST_WAITING: Final = 4 * SETTLE_BATCH
"""Outcomes that wait before the worker stops taking more: the store is slower than the tasks."""

_DONE: Final = State.DONE  # Python 3.11 takes longer to find a member in its class than to compare it


class Settler:
    """Gathers what has ended for up to `flush_s`, or less when nothing else is going on, and settles it."""

    def __init__(
        self,
        life: Life,
        spec: RunSpec,
        channel: Channel,
        strategy: Strategy,
        holding: Holding,
        on_room: Callable[[], None],
    ) -> None:
        self._on_room = on_room
        self._worker = life.name
        self._spec = spec
        self._channel = channel
        self._strategy = strategy
        self._holding = holding
        self._recorder = life.recorder
        self._rng = life.rng
        self._ended: list[Job] = []
        self._settling = 0
        self._some = asyncio.Event()
        self._at_once = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> int:
        """Outcomes that are not answered and acked yet."""
        return len(self._ended) + self._settling

    @property
    def has_room(self) -> bool:
        return len(self._ended) < MOST_WAITING

    def add(self, jobs: Sequence[Job], at_once: bool) -> None:
        """Settle these. `at_once` when nothing is running that could soon join them."""
        self._empty.clear()
        self._some.set()
        self._ended.extend(jobs)
        if at_once or len(self._ended) >= SETTLE_BATCH:
            self._at_once.set()

    def hurry(self) -> None:
        """Settle at once what was added: nothing is coming that could join it."""
        if self._ended:
            self._at_once.set()

    async def drained(self) -> None:
        """Return when all that was added is settled."""
        self._at_once.set()
        await self._empty.wait()

    async def run(self) -> None:
        now_s = asyncio.get_running_loop().time
        while True:
            await self._some.wait()
            if not self._at_once.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._spec.flush_s):
                        await self._at_once.wait()
            had_room = self.has_room
            jobs, self._ended = self._ended[:SETTLE_BATCH], self._ended[SETTLE_BATCH:]
            if self.has_room and not had_room:
                self._on_room()
            if len(self._ended) < SETTLE_BATCH:
                self._at_once.clear()
            if not self._ended:
                self._some.clear()
            began_s, self._settling = now_s(), len(jobs)
            await self._settle_all(jobs)
            self._settling = 0
            self._recorder.settled(len(jobs), now_s() - began_s)
            if not self._ended:
                self._empty.set()

    async def _settle_all(self, jobs: Sequence[Job]) -> None:
        named = Named([job.task for job in jobs])
        if not named.repeated:
            await self._settle(jobs, named)
            return
        for batch in without_repeats(jobs, lambda job: job.task.index):
            await self._settle(batch, Named([job.task for job in batch]))

    async def _settle(self, jobs: Sequence[Job], named: Named) -> None:
        answers = await self._commit(jobs, named)
        self._recorder.flush()
        messages = pack_answers(self._worker, answers, self._channel.answers.limits.max_bytes)
        await self._send(self._channel.answers, messages)
        self._recorder.tasks(Event.ANSWER, named if len(answers) == len(jobs) else answers)
        follow_ups = [job.follow_up for job in jobs if job.follow_up is not None]
        await self._send(self._channel.tasks, follow_ups)
        await self._ack(self._holding.settle(jobs), jobs, named)
        self._recorder.flush()

    async def _commit(self, jobs: Sequence[Job], named: Named) -> list[Outcome]:
        """Commit what ran here; the outcomes that are to be answered, those known already among them."""
        ran = [job for job in jobs if job.runs]
        known = [job.outcome for job in jobs if not job.runs] if len(ran) < len(jobs) else []
        answers = [outcome for outcome in known if outcome is not None]
        if not ran:
            return answers
        outcomes = [job.outcome for job in ran if job.outcome is not None]
        stands = await self._strategy.commit([job.claim for job in ran], outcomes)
        not_done = [each for each in outcomes if each.state is not _DONE]
        if stands == outcomes and not any(each.state is State.RETRY for each in not_done):
            if not_done:
                self._recorder.failed(not_done)
            self._recorder.tasks(Event.KEEP, named if len(ran) == len(jobs) else outcomes)
            return answers + outcomes
        return answers + self._judge(ran, outcomes, stands)

    def _judge(
        self, ran: Sequence[Job], outcomes: Sequence[Outcome], stands: Sequence[Outcome | None]
    ) -> list[Outcome]:
        answers: list[Outcome] = []
        kept: list[Outcome] = []
        refused: list[Outcome] = []
        again: list[Outcome] = []
        for job, outcome, standing in zip(ran, outcomes, stands, strict=True):
            if standing is None:
                job.held.abandoned = True
                refused.append(outcome)
            elif standing.state is State.RETRY:
                job.follow_up = self._retry(job, outcome)
                again.append(outcome)
            else:
                (kept if standing is outcome else refused).append(outcome)
                answers.append(standing)
        if failed := [outcome for outcome in kept if outcome.state is State.FAILED]:
            self._recorder.failed(failed)
        self._recorder.tasks(Event.KEEP, kept)
        self._recorder.tasks(Event.REFUSE, refused)
        for outcome in again:
            self._recorder.tasks(Event.RETRY, [outcome], error=outcome.error)
        return answers

    def _retry(self, job: Job, outcome: Outcome) -> Message:
        failed = min(max(1, outcome.attempt - job.held.bundle.stops), MAX_ATTEMPTS)
        pause_s = self._spec.backoff_s * 2.0 ** (failed - 1) * self._rng.uniform(0.5, 1.0)
        again = Task(job.task.index, job.task.body, outcome.attempt + 1)
        return self.message([again], job.held.bundle, delay_s=pause_s)

    def message(
        self,
        tasks: list[Task],
        replaces: Bundle,
        *,
        receives: int = 0,
        delay_s: float = 0.0,
        stopped: bool = False,
        given_back: bool = False,
        own_rows: bool = False,
    ) -> Message:
        """Make a message that takes the place of one that was received, or of a part of it.

        stopped: the tasks were running. given_back: they had not started. own_rows: their rows have moved
        out of the page that the other message names.
        """
        limit_s = self._channel.tasks.limits.max_delay_s
        bundle = Bundle(
            self._spec.run,
            tasks,
            receives,
            stops=replaces.stops + stopped,
            segment=None if own_rows else replaces.segment,
            moves=replaces.moves + given_back,
        )
        return Message(encode(bundle), min(delay_s, limit_s))

    async def give_back(self, jobs: Sequence[Job], started: bool) -> None:
        """Queue again the tasks of jobs that have no outcome, as this worker was told to stop.

        They go out in new messages, and the old ones are acked: to make an old one visible would count a
        receipt, and a task whose worker was stopped often enough would end as dead. One that was started
        gets another attempt, since some strategies never start an attempt twice; that attempt is free. So
        does one whose claim may be read once more after its release.
        """
        if not jobs:
            return
        for job in jobs:
            job.runs = False  # nobody is to renew its claim
        if not started or not self._strategy.guarantee.one_start:
            # where no attempt may start twice, the claim on this one stays, lest a repeat of its message run
            async with self._holding.claims:
                await self._strategy.release([job.claim for job in jobs if job.is_claimed])
        messages = []
        stays = not started and self._strategy.forgets_at_once
        for held in dict.fromkeys(job.held for job in jobs):
            mine = [job for job in jobs if job.held is held]
            same = [job.task for job in mine if stays or not job.is_claimed]
            other = [job.task for job in mine if not stays and job.is_claimed]
            next_ones = [Task(task.index, task.body, task.attempt + 1) for task in other]
            receives = held.receives - 1
            if same:
                messages.append(self.message(same, held.bundle, receives=receives, given_back=True))
            if next_ones:
                messages.append(self.message(next_ones, held.bundle, receives=receives, stopped=True))
        await self._send(self._channel.tasks, messages)
        self._recorder.tasks(Event.STOP if started else Event.GIVE_BACK, [job.task for job in jobs])
        await self._ack(self._holding.settle(jobs), jobs, Named([job.task for job in jobs]))

    async def _send(self, queue: Queue, messages: Sequence[Message]) -> None:
        for batch in batches(messages, queue.limits):
            await queue.send(batch)

    async def _ack(self, ended: Sequence[Held], jobs: Sequence[Job], named: Named) -> None:
        """Delete the messages whose last task this was."""
        queue, stale = self._channel.tasks, 0
        acked = [held for held in ended if not held.abandoned]
        for batch in chunks(acked, queue.limits.max_batch):
            stale += (await queue.ack([held.delivery for held in batch])).count(False)
        whole = len(acked) == len(ended) and not any(job.held.open for job in jobs)
        if whole and sum(len(held.jobs) for held in acked) == len(jobs):
            self._recorder.tasks(Event.ACK, named, stale=stale)
        else:
            self._recorder.tasks(Event.ACK, [job.task for held in acked for job in held.jobs], stale=stale)
        for held in ended:
            held.forget()
