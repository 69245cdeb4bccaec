"""All plots that runs give, each with a name for its file and words for who can't see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from matplotlib.figure import Figure

from kon.report.columns import Row
from kon.report.gathered import Gathered
from kon.report.groups import by_experiment, repeats
from kon.report.moments import Latencies
from kon.report.plots import curves
from kon.report.plots.runs import costs, latencies, tasks_over_time, workers

MOST_CURVES: Final = 7
"""Of latencies in one plot, as many as there are looks."""


class Plot(NamedTuple):
    """name: for a file. title: for people. about: what a screen reader says. run: where it is of one."""

    name: str
    title: str
    about: str
    figure: Figure
    run: str | None = None


_CURVES: Final[Sequence[tuple[str, str, Callable[[Sequence[Row]], Figure | None]]]] = (
    ("throughput", "Tasks a second by workers", curves.throughput),
    ("efficiency", "Efficiency by workers", curves.efficiency),
    ("efficiency-by-length", "Efficiency by length of task", curves.efficiency_by_length),
)


def plots(runs: Sequence[Gathered]) -> Iterator[Plot]:
    """To be called within `style.drawing`, as must what is done with the figures."""
    for experiment, rows in by_experiment([each.row for each in runs if each.folder.finished]).items():
        prefix = f"{experiment or rows[0]['run']}-"
        for name, title, draw in _CURVES[:2]:
            if made := draw(rows):
                about = f"{title}, of {experiment}; the table has the figures"
                yield Plot(f"{prefix}{name}", f"{experiment}: {title.lower()}", about, made)
    name, title, draw = _CURVES[2]
    if made := draw([each.row for each in runs if each.folder.finished]):
        yield Plot(name, title, f"{title}; the table has the figures", made)
    yield from _latencies(runs)
    if made := costs(
        {label: each[0].usd_by_service for label, each in _cells(runs) if each[0].usd_by_service}
    ):
        yield Plot(
            "cost", "Cost by service", "US dollars for a million tasks, by service, without hosts", made
        )
    for each in runs:
        yield from _of_run(each)


def _latencies(runs: Sequence[Gathered]) -> Iterator[Plot]:
    """A plot for each experiment and number of workers, with repeats taken together."""
    parts: dict[tuple[str, int], dict[str, Latencies]] = {}
    for label, group in _cells(runs):
        row = group[0].row
        at = (row.get("experiment", ""), row["workers"])
        parts.setdefault(at, {})[label] = _together([each.latencies for each in group])
    for (experiment, count), by_label in parts.items():
        who = "1 worker" if count == 1 else f"{count:,} workers"
        labels = list(by_label)
        for first in range(0, len(labels), MOST_CURVES):
            part = {label: by_label[label] for label in labels[first : first + MOST_CURVES]}
            made = latencies({_short(label, experiment, who): part[label] for label in part})
            if made:
                number = f"-{first // MOST_CURVES + 1}" if len(labels) > MOST_CURVES else ""
                title = f"{experiment}: task latency, {who}"
                about = f"{title}: the share of tasks by latency; the table has 50 % and 99 %"
                yield Plot(f"{experiment}-latency-w{count}{number}", title, about, made)


def _of_run(each: Gathered) -> Iterator[Plot]:
    if each.timeline is not None and (made := workers(each.timeline)):
        title = f"{each.name}: workers and slots"
        lives = len(each.timeline.lives)
        about = f"{title}: what {lives:,} lives of workers did over {each.timeline.span_s:.3g} seconds"
        yield Plot(f"{each.name}-workers", title, about, made, each.name)
    if each.backlog is not None:
        title = f"{each.name}: backlog"
        about = f"{title}: tasks not delivered yet, and tasks that workers held, over time"
        yield Plot(f"{each.name}-backlog", title, about, tasks_over_time(each.backlog), each.name)


def _cells(runs: Sequence[Gathered]) -> list[tuple[str, list[Gathered]]]:
    """Repeats together, under a label that says what sets them apart."""
    by_run = {id(each.row): each for each in runs}
    groups = repeats([each.row for each in runs])
    named = [(row[0], [by_run[id(each)] for each in row]) for row in groups]
    several = [key for key in ("experiment", "backend", "bundle", "kind") if _differ(groups, key)]
    labels = []
    for row, group in named:
        words = [
            row["label"],
            *(f"{key} {row.get(key)}" if key == "bundle" else str(row.get(key)) for key in several),
        ]
        who = "1 worker" if row["workers"] == 1 else f"{row['workers']:,} workers"
        labels.append((", ".join([*words, who]), group))
    return labels


def _differ(groups: Sequence[Sequence[Row]], key: str) -> bool:
    return len({group[0].get(key) for group in groups}) > 1


def _short(label: str, experiment: str, who: str) -> str:
    """Without what the plot's title says."""
    return label.removesuffix(f", {who}").replace(f", {experiment}", "")


def _together(each: Sequence[Latencies]) -> Latencies:
    counts: dict[float, int] = {}
    for latencies_ in each:
        for latency_s, tasks in latencies_.tasks_by_s.items():
            counts[latency_s] = counts.get(latency_s, 0) + tasks
    return Latencies({latency_s: counts[latency_s] for latency_s in sorted(counts)})
