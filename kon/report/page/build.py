"""From runs to the page."""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kon.core.distribution import install, version
from kon.core.errors import ConfigurationError, counted
from kon.core.task import State, task_id
from kon.engine.records.records import RunFolder
from kon.report.gathered import MOST_TIMELINES, Gathered, gather
from kon.report.page import STYLE
from kon.report.page.origins import origins
from kon.report.page.tables import every_run, strategies
from kon.report.plots import lacking
from kon.report.read.reader import standing
from kon.report.views import Reference

try:
    import jinja2
    from markupsafe import Markup
except ModuleNotFoundError as missing:
    raise ConfigurationError(
        f"reports need {missing.name}, which this Python lacks; nothing was written. Install it: "
        f"{install('controller')}"
    ) from missing

HERE: Final = Path(__file__).parent

MOST_FAILURES: Final = 50
"""Tasks whose errors stand on the page; `kon results --failed` has them all."""

MOST_TEXT: Final = 2_000
"""Characters of what a failed task left behind."""


class Drawn(NamedTuple):
    title: str
    svg: Markup


class FailureRow(NamedTuple):
    id: str
    state: str
    worker: str
    text: str


_LEGEND: Final = (
    "±: the largest deviation of a repeat from the median. Second starts: attempts that were started again "
    "although they had not failed."
)


def report(folders: Sequence[RunFolder], title: str, others: Sequence[Reference] = ()) -> str:
    """The page about these runs. others: their figures are drawn in grey.

    Raises StoreError, ConfigurationError where libraries are missing.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = gather(folders)
        failures = [failure for run in runs for failure in _failures(run)]
    problems = [*_problems(runs), *dict.fromkeys(str(each.message) for each in caught)]
    plots, of_runs = _plots(runs, others)
    finished = [each.row for each in runs if each.folder.finished]
    script = (HERE / "sort.js").read_text()
    not_done = sum(_not_done(each) for each in runs)
    return (
        _environment()
        .from_string((HERE / "report.html.j2").read_text())
        .render(
            title=title,
            subtitle=_subtitle(runs),
            problems=problems,
            contents=_contents(bool(failures), bool(plots or of_runs)),
            tables=strategies(finished),
            all_runs=every_run(runs),
            failures=failures[:MOST_FAILURES],
            failures_note=_failures_note(not_done, len(failures)),
            plots=plots,
            others=[each.system for each in others],
            run_plots=of_runs,
            plots_note=_plots_note(runs),
            origins=origins(runs),
            kon_version=version(),
            legend=_LEGEND,
            style=Markup(STYLE.read_text()),
            script=Markup(script),
            script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        )
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)


def _contents(failures: bool, plots: bool) -> list[tuple[str, str]]:
    shown = [("tables", "Tables", True), ("plots", "Plots", plots), ("failures", "Failures", failures)]
    return [(name, text) for name, text, there in [*shown, ("repeat", "How to repeat it", True)] if there]


def _subtitle(runs: Sequence[Gathered]) -> str:
    tasks = sum(each.run.spec.tasks for each in runs)
    done = sum(each.row["done"] for each in runs)
    return f"{counted(len(runs), 'run')}, {done:,} of {tasks:,} tasks done"


def _problems(runs: Sequence[Gathered]) -> Iterator[str]:
    open_ = [each.name for each in runs if not each.folder.finished]
    if open_:
        yield f"Not finished: {', '.join(open_)}. They are shown by what their records say so far."
    for state in (State.FAILED, State.DEAD, State.LOST):
        count = sum(each.row[state] for each in runs)
        if count:
            yield f"{count:,} {'task is' if count == 1 else 'tasks are'} {state.value}."


def _not_done(each: Gathered) -> int:
    return sum(each.row[state] for state in (State.FAILED, State.DEAD, State.LOST, State.CANCELLED))


def _failures(each: Gathered) -> Iterator[FailureRow]:
    """Some of them: those of each run that come first."""
    if not _not_done(each):
        return
    found = 0
    for worker, outcome in standing(each.folder, each.run.spec.tasks):
        if outcome.state is State.DONE:
            continue
        yield FailureRow(
            task_id(each.name, outcome.index),
            outcome.state.value,
            worker,
            _text(outcome.error, outcome.result),
        )
        found += 1
        if found == MOST_FAILURES:
            return


def _text(error: str | None, result: Any) -> str:
    parts = [error or ""]
    if isinstance(result, dict):
        parts += [f"{name}: {text}" for name, text in result.items() if isinstance(text, str) and text]
    elif result is not None:
        parts.append(msgspec.json.encode(result).decode())
    text = "\n".join(part for part in parts if part)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} ... ({len(text):,} characters)"


def _failures_note(count: int, found: int) -> str:
    shown = min(found, MOST_FAILURES)
    if count <= shown:
        return "All of them. `kon explain TASK` tells the story of one."
    return f"{shown} of {count:,}; `kon results RUN --failed` lists all, `kon explain TASK` tells a story."


def _plots(
    runs: Sequence[Gathered], others: Sequence[Reference]
) -> tuple[list[Drawn], list[tuple[str, list[Drawn]]]]:
    """Those of all runs, and those of each; none where `lacking()` says why."""
    if lacking():
        return [], []
    from kon.report.plots.catalogue import plots
    from kon.report.plots.style import drawing, inline_svg

    of_all: list[Drawn] = []
    of_runs: dict[str, list[Drawn]] = {}
    with drawing():
        for number, plot in enumerate(plots(runs, others)):
            drawn = Drawn(plot.title, Markup(inline_svg(plot.figure, number, plot.about)))
            (of_all if plot.run is None else of_runs.setdefault(plot.run, [])).append(drawn)
    return of_all, list(of_runs.items())


def _plots_note(runs: Sequence[Gathered]) -> str:
    if lacks := lacking():
        return f"This page has no plots: {lacks}; then write the page again."
    without = sum(each.timeline is None for each in runs)
    if not without:
        return ""
    return (
        f"Workers and backlog are drawn of {len(runs) - without} runs, at most {MOST_TIMELINES}; a run "
        "that is named by itself has its own."
    )
