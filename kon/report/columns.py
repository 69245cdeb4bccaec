"""What a column of a result table is: its name, where its value is in a row, and how that is written.
`kon.report.tables` says which columns there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import tabulate

from kon.report.fit import Sheet, fitted

Row = dict[str, Any]
"""A row of the result table: `kon.report.summary` makes them."""

PLAIN: Final = "simple"
"""tabulate's format for terminals."""

_ONE_LINE_HEADERS: Final = frozenset({"github", "pipe", "tsv", "html", "unsafehtml", "jira"})


class Column(NamedTuple):
    """header: with its unit. of: the value in a row. show: the cell of all repeats of a run."""

    header: str
    of: Callable[[Row], Any]
    show: Callable[[Sequence[Row]], str]
    is_name: bool = False


def name(header: str, key: str) -> Column:
    return Column(header, lambda row: row.get(key), lambda rows: str(rows[0].get(key)), is_name=True)


def number(header: str, key: str) -> Column:
    """A number that the experiment gives, or the word `auto`."""
    return Column(header, lambda row: row.get(key), lambda rows: _number(rows[0].get(key)))


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def count(header: str, key: str) -> Column:
    """Repeats are added up, so that no median hides a lost task."""
    return Column(header, lambda row: row.get(key), lambda rows: f"{sum(row.get(key, 0) for row in rows):,}")


def figure(header: str, key: str, factor: float = 1.0) -> Column:
    """The median of repeats, with its spread."""
    return measured(header, scaled(key, factor))


def scaled(key: str, factor: float = 1.0) -> Callable[[Row], float | None]:
    """A value in the row, times a factor; None where it is unknown."""

    def of(row: Row) -> float | None:
        value = row.get(key)
        return None if value is None else value * factor

    return of


def measured(header: str, of: Callable[[Row], float | None]) -> Column:
    return Column(header, of, lambda rows: with_spread([of(row) for row in rows]))


def with_spread(values: Sequence[float | None]) -> str:
    """The median of the values that are known, and how far off the one farthest from it is."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    middle = median(known)
    if len(known) == 1:
        return rounded(middle)
    return f"{rounded(middle)} ±{rounded(max(abs(value - middle) for value in known), like=middle)}"


def rounded(value: float, like: float | None = None) -> str:
    """Three digits or so, and all before the point; `like`: as many decimals as that would have."""
    size = abs(value if like is None else like)
    for decimals, least in ((0, 99.95), (1, 9.995), (2, 0.0995), (3, 0.0)):
        if size >= least:
            return f"{value:,.{decimals}f}"
    return str(value)  # NaN, which no clock makes


def per(tasks: float, key: str) -> Callable[[Row], float | None]:
    """A sum over the whole run, for each `tasks` of its tasks."""

    def of(row: Row) -> float | None:
        value = row.get(key)
        return None if value is None else value * tasks / row["tasks"]

    return of


def draw(
    body: Sequence[Sequence[str]],
    headers: Sequence[str],
    align: Sequence[str],
    style: str = PLAIN,
    width: int | None = None,
) -> str:
    """A table of texts; align: `left` or `right`, for each column.

    width: columns of the terminal that a plain table has to fit; None for one that may be as wide as it is.
    """
    if width is not None and style == PLAIN and body:
        sheet = Sheet(list(headers), [list(row) for row in body], list(align))
        return fitted(sheet, width, lambda part: draw(part.body, part.headers, part.align))
    if style in _ONE_LINE_HEADERS or style.startswith("latex"):
        headers = [header.replace("\n", " ") for header in headers]
    # without this, tabulate makes each column two characters wider than its header
    padding, tabulate.MIN_PADDING = tabulate.MIN_PADDING, 0
    try:
        return tabulate.tabulate(body, headers, style, disable_numparse=True, colalign=align)
    finally:
        tabulate.MIN_PADDING = padding


def draw_columns(
    columns: Sequence[Column],
    groups: Sequence[Sequence[Row]],
    style: str = PLAIN,
    width: int | None = None,
) -> str:
    """A line for each group of repeats."""
    body = [[column.show(group) for column in columns] for group in groups]
    align = ["left" if column.is_name else "right" for column in columns]
    return draw(body, [column.header for column in columns], align, style, width)
