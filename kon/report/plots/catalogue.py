"""All plots that runs give, each with a name for its file and words for who can't see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from matplotlib.figure import Figure

from kon.core.errors import counted
from kon.report.columns import Row
from kon.report.gathered import Gathered
from kon.report.groups import repeats
from kon.report.plots import curves
from kon.report.plots.runs import costs, latencies, tasks_over_time, workers
from kon.report.read.moments import Latencies
from kon.report.views import Reference

MOST_CURVES: Final = 7
"""Curves of latencies in one plot, as many as there are looks."""


class Plot(NamedTuple):
    """name: for a file. title: for people. about: what a screen reader says. run: where it is of one."""

    name: str
    title: str
    about: str
    figure: Figure
    run: str | None = None


_CURVES: Final[Sequence[tuple[str, str, Callable[[Sequence[Row], Sequence[Reference]], Figure | None]]]] = (
    ("throughput", "Tasks a second by workers", curves.throughput),
    ("efficiency", "Efficiency by workers", curves.efficiency),
    ("efficiency-by-length", "Efficiency by length of task", curves.efficiency_by_length),
)


def plots(runs: Sequence[Gathered], others: Sequence[Reference] = ()) -> Iterator[Plot]:
    """To be called within `style.drawing`, as must what is done with the figures. others: drawn in grey."""
    finished = [each for each in runs if each.folder.finished]
    for experiment, group in _experiments(finished).items():
        for name, title, draw in _CURVES[:2]:
            if made := draw([each.row for each in group], others):
                about = f"{title}, of {experiment}; the table has the figures"
                yield Plot(f"{experiment}-{name}", f"{experiment}: {title.lower()}", about, made)
    name, title, draw = _CURVES[2]
    if made := draw([each.row for each in finished], others):
        yield Plot(name, title, f"{title}; the table has the figures", made)
    for experiment, group in _experiments(runs).items():
        yield from _latencies(experiment, group)
    if made := costs(_costs(runs)):
        yield Plot(
            "cost", "Cost by service", "US dollars for a million tasks, by service, without hosts", made
        )
    for each in runs:
        yield from _of_run(each)


def _experiments(runs: Sequence[Gathered]) -> dict[str, list[Gathered]]:
    found: dict[str, list[Gathered]] = {}
    for each in runs:
        found.setdefault(each.run.spec.experiment or each.name, []).append(each)
    return found


def _latencies(experiment: str, runs: Sequence[Gathered]) -> Iterator[Plot]:
    """A plot for each number of workers, with repeats taken together."""
    for count in sorted({each.run.spec.workers for each in runs}):
        cells = _cells([each for each in runs if each.run.spec.workers == count])
        for first in range(0, len(cells), MOST_CURVES):
            part = cells[first : first + MOST_CURVES]
            made = latencies({label: _together([each.latencies for each in group]) for label, group in part})
            if made:
                number = f"-{first // MOST_CURVES + 1}" if len(cells) > MOST_CURVES else ""
                title = f"{experiment}: task latency, {counted(count, 'worker')}"
                about = f"{title}: the share of tasks by latency; the table has 50 % and 99 %"
                yield Plot(f"{experiment}-latency-w{count}{number}", title, about, made)


def _costs(runs: Sequence[Gathered]) -> dict[str, dict[str, float]]:
    """By strategy; of several numbers of workers the largest, as a task costs about the same on any."""
    found: dict[str, dict[str, float]] = {}
    experiments = _experiments([each for each in runs if each.usd_by_service])
    for experiment, group in experiments.items():
        words = [experiment] if len(experiments) > 1 else []
        for each in sorted(group, key=lambda each: each.run.spec.workers):
            found[", ".join([*words, each.row["label"]])] = each.usd_by_service
    return found


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


_MAY_DIFFER: Final = ("backend", "kind", "slots", "processes", "bundle", "prefetch", "task_s")


def _cells(runs: Sequence[Gathered]) -> list[tuple[str, list[Gathered]]]:
    """Repeats together, under a label that says what sets them apart; the number of workers is not in it."""
    by_row = {id(each.row): each for each in runs}
    groups = repeats([each.row for each in runs])
    several = [key for key in _MAY_DIFFER if len({group[0].get(key) for group in groups}) > 1]
    return [
        (
            ", ".join([group[0]["label"], *(f"{key} {group[0].get(key)}" for key in several)]),
            [by_row[id(row)] for row in group],
        )
        for group in groups
    ]


def _together(each: Sequence[Latencies]) -> Latencies:
    counts: dict[float, int] = {}
    for latencies_ in each:
        for latency_s, tasks in latencies_.tasks_by_s.items():
            counts[latency_s] = counts.get(latency_s, 0) + tasks
    return Latencies({latency_s: counts[latency_s] for latency_s in sorted(counts)})
