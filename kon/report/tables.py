"""Result tables, drawn from rows alone: an experiment with several strategies or numbers of workers has
them side by side, any other run has a short one. `kon.report.views` has tables of other shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from kon.core.errors import counted
from kon.report.columns import (
    PLAIN,
    Column,
    Row,
    count,
    draw,
    draw_columns,
    figure,
    measured,
    name,
    number,
    per,
    rounded,
    with_spread,
)
from kon.report.fit import wrapped
from kon.report.groups import SpreadVerdict, by_values, per_worker, repeats, verdict, with_labels

__all__ = ["STYLE", "draw", "rounded", "table", "tables", "with_labels", "with_spread"]

STYLE: Final = PLAIN


def tables(rows: Sequence[Row], style: str = PLAIN, width: int | None = None) -> str:
    """A table for each experiment in these rows, in their order, each with a line above it.

    Over repeats of a run, figures are medians, with the largest deviation from it; counts are sums,
    so that no median hides a lost task. Where that spread hides which strategy is faster, lines below say so.
    """
    return "\n\n".join(table(each, style, width) for each in by_values(rows, "experiment").values())


def table(rows: Sequence[Row], style: str = PLAIN, width: int | None = None) -> str:
    """The table of one experiment. width: of the terminal that it has to fit."""
    rows = with_labels(rows)
    groups = repeats(rows)
    drawn = draw_columns(columns_of(rows, groups, wide=style != PLAIN), groups, style, width)
    return around(drawn, caption(rows, groups), list(hidden_differences(groups)), style, width)


def around(drawn: str, above: str, below: Sequence[str], style: str, width: int | None = None) -> str:
    """A table with the lines above and below it; in LaTeX they are comments."""
    if style.startswith("latex"):
        lines = [f"% {line}" for line in below]
        return "\n".join([f"% {above}", drawn, *lines])
    lines = [wrapped(line, width) for line in below]
    return "\n\n".join([wrapped(above, width), drawn, *(["\n".join(lines)] if lines else [])])


_RUN: Final = name("run", "run")
_STRATEGY: Final = name("strategy", "label")
_IDENTITY: Final = (_STRATEGY, number("workers", "workers"))
_TASKS: Final = number("tasks", "tasks")
_VARIES: Final = (
    name("backend", "backend"),
    _TASKS,
    number("slots", "slots"),
    number("bundle", "bundle"),
)
_P99: Final = figure("p99\n(ms)", "latency_p99_s", 1e3)
_EFFICIENCY: Final = figure("efficiency\n(%)", "efficiency", 100.0)
_P50: Final = figure("p50\n(ms)", "latency_p50_s", 1e3)
_FIGURES: Final = (figure("time\n(s)", "wall_s"), figure("tasks/s", "tasks_per_s"), _EFFICIENCY, _P50, _P99)
_REQUESTS: Final = figure("requests\nper million", "requests_per_task", 1e6)
_USD: Final = measured("$ per\nmillion", per(1e6, "usd"))
_CPU: Final = measured("CPU s\nper task", per(1.0, "task_cpu_s"))
_MEMORY: Final = figure("memory\n(MB)", "task_peak_bytes", 1e-6)
_MAY_BE_UNKNOWN: Final = (_EFFICIENCY, _P50, _P99)
_REPEATS: Final = (
    count("duplicates\navoided", "duplicates_avoided"),
    count("second\nstarts", "duplicate_starts"),
    count("results\nkept\ntwice", "duplicate_results"),
)
_LOST: Final = count("lost", "lost")
_ENDINGS: Final = (count("failed", "failed"), count("dead", "dead"), count("cancelled", "cancelled"))
_STATES: Final = (count("tasks", "tasks"), count("done", "done"), *_ENDINGS[:2], _LOST)


def columns_of(rows: Sequence[Row], groups: Sequence[Sequence[Row]], *, wide: bool = False) -> list[Column]:
    """The columns that have something to say; `wide`: those too that a terminal may have no room for."""
    if len(groups) > 1:
        columns = [*_IDENTITY, *_optional(_VARIES, groups), *_FIGURES, *_REPEATS, _LOST]
        if _TASKS in columns and per_worker(rows):
            columns.remove(_TASKS)  # the line above the table says it
        columns += _optional(_ENDINGS, groups)
    else:
        columns = [_RUN if len(rows) == 1 else _STRATEGY, *_STATES, *_optional(_ENDINGS[2:], groups)]
        columns += [*_FIGURES, *_optional(_REPEATS, groups)]
    at = columns.index(_P99) + 1
    paid = any(_USD.of(row) for row in rows)
    found = [(column, _is_known(column, rows)) for column in (_CPU, _MEMORY)]
    found += [(_REQUESTS, wide or paid), (_USD, paid)]
    columns[at:at] = [each for each, shown in found if shown]
    return [each for each in columns if each not in _MAY_BE_UNKNOWN or _is_known(each, rows)]


def _is_known(column: Column, rows: Sequence[Row]) -> bool:
    return any(column.of(row) is not None for row in rows)


def _optional(columns: Sequence[Column], groups: Sequence[Sequence[Row]]) -> list[Column]:
    """Those that have something to say: a count that is not zero, a value that is not always the same."""
    said = []
    for column in columns:
        values = {column.of(row) for group in groups for row in group}
        if (len(values) > 1) if column in _VARIES else bool(values - {0, None}):
            said.append(column)
    return said


def hidden_differences(groups: Sequence[Sequence[Row]]) -> Iterator[str]:
    """What repeats can't tell: for each number of workers the strategies as fast as the fastest, perhaps."""
    by_workers: dict[tuple[Any, ...], list[Sequence[Row]]] = {}
    for group in groups:
        row = group[0]
        at = (row["workers"], *(row.get(key) for key in ("backend", "slots", "bundle", "kind", "task_s")))
        by_workers.setdefault(at, []).append(group)
    for (workers, *_), rivals in by_workers.items():
        speeds = {group[0]["label"]: _speeds(group) for group in rivals}
        speeds = {label: known for label, known in speeds.items() if len(known) > 1}
        if len(speeds) < 2:
            continue
        fastest = max(speeds, key=lambda label: sorted(speeds[label])[len(speeds[label]) // 2])
        alike = [
            label
            for label, known in speeds.items()
            if label != fastest and verdict(speeds[fastest], known) is SpreadVerdict.HIDDEN
        ]
        if alike:
            repeated = min(len(speeds[label]) for label in (fastest, *alike))
            hides = (
                f"the spread of {repeated} repeats hides whether {fastest} is faster than {_listed(alike)}"
            )
            yield f"{counted(workers, 'worker')}: {hides}"


def _speeds(group: Sequence[Row]) -> list[float]:
    return [row["tasks_per_s"] for row in group if row.get("tasks_per_s") is not None]


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def caption(rows: Sequence[Row], groups: Sequence[Sequence[Row]]) -> str:
    row = rows[0]
    words = [f"{row.get('experiment') or row['run']}: {_tasks(rows)} on {row['backend']}"]
    if row.get("clock") == "virtual":
        words.append("simulated, in virtual time")
    slots = row["slots"] * row.get("processes", 1)
    if slots > 1:
        words.append(f"{slots} tasks at once in a worker")
    if isinstance(row.get("bundle"), int) and row["bundle"] > 1 and len({r.get("bundle") for r in rows}) == 1:
        words.append(f"{row['bundle']:,} tasks in a message, by hand")
    most = max(len(group) for group in groups)
    if most > 1:
        words.append(f"median of {most} runs ± largest deviation, counts added up")
    priced = sorted({(each["prices"]["region"], each["prices"]["date"]) for each in rows if "prices" in each})
    words += [f"$ for requests, by the prices of {region}, {date}" for region, date in priced]
    return "; ".join(words)


def _tasks(rows: Sequence[Row]) -> str:
    kind = rows[0].get("kind", "task")
    counts = [row["tasks"] for row in rows]
    if min(counts) == max(counts):
        return f"{counts[0]:,} x {kind}"
    if per_worker(rows):
        return f"{counts[0] // rows[0]['workers']:,} x {kind} for each worker"
    return f"{min(counts):,} to {max(counts):,} x {kind}"
