"""Throughput and efficiency, by the number of workers and by the length of tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from kon.core.errors import counted
from kon.report.columns import Row
from kon.report.groups import repeats, with_labels
from kon.report.plots.style import FAINT, figure, legend_below, log_labels, series
from kon.report.views import Reference, is_comparable, task_length

MOST_TICKS: Final = 8


class Curve(NamedTuple):
    """Medians by workers (or by seconds), each with the least and the most of its repeats."""

    label: str
    points: list[tuple[float, float, float, float]]


def throughput(rows: Sequence[Row], others: Sequence[Reference] = ()) -> Figure | None:
    """Tasks a second by workers; None where there is one number of workers only.

    The ideal line: where tasks take time all slots, busy all the time; where they take none as many times the
    fastest series' first point as there are workers.
    """
    rows = with_labels(rows)
    curves = list(_by_workers(rows, "tasks_per_s", 1.0))
    if not curves:
        return None
    made, axes, workers = _drawn(curves, 2.5)
    _ideal(axes, rows, curves, workers)
    none = [row for row in rows if row["task_s"] == 0 and is_comparable(row)]
    theirs = [other for other in others if any(other.is_of(row) for row in none)]
    _rivals(axes, {other.system: other.tasks_per_s for other in theirs}, max(workers))
    axes.set_yscale("log")
    log_labels(axes.yaxis, *axes.get_ylim(), lambda value: f"{value:,.0f}" if value >= 1 else f"{value:.6g}")
    axes.set_ylabel("tasks/s")
    _worker_axis(axes, workers)
    legend_below(made, axes)
    return made


def efficiency(rows: Sequence[Row], others: Sequence[Reference] = ()) -> Figure | None:
    """Ideal time / measured time by workers, in percent; None where there is nothing to be seen."""
    rows = [row for row in with_labels(rows) if row.get("efficiency") is not None]
    curves = list(_by_workers(rows, "efficiency", 100.0))
    if not curves:
        return None
    made, axes, workers = _drawn(curves, 2.3)
    for seconds in sorted({row["task_s"] for row in rows if is_comparable(row)}, reverse=True):
        found = {
            f"{other.system}, {task_length(seconds)}": other.efficiency_percent.get(seconds, {})
            for other in others
        }
        _rivals(axes, found, max(workers))
    _percent_axis(axes)
    _worker_axis(axes, workers)
    legend_below(made, axes)
    return made


def efficiency_by_length(rows: Sequence[Row], others: Sequence[Reference] = ()) -> Figure | None:
    """Efficiency by the length of tasks, for each number of workers; None for fewer than three lengths."""
    rows = [row for row in with_labels(rows) if row.get("efficiency") is not None]
    if len({row["task_s"] for row in rows}) < 3:
        return None
    lines: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        label = f"{row['label']}, {counted(row['workers'], 'worker')}"
        lines.setdefault(label, {}).setdefault(row["task_s"], []).append(100 * row["efficiency"])
    made, axes = figure(2.3)
    for number, (label, points) in enumerate(lines.items()):
        ordered = sorted(points.items())
        curve = Curve(label, [(at, median(each), min(each), max(each)) for at, each in ordered])
        _draw(axes, curve, number)
    for count in sorted({row["workers"] for row in rows if is_comparable(row)}):
        found = {
            f"{each.system}, {counted(count, 'worker')}": each.efficiency_by_length(count) for each in others
        }
        _rivals(axes, {name: given for name, given in found.items() if len(given) > 2}, math.inf)
    axes.set_xscale("log")
    axes.set_xlabel("length of a task")
    log_labels(axes.xaxis, *axes.get_xlim(), task_length)
    _percent_axis(axes)
    legend_below(made, axes, columns=1)
    return made


def _by_workers(rows: Sequence[Row], key: str, factor: float) -> Iterator[Curve]:
    """A curve for each variant that was run with several numbers of workers."""
    groups = [group for group in repeats(rows) if any(row.get(key) is not None for row in group)]
    several = [
        name
        for name in ("backend", "label", "task_s", "kind", "bundle", "prefetch", "slots", "processes")
        if len({group[0].get(name) for group in groups}) > 1
    ]
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for group in groups:
        values = [row[key] * factor for row in group if row.get(key) is not None]
        words = [_word(name, group[0]) for name in several] or [group[0]["label"]]
        point = (group[0]["workers"], median(values), min(values), max(values))
        found.setdefault(", ".join(words), []).append(point)
    if any(len(points) > 1 for points in found.values()):
        yield from (Curve(label, sorted(points)) for label, points in found.items())


def _drawn(curves: Sequence[Curve], height_in: float) -> tuple[Figure, Axes, list[float]]:
    """A figure with these curves, and the numbers of workers that they have."""
    made, axes = figure(height_in)
    for number, curve in enumerate(curves):
        _draw(axes, curve, number)
    return made, axes, sorted({point[0] for curve in curves for point in curve.points})


def _word(name: str, row: Row) -> str:
    value = row.get(name)
    if name == "task_s":
        return "length unknown" if value is None else task_length(value)
    return str(value) if name in ("label", "backend", "kind") else f"{name} {value}"


def _draw(axes: Axes, curve: Curve, number: int) -> None:
    look = series(number)
    x, y, low, high = (list(column) for column in zip(*curve.points, strict=True))
    spread = None
    if any(b > a for a, b in zip(low, high, strict=True)):
        spread = [
            [middle - least for middle, least in zip(y, low, strict=True)],
            [most - middle for middle, most in zip(y, high, strict=True)],
        ]
    axes.errorbar(
        x,
        y,
        yerr=spread,
        label=curve.label,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markerfacecolor="white" if number % 2 else look.colour,
        capsize=2,
        elinewidth=0.8,
    )


def _ideal(axes: Axes, rows: Sequence[Row], curves: Sequence[Curve], workers: Sequence[float]) -> None:
    lengths = {row["task_s"] for row in rows}
    if len(lengths) == 1 and (seconds := next(iter(lengths))):
        row = rows[0]
        per_worker = row["slots"] * row.get("processes", 1) / seconds
    elif lengths == {0.0} or lengths == {None}:
        per_worker = max(curve.points[0][1] / curve.points[0][0] for curve in curves)
    else:
        return
    ends = (workers[0], workers[-1])
    axes.plot(ends, [per_worker * each for each in ends], color=FAINT, lw=0.8, ls=(0, (1, 2)), label="ideal")


_RIVAL_MARKERS: Final = ("1", "2", "3", "4", "+", "x")


def _rivals(
    axes: Axes, systems: Mapping[str, Mapping[int, float] | Mapping[float, float]], most: float
) -> None:
    """What others measured, in grey and thin, as far as kon's own go."""
    for number, (label, given) in enumerate(systems.items()):
        points = sorted((at, value) for at, value in given.items() if at <= most)
        if points:
            x, y = zip(*points, strict=True)
            marker = _RIVAL_MARKERS[number % len(_RIVAL_MARKERS)]
            axes.plot(x, y, color=FAINT, lw=0.7, ls="-", marker=marker, ms=5, label=label)


def _worker_axis(axes: Axes, workers: Sequence[float]) -> None:
    axes.set_xlabel("workers")
    axes.set_xscale("log", base=2)
    step = -(-len(workers) // MOST_TICKS)
    axes.set_xticks(list(workers)[::-step])  # the most workers always have theirs
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _percent_axis(axes: Axes) -> None:
    axes.axhline(100, color=FAINT, lw=0.8, ls=(0, (1, 2)), label="ideal")
    axes.set_ylim(0, 108)
    axes.set_ylabel("efficiency (%)")
