"""The table of a search: strategy by strategy, what held and what broke under each class of faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kon.report.tables import STYLE, draw
from kon.trials.prove.invariants import Invariant
from kon.trials.prove.search import Finding, Searched

LEGEND: Final = (
    "held: promised, and not broken. broke 3: not promised, and broken in 3 of the schedules. "
    "-: not promised, and not broken. BROKE 3: promised, and broken all the same."
)


def findings_tables(searched: Sequence[Searched], style: str = STYLE, width: int | None = None) -> str:
    """A table for each strategy, with its name above, in the order of the search. width: to be fitted."""
    by_label: dict[str, list[Searched]] = {}
    for each in searched:
        by_label.setdefault(each.strategy.label, []).append(each)
    return "\n\n".join(f"{label}\n\n{findings_table(rows, style, width)}" for label, rows in by_label.items())


def findings_table(rows: Sequence[Searched], style: str = STYLE, width: int | None = None) -> str:
    """The table of one strategy: a line for each class of faults.

    "with a fault" counts the schedules in which one really fired; the others tell nothing of it.
    """
    invariants = [finding.invariant for finding in rows[0].findings]
    headers = ["fault", "schedules", "with a fault", *map(_header, invariants)]
    if style == STYLE:
        headers = [header.replace(" ", "\n") for header in headers]
    body = [
        [row.fault, f"{row.schedules:,}", f"{row.faulty:,}", *(_cell(found, row) for found in row.findings)]
        for row in rows
    ]
    align = ["left", "right", "right", *("left" for _ in invariants)]
    return draw(body, headers, align, style, width)


def _header(invariant: Invariant) -> str:
    return invariant.value


def _cell(finding: Finding, row: Searched) -> str:
    if row.raised is not None and not finding.broken:
        return "raises"
    if finding.promised:
        return f"BROKE {finding.broken:,}" if finding.broken else "held"
    return f"broke {finding.broken:,}" if finding.broken else "-"
