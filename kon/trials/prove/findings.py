"""Findings of a search, put together by strategy and invariant."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kon.trials.prove.classes import ALL_FAULTS
from kon.trials.prove.invariants import Invariant
from kon.trials.prove.search import Searched


class Broken(msgspec.Struct, frozen=True):
    """One invariant of one strategy, over all classes of faults.

    schedules: how many were tried. breaks: by class of faults, how many of them broke it.
    """

    invariant: Invariant
    promised: bool
    schedules: int
    breaks: dict[str, int]


def by_strategy(searched: Sequence[Searched]) -> dict[str, list[Searched]]:
    """The cells of each strategy, by its label, in the order of the search."""
    found: dict[str, list[Searched]] = {}
    for each in searched:
        found.setdefault(each.strategy.label, []).append(each)
    return found


def summed_up(rows: Sequence[Searched]) -> list[Broken]:
    """What became of each invariant of one strategy."""
    schedules = sum(row.schedules for row in rows)
    return [
        Broken(
            finding.invariant,
            finding.promised,
            schedules,
            {row.fault: row.findings[at].broken for row in rows if row.findings[at].broken},
        )
        for at, finding in enumerate(rows[0].findings)
    ]


def most_telling(rows: Sequence[Searched], invariant: Invariant) -> list[Searched]:
    """The cells that broke the invariant, the ones whose counter-example is worth most a look first: those
    with a single fault, and among them those that broke it most often."""

    def rank(row: Searched) -> tuple[bool, float]:
        broken = next(each.broken for each in row.findings if each.invariant is invariant)
        return row.fault != ALL_FAULTS, broken / row.schedules

    breaking = [row for row in rows if any(f.invariant is invariant and f.broken for f in row.findings)]
    return sorted(breaking, key=rank, reverse=True)
