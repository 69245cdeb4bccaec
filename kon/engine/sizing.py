"""Sizing: how many tasks go into the next message, by what is left and by how long tasks take.

A message of many short tasks saves calls, and a message of few long ones lets workers share the work evenly.
The size follows guided self-scheduling: a share of what is left, within bounds of work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from kon.core.spec import RunSpec
from kon.core.task import Outcome

MOST_TASKS: Final = 100
"""Tasks of a message: with more, the calls for messages are no longer what a task costs."""

ROUNDS: Final = 8
"""Messages that each worker process would get of what is left: the last ones end at about the same time."""

MOST_WORK_S: Final = 1.0
"""Work in a message, in seconds of a worker process, at most. It is reckoned with the root mean square of
the durations, so that a few long tasks among many short ones make messages smaller."""

LEAST_WORK_S: Final = 0.02
"""No message is made smaller than this for balance alone: fetching one takes as long. Nor is one made larger
for that than an even share of what is left, where messages are sized many at a time: some workers would
have two and others none, by a mean that leaves out all tasks that still run."""

MESSAGE_S: Final = 0.0003
"""What a message takes of the client's own time, about, to be sent and to be answered. A thousand workers get
no sooner done with messages that the client takes longer to send than a worker to run one of them."""

BLIND_S: Final = 0.001
"""How long a task is thought to take where nobody knows yet. Too short is the cheaper mistake: a worker gives
back what it holds beyond its share."""

SIZES: Final = (100, 50, 25, 12, 6, 3, 2, 1)
"""Sizes of messages: few, so that neighbouring messages are alike."""

ROUNDING: Final = 1.1
"""A size may be this many times what was reckoned: tasks of 10 ms are measured to take 10.1 ms."""

FEW_EACH: Final = 2.0
"""Tasks for each worker of the half that is spread while nothing is known. Where there are no more, a page
saves hardly a call, and with long tasks costs a write for each that is moved out of it."""

MOST_SINGLY_S: Final = 0.1
"""How long sending a run one by one may take, where each task has a slot of its own. Tasks that were sent
after a first answer would start later by the length of one."""

BLIND_SPREAD: Final = 3.0
"""Root mean square over mean of durations whose mean alone is known: as if a few in a hundred
took ten times as long as the others."""

MEMORY: Final = 256
"""Outcomes that are remembered: durations may change in the course of a run."""

SAMPLED: Final = 16
"""Outcomes of a packet that are looked at, at most."""

FIRST_WINDOW: Final = 300
"""Tasks that are sized together at first, and twice as many each time: what is learned must come in time."""

LAST_WINDOW: Final = 5_000
"""Tasks that are sized together, at most, and whose submission is noted once."""

LARGE_SIZE: Final = 25
LONGEST_WINDOW: Final = 20_000
"""As many in messages of `LARGE_SIZE` and more: the note would take as long as the sends."""

FORCED_MESSAGES: Final = 3
"""Messages that are sized together where sizes are forced."""

WINDOW_BYTES: Final = 32 << 20
"""Bytes of tasks that are sized together, about: the client keeps them in memory."""

BYTES_SHARE: Final = 0.5
"""The share of a message's room that tasks of the usual size may take: others are larger."""


def abreast(left: int, slots: int, mean_s: float) -> float:
    """Tasks of a message that takes a worker process as long as the client takes for all messages.

    Tasks count as `BLIND_S` at least: what ends first is shorter than what still runs.
    """
    return math.sqrt(left * MESSAGE_S * slots / max(mean_s, BLIND_S))


