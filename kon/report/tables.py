"""Result tables, drawn from rows alone: an experiment with several strategies or numbers of workers has
them side by side, any other run has a short one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import tabulate

Row = dict[str, Any]

STYLE: Final = "simple"
"""Of tabulate's table formats, the one for terminals."""

_ONE_LINE_HEADERS: Final = frozenset({"github", "pipe", "tsv", "html", "unsafehtml", "jira", "latex"})


def tables(rows: Sequence[Row], style: str = STYLE) -> str:
    """A table for each experiment in these rows, in their order, each with a line above it.

    Over repeats of a run, figures are medians, with the largest deviation from it; counts are sums,
    so that no median hides a lost task.
    """
    experiments: dict[str, list[Row]] = {}
    for row in rows:
        experiments.setdefault(row.get("experiment", ""), []).append(row)
    return "\n\n".join(table(each, style) for each in experiments.values())


def table(rows: Sequence[Row], style: str = STYLE) -> str:
    """The table of one experiment."""
    rows = with_labels(rows)
    cells: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row.get(key) for key in _CELL), []).append(row)
    groups = list(cells.values())
    if len(groups) > 1:
        columns = [*_IDENTITY, *_optional(_VARIES, groups), *_FIGURES, *_REPEATS, _LOST]
        if _TASKS in columns and _per_worker(rows):
            columns.remove(_TASKS)  # the line above the table says it
        columns += _optional(_ENDINGS, groups)
    else:
        columns = [_RUN if len(rows) == 1 else _STRATEGY, *_STATES, *_optional(_ENDINGS[2:], groups)]
        columns += [*_FIGURES, *_optional(_REPEATS, groups)]
    if all(_EFFICIENCY.of(row) is None for row in rows):
        columns.remove(_EFFICIENCY)
    body = [[column.show(group) for column in columns] for group in groups]
    headers = [column.header for column in columns]
    if style in _ONE_LINE_HEADERS:
        headers = [header.replace("\n", " ") for header in headers]
    align = ["left" if column.is_name else "right" for column in columns]
    return f"{_caption(rows, groups)}\n\n{draw(body, headers, align, style)}"


def with_labels(rows: Sequence[Row]) -> list[Row]:
    """The rows with a `label` each: the strategy's name, and where it stands there with other options too
    those that set it apart."""
    variants: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        variants.setdefault(row["strategy"], []).append(row.get("strategy_options", {}))
    labelled = []
    for row in rows:
        name, options = row["strategy"], row.get("strategy_options", {})
        apart = [f"{key}={options[key]}" for key in options if _tells_apart(key, options, variants[name])]
        labelled.append({**row, "label": " ".join([name, *apart])})
    return labelled


def _tells_apart(key: str, options: dict[str, Any], variants: Sequence[dict[str, Any]]) -> bool:
    return any(key not in each or each[key] != options[key] for each in variants)


def draw(
    body: Sequence[Sequence[str]], headers: Sequence[str], align: Sequence[str], style: str = STYLE
) -> str:
    """A table of texts; align: `left` or `right`, for each column."""
    # without this, tabulate makes each column two characters wider than its header
    padding, tabulate.MIN_PADDING = tabulate.MIN_PADDING, 0
    try:
        return tabulate.tabulate(body, headers, style, disable_numparse=True, colalign=align)
    finally:
        tabulate.MIN_PADDING = padding


class Column(NamedTuple):
    """header: with its unit. of: the value in a row. show: the cell of all repeats of a run."""

    header: str
    of: Callable[[Row], Any]
    show: Callable[[Sequence[Row]], str]
    is_name: bool = False


def _optional(columns: Sequence[Column], groups: Sequence[Sequence[Row]]) -> list[Column]:
    """Those that have something to say: a count that is not zero, a value that is not always the same."""
    said = []
    for column in columns:
        values = {column.of(row) for group in groups for row in group}
        if (len(values) > 1) if column in _VARIES else bool(values - {0, None}):
            said.append(column)
    return said


def _name(header: str, key: str) -> Column:
    return Column(header, lambda row: row.get(key), lambda rows: str(rows[0].get(key)), is_name=True)


def _number(header: str, key: str) -> Column:
    return Column(header, lambda row: row.get(key), lambda rows: f"{rows[0].get(key):,}")


def _count(header: str, key: str) -> Column:
    return Column(header, lambda row: row.get(key), lambda rows: f"{sum(row.get(key, 0) for row in rows):,}")


def _figure(header: str, key: str, factor: float = 1.0) -> Column:
    def of(row: Row) -> float | None:
        value = row.get(key)
        return None if value is None else value * factor

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


def _caption(rows: Sequence[Row], groups: Sequence[Sequence[Row]]) -> str:
    row = rows[0]
    words = [f"{row.get('experiment') or row['run']}: {_tasks(rows)} on {row['backend']}"]
    if row.get("clock") == "virtual":
        words.append("simulated, in virtual time")
    slots = row["slots"] * row.get("processes", 1)
    if slots > 1:
        words.append(f"{slots} tasks at once in a worker")
    repeats = max(len(group) for group in groups)
    if repeats > 1:
        words.append(f"median of {repeats} runs ± largest deviation, counts added up")
    return "; ".join(words)


def _tasks(rows: Sequence[Row]) -> str:
    kind = rows[0].get("kind", "task")
    counts = [row["tasks"] for row in rows]
    if min(counts) == max(counts):
        return f"{counts[0]:,} x {kind}"
    if _per_worker(rows):
        return f"{counts[0] // rows[0]['workers']:,} x {kind} for each worker"
    return f"{min(counts):,} to {max(counts):,} x {kind}"


def _per_worker(rows: Sequence[Row]) -> bool:
    """Whether the work grows with the number of workers."""
    first = rows[0]
    return all(row["tasks"] * first["workers"] == first["tasks"] * row["workers"] for row in rows)


_CELL: Final = ("backend", "label", "workers", "slots", "processes", "bundle", "prefetch", "kind")

_RUN: Final = _name("run", "run")
_STRATEGY: Final = _name("strategy", "label")
_IDENTITY: Final = (_STRATEGY, _number("workers", "workers"))
_TASKS: Final = _number("tasks", "tasks")
_VARIES: Final = (
    _name("backend", "backend"),
    _TASKS,
    _number("slots", "slots"),
    _number("bundle", "bundle"),
)
_EFFICIENCY: Final = _figure("efficiency\n(%)", "efficiency", 100.0)
_FIGURES: Final = (_figure("time\n(s)", "wall_s"), _figure("tasks/s", "tasks_per_s"), _EFFICIENCY)
_REPEATS: Final = (
    _count("duplicates\navoided", "duplicates_avoided"),
    _count("second\nstarts", "duplicate_starts"),
    _count("results\nkept twice", "duplicate_results"),
)
_LOST: Final = _count("lost", "lost")
_ENDINGS: Final = (_count("failed", "failed"), _count("dead", "dead"), _count("cancelled", "cancelled"))
_STATES: Final = (_count("tasks", "tasks"), _count("done", "done"), *_ENDINGS[:2], _LOST)
