"""Findings of a search: put together by strategy and invariant, and drawn as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kon.report.tables import draw
from kon.trials.prove.classes import ALL_FAULTS
from kon.trials.prove.scenario import Invariant
from kon.trials.prove.search import Finding, Searched


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


LEGEND: Final = (
    "held: promised, and not broken. broke 3: not promised, and broken in 3 of the schedules. "
    "-: not promised, and not broken. BROKE 3: promised, and broken all the same."
)


def findings_tables(searched: Sequence[Searched], width: int | None = None) -> str:
    """A table for each strategy, with its name above, in the order of the search. width: to be fitted."""
    cells = by_strategy(searched).items()
    return "\n\n".join(f"{label}\n\n{findings_table(rows, width)}" for label, rows in cells)


def findings_table(rows: Sequence[Searched], width: int | None = None) -> str:
    """The table of one strategy: a line for each class of faults.

    "with a fault" counts the schedules in which one really fired; the others tell nothing of it.
    """
    invariants = [finding.invariant for finding in rows[0].findings]
    named = ["fault", "schedules", "with a fault", *(each.value for each in invariants)]
    headers = [header.replace(" ", "\n") for header in named]
    body = [
        [row.fault, f"{row.schedules:,}", f"{row.faulty:,}", *(_cell(found, row) for found in row.findings)]
        for row in rows
    ]
    align = ["left", "right", "right", *("left" for _ in invariants)]
    return draw(body, headers, align, width=width)


def _cell(finding: Finding, row: Searched) -> str:
    if row.raised is not None and not finding.broken:
        return "raises"
    if finding.promised:
        return f"BROKE {finding.broken:,}" if finding.broken else "held"
    return f"broke {finding.broken:,}" if finding.broken else "-"