class Sizing:
    """Sizes of a run's messages.

    forced: sizes to be used in turn instead, for trials.
    following: tasks that would come after the run's, where it is the beginning of a larger one.
    """

    def __init__(self, spec: RunSpec, forced: Sequence[int] = (), following: int = 0) -> None:
        self._fixed = spec.bundle
        self._following = following
        self._forced = forced
        self._turn = 0
        self._slots = spec.slots
        self._processes = spec.workers * spec.processes
        self._rows_cost = spec.tasks_per_row is None
        self._known = 0  # outcomes
        self._mean_s: float | None = None
        self._square = 0.0  # the mean of squares
        if spec.ideal_s is not None:
            self._mean_s = spec.ideal_s / max(1, spec.tasks)
            self._square = (BLIND_SPREAD * self._mean_s) ** 2
        self._window = FIRST_WINDOW
        self._spread = False  # the first tasks, of which nobody knows how long they take
        self._task_bytes = 1.0

    @property
    def is_blind(self) -> bool:
        """Whether rows cost money and nobody knows how long tasks take. Then a message of many tasks may be a
        mistake that costs more."""
        return self._fixed is None and not self._forced and self._rows_cost and self._mean_s is None

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Note how long tasks took."""
        some = outcomes[:: max(1, len(outcomes) // SAMPLED)]
        if not some or self._fixed is not None:
            return
        took = [max(0.0, each.ended_s - each.started_s) for each in some]
        mean_s, square = sum(took) / len(took), sum([each * each for each in took]) / len(took)
        if self._mean_s is None:
            self._mean_s, self._square = mean_s, square
        else:
            weight = len(some) / (len(some) + min(self._known, MEMORY))
            self._mean_s += (mean_s - self._mean_s) * weight
            self._square += (square - self._square) * weight
        self._known += len(some)

    def fit(self, size: int, task_bytes: float, max_bytes: int) -> int:
        """This size, or a smaller one where tasks of that many bytes would fill a message of `max_bytes`."""
        self._task_bytes = max(1.0, task_bytes)
        if self._fixed is not None:
            return size
        return max(1, min(size, int(BYTES_SHARE * max_bytes / self._task_bytes)))

    def size(self, left: int) -> int:
        """Tasks of the next message. left: tasks that are not in a message yet."""
        if self._fixed is not None:
            return self._fixed
        if self._forced:
            self._turn += 1
            return self._forced[self._turn % len(self._forced)]
        following = left + self._following
        guided = math.ceil(following / (ROUNDS * self._processes))
        if self._mean_s is None:
            if self.is_blind and not self._spread:
                return self._first_size(left)
            most: float = 1 if self._rows_cost else guided
        elif self._mean_s > 0:
            share = following / self._processes if self._rows_cost else math.inf
            least = max(
                min(share, LEAST_WORK_S / self._mean_s * self._slots),
                abreast(following, self._slots, self._mean_s),
            )
            most = min(max(guided, least), MOST_WORK_S * self._slots / math.sqrt(self._square))
            if most == share:
                return min(math.ceil(share), MOST_TASKS)
        else:
            most = MOST_TASKS
        return next((each for each in SIZES if each <= ROUNDING * most), 1)

    def _first_size(self, left: int) -> int:
        """Tasks of a message while nothing is known: half of all is spread over all workers."""
        half = math.ceil((left + self._following) / 2)
        are_few = half <= FEW_EACH * self._processes and half * MESSAGE_S <= LEAST_WORK_S
        if are_few or self._each_has_a_slot(left):
            return 1
        each = max(half / self._processes, abreast(half, self._slots, BLIND_S))
        return max(1, min(math.ceil(each), half, MOST_TASKS))

    def _each_has_a_slot(self, left: int) -> bool:
        tasks = left + self._following
        return tasks <= self._processes * self._slots and tasks * MESSAGE_S <= MOST_SINGLY_S

    def span(self, left: int, size: int) -> int:
        """How many tasks come next in messages of this size: more each time, as more is known, and fewer
        towards the end, where messages shrink."""
        if self._forced:
            return min(left, FORCED_MESSAGES * size)
        left = min(left, max(1, int(WINDOW_BYTES / self._task_bytes)))
        if self._fixed is not None:
            return min(left, LAST_WINDOW)
        if self.is_blind and not self._spread:
            self._spread = True
            if self._each_has_a_slot(left):
                return left
            return min(math.ceil(left / 2), self._processes * size)
        most = LAST_WINDOW if size < LARGE_SIZE else LONGEST_WINDOW
        # after the spread each worker gets a message; others learn first
        span = max(self._window, min(self._processes * size, most)) if self._spread else self._window
        self._window = min(2 * span, most)
        if left > span and self.size(left - span) < size:
            span = min(span, max(left - ROUNDS * self._processes * size, math.ceil(left / 2)))
        return min(left, span)
