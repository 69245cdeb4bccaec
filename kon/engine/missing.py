"""Tasks that nobody answers: what the client asks before it calls them lost.

A depth alone does not tell. SQS's is an estimate, which may be too low for a minute and longer; and a
message may be gone while its task still runs, where another worker got it, found the claim and acked it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.plugins import strategy_class
from kon.core.spec import RunSpec
from kon.core.strategy import Defer
from kon.core.task import CLIENT, LAST_ATTEMPT, Outcome, State
from kon.engine.control import Control
from kon.engine.holding import heartbeat_s
from kon.engine.layout import SegmentPages
from kon.engine.paged_ledger import in_pages

ANSWER_BEATS: Final = 2
"""How many heartbeats a worker has to answer the roll call: one may just have passed, and one may be late."""

LAST_ANSWERS_S: Final = 5.0
"""For the last commits and answers of workers that have drained, in seconds."""

_ANY_ROLL: Final = 1 << 62
"""A roll call that nobody has answered, so that whoever is not gone counts as silent."""


class Missing:
    """Judges tasks without an answer. All must be queued before the first look.

    settle_s: how long an empty queue must stay empty, at most, where its depth is an estimate.
    first_attempt: outcomes of earlier attempts do not count, but for those that are done.
    """

    def __init__(
        self,
        spec: RunSpec,
        channel: Channel,
        control: Control,
        clock: Clock,
        settle_s: float,
        first_attempt: int,
    ) -> None:
        self._channel = channel
        self._control = control
        self._first_attempt = first_attempt
        self._allowed = spec.attempts
        limits = channel.tasks.limits
        self._span_s = min(settle_s, limits.depth_lag_s) if limits.stale_depth else 0.0
        self._segments = SegmentPages() if spec.tasks_per_row is None else None
        ledger = in_pages(channel.ledger, spec, CLIENT, self._segments) or channel.ledger
        self._strategy = strategy_class(spec.strategy.name)(ledger, CLIENT, clock, **spec.strategy.options)
        beat_s = heartbeat_s(spec.visibility_s, self._strategy.lease_s)
        self._answer_s = ANSWER_BEATS * beat_s
        self._stop_s = beat_s + spec.drain_s + LAST_ANSWERS_S
        self._cancelled_s: float | None = None
        self._is_still = False
        self._quiet_since_s: float | None = None
        self._asked_s = 0.0
        self._roll = 0

    def forget(self) -> None:
        """Begin again: something has come."""
        self._quiet_since_s = None

    async def is_quiet(self) -> bool:
        """Whether no message was seen in any look of the whole span, and no live worker holds one.

        To be asked again and again, until it says so or `forget` is called.
        """
        if await self._sees_message():
            self.forget()
            return False
        now_s = asyncio.get_running_loop().time()
        if self._quiet_since_s is None:
            self._quiet_since_s = now_s
            await self._ask(now_s)
        roll = await self._control.roll(self._roll)
        if roll.holding:
            await self._ask(now_s)
            return False
        if roll.silent and now_s - self._asked_s < self._answer_s:
            return False
        return now_s - self._quiet_since_s >= self._span_s

    async def is_stopped(self) -> bool:
        """Whether no worker of a run that was cancelled can answer any more: what ran had time to end.

        To be asked again and again, after a look for answers each time.
        """
        now_s = asyncio.get_running_loop().time()
        if self._cancelled_s is None:
            self._cancelled_s = now_s
        if now_s - self._cancelled_s >= self._stop_s:
            return True
        # an answer that was sent before the last of them ended is looked for once more
        was_still, self._is_still = self._is_still, await self._are_still()
        return was_still and self._is_still

    async def _are_still(self) -> bool:
        """Whether no worker holds a message, as far as that can be known."""
        if not (await self._control.roll(_ANY_ROLL)).silent:
            return True
        tasks = self._channel.tasks
        return not tasks.limits.stale_depth and not (await tasks.depth()).in_flight

    async def read_back(self, indexes: Sequence[int]) -> list[Outcome | Defer | None]:
        """What the ledger has of these tasks: the outcome of each, a `Defer` while a claim holds, or None."""
        known: list[Outcome | Defer | None] = [None] * len(indexes)
        if self._strategy.uses_ledger:
            if self._segments is not None:
                for segment in await self._control.segments():
                    self._segments.add(segment)
            known = await self._strategy.recall(indexes, await self._attempts())
        return [None if isinstance(each, Outcome) and not self._counts(each) else each for each in known]

    async def _attempts(self) -> range:
        """The numbers that attempts may have, those of earlier rounds too. Each stop of a worker that was at
        the task has added one to those that are allowed."""
        stops = (await self._control.roll(_ANY_ROLL)).workers
        return range(1, min(self._first_attempt + self._allowed + stops, LAST_ATTEMPT + 1))

    async def _ask(self, now_s: float) -> None:
        self._roll = await self._control.call_roll()
        self._asked_s = now_s

    async def _sees_message(self) -> bool:
        """Whether a message is left that could yet account for a task. An answer is sent before its task's
        ack, so the queues are asked in this order. One that is hidden counts, by a delay or because the
        client that received it is no more."""
        channel = self._channel
        for queue in (channel.tasks, channel.answers, channel.dead):
            if (await queue.depth()).total:
                return True
        return False

    def _counts(self, outcome: Outcome) -> bool:
        return outcome.state is State.DONE or outcome.attempt >= self._first_attempt
