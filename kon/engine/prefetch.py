"""Prefetch: how much a worker takes from the queue, and how much of that it claims.

A worker holds some tenths of a second of work ahead of its slots: enough to hide a round trip, little enough
that at the end of a run no worker sits on what an idle one could do.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from kon.core.queue import QueueLimits
from kon.core.spec import RunSpec
from kon.engine.executor import Executor
from kon.engine.sizing import ROUNDS, Sizing

HORIZON_S: Final = 0.2
"""How much work a worker holds ahead of its slots, in seconds."""

PAID_HORIZON_S: Final = 0.08
"""How much work is claimed ahead where each claim is paid for, in seconds. A task that is given back has cost
two writes, and costs another where it goes."""

ROUND_TRIPS: Final = 4.0
"""Round trips that the work ahead has to last for, at least."""

MOST_AHEAD: Final = 1_000
"""Tasks ahead of the slots, at most."""


class Prefetch:
    """Reckons in tasks, by how long they take and how long the queue takes to bring them."""

    def __init__(self, spec: RunSpec, limits: QueueLimits, executor: Executor) -> None:
        self._spec = spec
        self._limits = limits
        self._executor = executor
        self._fetch_s = 0.0  # how long receive and claim take, lately
        self._gave_back_s = -math.inf  # the last start before tasks were given back
        self._per_message = float(Sizing(spec).size(spec.tasks))
        # of 60 tasks of 2 ms, all within the horizon, one of two workers would take all
        self._share = min(MOST_AHEAD, math.ceil(spec.tasks / (ROUNDS * spec.workers * spec.processes)))

    @property
    def horizon_s(self) -> float:
        """How many seconds of work are held ahead."""
        return max(HORIZON_S, ROUND_TRIPS * self._fetch_s)

    def tasks_wanted(self, here: bool, paid: bool = False) -> int:
        """How many more tasks should be claimed; none until half of those ahead are used up, so that tasks
        are claimed in batches.

        here: whether they have been received: then no other worker could do them, and one claim is cheaper.
        paid: whether the claim of each is paid for.
        """
        executor, ahead = self._executor, self._ahead(here, paid)
        # jobs that a free slot is about to take do not wait: 10 of 32 slots filled leave 22 to be filled
        free = self._spec.slots - executor.waiting - executor.running
        return 0 if -free > ahead // 2 else max(0, free + ahead)

    def messages_wanted(self, tasks: int) -> int:
        """How many messages to receive for that many tasks."""
        executor = self._executor
        free = self._spec.slots - executor.waiting - executor.running
        wanted = min(math.ceil(tasks / self._per_message), self._limits.max_batch)
        whole = wanted - wanted % self._limits.call_batch
        # a request for the odd rest alone is made only where a slot would stay free without it
        return whole if whole and whole * self._per_message >= free else wanted

    def received(self, tasks: int, messages: int) -> None:
        """Note how many tasks came in how many messages."""
        if self._spec.bundle is None:
            self._per_message += 0.5 * (max(1.0, tasks / messages) - self._per_message)

    def fetched(self, took_s: float) -> None:
        """Note how long a receive and a claim have taken. Not for a long poll, which waits for messages."""
        self._fetch_s += 0.2 * (took_s - self._fetch_s)

    def gave_back(self) -> None:
        """Hold nothing ahead before another task starts: it would be given back as well, again and again."""
        self._gave_back_s = self._executor.last_start_s

    def _ahead(self, here: bool, paid: bool) -> int:
        """How many tasks to hold ahead of the slots."""
        spec, mean_s = self._spec, self._executor.mean_s
        if mean_s is None:
            return 0  # nothing is known yet: fill the slots and see
        if spec.prefetch is None:
            most = MOST_AHEAD if here else self._share
        else:
            most = math.ceil(spec.prefetch * self._per_message)
        if mean_s > 0:
            ahead = self.horizon_s * spec.slots / mean_s
            if paid:
                few = max(PAID_HORIZON_S, ROUND_TRIPS * self._fetch_s) * spec.slots / mean_s
                ahead = min(ahead, max(few, spec.slots))  # one for each slot hides a round trip
            most = min(most, int(ahead))
        if self._executor.running >= spec.slots:
            last_s = self._executor.last_start_s
            if last_s == self._gave_back_s:
                return 0
            if spec.prefetch is None and asyncio.get_running_loop().time() - last_s > self.horizon_s:
                return 0  # the tasks that run now take longer than those before
        return most
