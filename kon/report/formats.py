"""Rows of the result table for other programs: every value that a row has, unrounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kon.report.columns import PLAIN, Row
from kon.report.tables import tables
from kon.report.views import Reference, by_length, by_minutes, further

DRAWN: Final = {"plain": PLAIN, "github": "github", "latex": "latex_booktabs"}
"""The formats of drawn tables, and tabulate's name for each."""

VIEWS: Final = ("auto", "strategies", "lengths", "minutes")


def drawn(
    groups: Mapping[str, Sequence[Row]],
    style: str = "plain",
    view: str = "auto",
    others: Sequence[Reference] = (),
    width: int | None = None,
) -> str:
    """Tables of these rows; style: one of `DRAWN`, view: one of `VIEWS`. others: to stand next to them.
    width: of the terminal that plain ones have to fit.

    groups: the rows of each folder. Strategies stand side by side within a folder, with its name above where
        there are several; tables by length and minutes are about all rows.
    """
    name = DRAWN[style]
    rows = [row for group in groups.values() for row in group]
    if view == "lengths":
        return by_length(rows, name, others, width)
    if view == "minutes":
        return by_minutes(rows, name, others, width)
    comment = "% " if style == "latex" else ""
    titles = {title: f"{comment}{title}:\n" if len(groups) > 1 else "" for title in groups}
    made = [f"{titles[title]}{tables(group, name, width)}" for title, group in groups.items()]
    return "\n\n".join(made + (further(rows, name, others, width) if view == "auto" else []))


def as_csv(rows: Sequence[Row]) -> str:
    """A line for each row, under a header with the names that `--json` uses; what is unknown is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "schema"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_cell(row.get(name)) for name in names] for row in rows])
    return text.getvalue()


def _cell(value: Any) -> Any:
    """As JSON, but for text, which stands as it is."""
    return value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
