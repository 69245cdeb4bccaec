"""The tables of a page: cells with what they are sorted by."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from kon.report.columns import Column, Row, count, figure, name, number
from kon.report.gathered import Gathered
from kon.report.groups import by_values, repeats, with_labels
from kon.report.tables import caption, columns_of, hidden_differences


class TableCell(NamedTuple):
    """key: the number that it is sorted by; None for what is sorted as text, or is unknown."""

    text: str
    key: float | None
    is_name: bool


class HeadCell(NamedTuple):
    header: str
    is_name: bool


class Table(NamedTuple):
    caption: str
    columns: list[HeadCell]
    rows: list[list[TableCell]]
    notes: list[str]


def strategies(rows: Sequence[Row]) -> list[Table]:
    """For each experiment its strategies side by side, as `kon table` has them."""
    made = []
    for each in by_values(rows, "experiment").values():
        labelled = with_labels(each)
        groups = repeats(labelled)
        columns = columns_of(labelled, groups, wide=True)
        notes = list(hidden_differences(groups))
        made.append(_table(caption(labelled, groups), columns, groups, notes))
    return made


_IF_ANY = tuple(count(state, state) for state in ("failed", "dead", "lost", "cancelled"))
_EVERY = (
    name("run", "run"),
    name("state", "state"),
    number("workers", "workers"),
    number("tasks", "tasks"),
    count("done", "done"),
    *_IF_ANY,
    figure("time\n(s)", "wall_s"),
    figure("tasks/s", "tasks_per_s"),
    figure("p50\n(ms)", "latency_p50_s", 1e3),
    figure("p99\n(ms)", "latency_p99_s", 1e3),
    figure("efficiency\n(%)", "efficiency", 100.0),
    count("duplicates\navoided", "duplicates_avoided"),
    count("second\nstarts", "duplicate_starts"),
    count("results\nkept twice", "duplicate_results"),
    count("lives of\nworkers", "worker_lives"),
)


def every_run(runs: Sequence[Gathered]) -> Table:
    """A line for each run, of those too that go on."""
    rows = [{**each.row, "state": "finished" if each.folder.finished else "not finished"} for each in runs]
    columns = [each for each in _EVERY if each not in _IF_ANY or any(each.of(row) for row in rows)]
    return _table("Repeats one by one", columns, [[row] for row in rows], [])


def _table(title: str, columns: Sequence[Column], groups: Sequence[Sequence[Row]], notes: list[str]) -> Table:
    body = [
        [TableCell(column.show(group), _key(column, group), column.is_name) for column in columns]
        for group in groups
    ]
    return Table(title, [HeadCell(column.header, column.is_name) for column in columns], body, notes)


def _key(column: Column, group: Sequence[Row]) -> float | None:
    values: list[Any] = [column.of(row) for row in group]
    known = [value for value in values if isinstance(value, int | float)]
    return median(known) if known else None
