"""Plots of single runs: latencies, who worked when, the backlog, and what the services cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter

from kon.report.plots.style import (
    COLOURS,
    COLUMN_IN,
    FAINT,
    HATCHES,
    INK,
    figure,
    legend_below,
    log_labels,
    series,
)
from kon.report.read.moments import Latencies
from kon.report.timeline import BINS, UNFINISHED, Backlog, Bar, LifeLine, Timeline

MOST_POINTS: Final = 200
"""Points of a curve of latencies: a step for each of a thousand values would only make a larger file."""

MOST_NAMES: Final = 24
"""Lives of workers whose names stand at the axis."""

MOST_ROWS: Final = 256
"""Rows of a picture of workers; of more workers neighbours are drawn as one, by their mean."""

LEAST_BUSY: Final = 0.005
"""The share of slots from which on a shade can be seen."""

WIDE_IN: Final = 7.0
"""Both columns of a paper, in inches: for names that one has no room for."""

_STATES: Final = {
    "done": (COLOURS[5], ""),
    "retry": (COLOURS[4], "////"),
    "refused": (COLOURS[3], "xxxx"),
    "failed": (COLOURS[1], "\\\\\\\\"),
    UNFINISHED: ("white", "||||"),
}
"""How attempts are drawn: lightness and hatching tell them apart in print, too."""


def latencies(by_label: Mapping[str, Latencies]) -> Figure | None:
    """The share of tasks by the latency that they did not exceed; None where no task has one."""
    known = {label: each for label, each in by_label.items() if each.tasks}
    if not known:
        return None
    made, axes = figure(2.3)
    for number, (label, each) in enumerate(known.items()):
        look = series(number)
        x, y = _steps(each)
        marked: dict[str, Any] = {"marker": look.marker, "markevery": []}  # in the legend alone
        axes.plot(x, y, drawstyle="steps-post", color=look.colour, ls=look.dash, label=label, **marked)
        for share in (0.5, 0.99):
            at = each.quantile(share)
            assert at is not None  # it has tasks
            axes.plot([max(at, 1e-6)], [100 * share], marker=look.marker, color=look.colour, ls="none")
    axes.set_xscale("log")
    log_labels(axes.xaxis, *axes.get_xlim(), _duration)
    axes.set_xlabel("task latency: first delivery to first result")
    axes.set_ylabel("tasks (%); marks: 50 and 99")
    axes.set_ylim(0, 102)
    legend_below(made, axes)
    return made


def _steps(each: Latencies) -> tuple[list[float], list[float]]:
    x: list[float] = []
    y: list[float] = []
    met, drawn = 0, -1.0
    for latency_s, tasks in each.tasks_by_s.items():
        if not x:
            x, y = [max(latency_s, 1e-6)], [0.0]
        met += tasks
        share = 100 * met / each.tasks
        if share - drawn >= 100 / MOST_POINTS or met == each.tasks:
            x.append(max(latency_s, 1e-6))
            y.append(share)
            drawn = share
    return x, y


def workers(line: Timeline) -> Figure | None:
    """Workers and their slots: each attempt at a task, or where there are many how busy each worker was."""
    if not line.lives:
        return None
    if not line.has_bars and max(max(life.busy or [0.0]) for life in line.lives) < LEAST_BUSY:
        return None  # tasks that take no time leave a picture of nothing
    rows = sum(_height(life) for life in line.lives) if line.has_bars else min(MOST_ROWS, len(line.lives))
    made, axes = figure(min(6.0 if line.has_bars else 3.0, 0.9 + 0.16 * rows))
    if line.has_bars:
        _bars(axes, line)
    else:
        _strips(made, axes, line)
    axes.set_xlabel("seconds since the first submission")
    axes.set_xlim(0, 1.01 * max(line.span_s, max(life.last_s for life in line.lives)))
    axes.grid(False, axis="y")
    legend_below(made, axes, columns=4)
    return made


def _height(life: LifeLine) -> int:
    return max((bar.slot for bar in life.bars or []), default=0) + 1


def _bars(axes: Axes, line: Timeline) -> None:
    bottom, ticks = 0, []
    boxes: dict[str, list[Path]] = {}
    for life in line.lives:
        height = _height(life)
        ticks.append((bottom + height / 2, life.name))
        axes.plot([life.up_s, life.last_s], [bottom + 0.5] * 2, color=FAINT, lw=0.5, zorder=0)
        for bar in life.bars or []:
            boxes.setdefault(bar.state, []).append(_box(bar, bottom))
        if line.over and not life.ended:
            _mark_of_a_kill(axes, life.last_s, bottom + height / 2)
        bottom += height
    for state, (colour, hatch) in _STATES.items():
        if state in boxes:
            # one path for all of them: each by itself makes a file of a megabyte
            shape = Path.make_compound_path(*boxes[state])
            axes.add_patch(
                PathPatch(shape, facecolor=colour, edgecolor=INK, lw=0.25, hatch=hatch, label=state)
            )
    _names(axes, ticks)
    axes.set_ylim(bottom, 0)


def _box(bar: Bar, bottom: int) -> Path:
    low, high = bottom + bar.slot + 0.12, bottom + bar.slot + 0.88
    corners = [
        (bar.start_s, low),
        (bar.start_s, high),
        (bar.end_s, high),
        (bar.end_s, low),
        (bar.start_s, low),
    ]
    return Path(corners, closed=True)


def _strips(made: Figure, axes: Axes, line: Timeline) -> None:
    shown = _merged([life.busy or [0.0] * BINS for life in line.lives])
    shades = LinearSegmentedColormap.from_list("busy", [f"{COLOURS[0]}00", COLOURS[0]])
    picture = axes.imshow(
        shown,
        aspect="auto",
        cmap=shades,
        vmin=0,
        vmax=1,
        extent=(0, line.span_s, len(line.lives), 0),
        interpolation="nearest",
    )
    bar = made.colorbar(picture, ax=axes, label="slots that have a task", fraction=0.05, pad=0.02)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    for number, life in enumerate(line.lives):
        if line.over and not life.ended:
            _mark_of_a_kill(axes, life.last_s, number + 0.5)
    _names(axes, [(number + 0.5, life.name) for number, life in enumerate(line.lives)])


def _merged(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """At most `MOST_ROWS` of them, each the mean of as many neighbours."""
    step = -(-len(rows) // MOST_ROWS)
    parts = [rows[at : at + step] for at in range(0, len(rows), step)]
    return [[sum(column) / len(part) for column in zip(*part, strict=True)] for part in parts]


def _mark_of_a_kill(axes: Axes, at_s: float, height: float) -> None:
    """Once in the legend, however many there are."""
    said = "killed" in axes.get_legend_handles_labels()[1]
    label = "_killed" if said else "killed"
    axes.plot(
        [at_s], [height], marker="X", color=COLOURS[1], mec=INK, mew=0.4, ls="none", label=label, zorder=5
    )


def _names(axes: Axes, ticks: Sequence[tuple[float, str]]) -> None:
    if len(ticks) <= MOST_NAMES:
        axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    else:
        axes.set_ylabel(f"{len(ticks):,} lives of workers")
        axes.set_yticks([])


def tasks_over_time(found: Backlog) -> Figure:
    """How many tasks wait, and how many workers hold."""
    made, axes = figure(2.0)
    looks = series(0), series(1)
    for look, counts, label in zip(
        looks, (found.waiting, found.held), ("not delivered yet", "held by workers")
    ):
        axes.plot(found.at_s, counts, color=look.colour, ls=look.dash, label=label, drawstyle="steps-post")
    axes.set_xlabel("seconds since the first submission")
    axes.set_ylabel("tasks")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    legend_below(made, axes)
    return made


def costs(by_label: Mapping[str, Mapping[str, float]]) -> Figure | None:
    """US dollars for a million tasks, by service; None where nothing was billed."""
    if not any(any(services.values()) for services in by_label.values()):
        return None
    services = list(dict.fromkeys(name for each in by_label.values() for name in each))
    width_in = WIDE_IN if max(map(len, by_label)) > 24 else COLUMN_IN
    made, axes = figure(0.8 + 0.2 * len(by_label), width_in)
    labels = list(by_label)
    left = [0.0] * len(labels)
    for number, service in enumerate(services):
        widths = [by_label[label].get(service, 0.0) for label in labels]
        if not any(widths):
            continue
        axes.barh(
            range(len(labels)),
            widths,
            left=left,
            height=0.7,
            color=COLOURS[(0, 4, 2, 3)[number % 4]],
            edgecolor="white",
            hatch=HATCHES[number % len(HATCHES)],
            label=service,
        )
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("$ for a million tasks, without hosts")
    axes.grid(False, axis="y")
    legend_below(made, axes, columns=3)
    return made


def _duration(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 0.999:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e6:.4g} µs"
