"""What a report or a plot is about: runs, each with all that is drawn from its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kon.backends.prices import usual_prices
from kon.engine.records.records import RunFile, RunFolder
from kon.report.columns import Row
from kon.report.groups import with_labels
from kon.report.read.moments import Latencies
from kon.report.read.tally import RunTally, tally_run
from kon.report.summary import cost_of, fault_columns, summarise
from kon.report.timeline import Backlog, Timeline, backlog, timeline

MOST_TIMELINES: Final = 12
"""Runs whose workers and backlog are drawn, of all that are asked for at once; first repeats come first."""


class Gathered(msgspec.Struct):
    """A run. row: of the result table, with a `label`. timeline, backlog: None where others are drawn."""

    folder: RunFolder
    run: RunFile
    row: Row
    latencies: Latencies
    usd_by_service: dict[str, float]
    timeline: Timeline | None
    backlog: Backlog | None

    @property
    def name(self) -> str:
        return self.run.spec.run


def gather(folders: Sequence[RunFolder], most_timelines: int = MOST_TIMELINES) -> list[Gathered]:
    """As they were run. Raises StoreError, StoreVersionError for records of a newer kon."""
    runs = [(folder, folder.read_run()) for folder in folders]
    drawn = _drawn([run for _, run in runs], most_timelines)
    found = [_one(folder, run, at in drawn) for at, (folder, run) in enumerate(runs)]
    found.sort(key=lambda each: each.row.get("began_s") or 0.0)
    experiments: dict[str, list[Gathered]] = {}
    for each in found:
        experiments.setdefault(each.run.spec.experiment, []).append(each)
    for group in experiments.values():
        for each, row in zip(group, with_labels([each.row for each in group]), strict=True):
            each.row = row
    return found


def _drawn(runs: Sequence[RunFile], most: int) -> set[int]:
    """Which of them get a timeline: first repeats first, and some of each experiment."""
    met: dict[tuple[str, int], int] = {}
    order = []
    for at, run in enumerate(runs):
        cell = (run.spec.experiment, run.spec.repeat)
        order.append((run.spec.repeat, met.get(cell, 0), at))
        met[cell] = met.get(cell, 0) + 1
    return {at for _, _, at in sorted(order)[:most]}


def row_of(folder: RunFolder) -> Row:
    """The row of a run; of one that goes on what is known so far, and of one that an older kon finished with
    what rows have by now."""
    if not folder.finished:
        return summarise(folder)
    row = {**folder.read_summary(), **fault_columns(folder.read_run().spec)}
    return row if "latency_p50_s" in row else {**summarise(folder), **row}


def _one(folder: RunFolder, run: RunFile, with_timeline: bool) -> Gathered:
    tally = tally_run(folder, run.spec.tasks, moments=True)
    moments = tally.moments
    assert moments is not None  # they were asked for
    made = Gathered(folder, run, row_of(folder), moments.latencies(), _usd(tally, run), None, None)
    if with_timeline and tally.began_s is not None:
        made.timeline = timeline(folder, run.spec, tally.began_s, tally.wall_s)
        made.backlog = backlog(moments, made.timeline.span_s)
    return made


def _usd(tally: RunTally, run: RunFile) -> dict[str, float]:
    """US dollars by service, for a million tasks."""
    billed = tally.billed
    if billed is None:
        return {}
    dollars = cost_of(run.spec, billed, tally.wall_s, usual_prices()).dollars
    return {service: amount * 1e6 / run.spec.tasks for service, amount in dollars.items()}
