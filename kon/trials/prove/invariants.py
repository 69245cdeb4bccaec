"""What must never happen, by name."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from kon.core.strategy import Strategy


class Invariant(enum.StrEnum):
    """What a strategy may promise, and what kon promises whatever the strategy; see `MEANING`."""

    NOTHING_LOST = "nothing lost"
    LOST_BY_OUTAGE = "lost by outage only"
    ONE_START = "one start"
    ONE_START_WHILE_HELD = "one start while held"
    ONE_RESULT = "one result"
    FENCED = "fenced"
    DRAINS = "drains"
    TRUE_COUNTS = "true counts"


MEANING: Final[Mapping[Invariant, str]] = {
    Invariant.NOTHING_LOST: "every task ends as done, failed or dead",
    Invariant.LOST_BY_OUTAGE: "no task is lost unless a host that saw it crashed, stood still or was cut off",
    Invariant.ONE_START: "no attempt at a task is started twice",
    Invariant.ONE_START_WHILE_HELD: "no task is started while another's claim, once begun, is in force",
    Invariant.ONE_RESULT: "no two different results of one task are kept or answered",
    Invariant.FENCED: "no commit stands of a claim that another has taken over",
    Invariant.DRAINS: "all are accounted for, the queue is empty and the workers stop, in bounded time",
    Invariant.TRUE_COUNTS: "what is recorded and counted is what happened",
}


class Break(msgspec.Struct, frozen=True):
    """An invariant that did not hold: when, in virtual seconds, for which task, and how."""

    invariant: Invariant
    at_s: float
    task: int | None
    how: str


def promised(strategy: Strategy) -> frozenset[Invariant]:
    """What must hold under this strategy, in every schedule."""
    guarantee = strategy.guarantee
    given = {
        Invariant.NOTHING_LOST: guarantee.nothing_lost,
        Invariant.LOST_BY_OUTAGE: True,
        Invariant.ONE_START: guarantee.one_start,
        Invariant.ONE_START_WHILE_HELD: guarantee.one_start_while_held,
        Invariant.ONE_RESULT: guarantee.one_result,
        # where a claim is never granted twice, none is ever taken over
        Invariant.FENCED: strategy.lease_s is not None or guarantee.one_start,
        Invariant.DRAINS: True,
        Invariant.TRUE_COUNTS: True,
    }
    return frozenset(invariant for invariant, promise in given.items() if promise)
