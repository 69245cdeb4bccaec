"""How soon the search finds a break that is known to be there, in schedules."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

from kon.core.plugins import strategy_class
from kon.core.spec import Plugin
from kon.report.tables import draw
from kon.trials.prove.classes import ALL_FAULTS, fault_class
from kon.trials.prove.drawn import SCENARIO, by_seeds
from kon.trials.prove.playing import processes

KNOWN: Final = (
    "tests.trials.prove.mistakes:BlindTakeover",
    "tests.trials.prove.mistakes:NoTokenCompare",
    "tests.trials.prove.mistakes:UnconditionalCommit",
    "tests.trials.prove.ablations:NoCompareAtCommit",
    "tests.trials.prove.ablations:NoSkewBound",
    "tests.trials.prove.ablations:OwnResultForeign",
    "tests.trials.prove.ablations:SameTokenOnCommit",
    "tests.trials.prove.ablations:SameTokenOnRenewal",
    "tests.trials.prove.ablations:NoSecondTry",
)
"""Strategies with a safeguard taken out."""

LIMIT: Final = 200
"""Schedules that are played for one break, at the most."""

BEGINNINGS: Final = tuple(range(100_000, 115_000, 1_000))
"""The first seeds from which each break is looked for: others than those by which rates were chosen."""


class Soon(msgspec.Struct, frozen=True):
    """How many schedules it took until a promise broke, from each beginning; None where none of `LIMIT` did.

    known: the strategy. what: what is wrong with it.
    """

    known: str
    what: str
    by_seeds: list[int | None]


_Part = tuple[str, int]


def how_soon(jobs: int | None) -> list[Soon]:
    parts: list[_Part] = list(itertools.product(KNOWN, BEGINNINGS))
    with processes(_first_break, jobs) as run:
        found = dict(zip(parts, run(parts), strict=True))
    return [
        Soon(
            known,
            (strategy_class(known).__doc__ or "").strip().splitlines()[0].rstrip("."),
            [found[known, first] for first in BEGINNINGS],
        )
        for known in KNOWN
    ]


def _first_break(part: _Part) -> int | None:
    known, first = part
    tries = by_seeds(SCENARIO, Plugin(known), fault_class(ALL_FAULTS), range(first, first + LIMIT))
    for count, each in enumerate(tries, start=1):
        if each.played is None or each.played.broken:
            return count
    return None


def table(soon: Sequence[Soon]) -> str:
    body = [[each.what, _told(each.by_seeds)] for each in soon]
    if soon:
        mean = statistics.mean(_as_number(count) for each in soon for count in each.by_seeds)
        body.append(["all of them, on average", f"{mean:.0f}"])
    return draw(body, ["what is wrong", "schedules"], ["left", "right"], "github")


def _told(counts: Sequence[int | None]) -> str:
    """The one in the middle, and the span."""
    ordered = sorted(map(_as_number, counts))
    least, middle, most = ordered[0], statistics.median_low(ordered), ordered[-1]
    return f"{_count(middle)} ({_count(least)} to {_count(most)})"


def _as_number(count: int | None) -> int:
    """What was not found counts as one schedule more than were tried."""
    return LIMIT + 1 if count is None else count


def _count(count: int) -> str:
    return f"over {LIMIT}" if count > LIMIT else f"{count}"
