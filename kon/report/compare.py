"""What differs between two sets of runs, and whether it means anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec
from rich.cells import cell_len

from kon.core.errors import ConfigurationError
from kon.core.spec import RunSpec
from kon.engine.records.records import RunFile, RunFolder
from kon.report.columns import Row, draw, per, rounded, scaled
from kon.report.fit import folded, wrapped
from kon.report.gathered import row_of
from kon.report.groups import SpreadVerdict, verdict, with_labels


class Recorded(NamedTuple):
    """A run: its description, and its row."""

    run: RunFile
    row: Row


class Difference(msgspec.Struct, frozen=True):
    """A setting, or something about the machine, that is not the same; None where it is not there."""

    name: str
    a: Any
    b: Any


class MedianChange(msgspec.Struct, frozen=True):
    """A figure's medians; change: of b against a, as a fraction of a; None where a is 0 or one is unknown."""

    name: str
    a: float | None
    b: float | None
    change: float | None
    verdict: str
    a_values: list[float]
    b_values: list[float]


class TaskCount(msgspec.Struct, frozen=True):
    """How many tasks, over all repeats, and of how many."""

    name: str
    a: int
    b: int


class Pair(msgspec.Struct, frozen=True):
    """Two cells, each with all its repeats."""

    a: list[str]
    b: list[str]
    differences: list[Difference]
    changes: list[MedianChange]
    tallies: list[TaskCount]


class Comparison(msgspec.Struct, frozen=True):
    """only_a, only_b: runs that the other side has no counterpart of."""

    pairs: list[Pair]
    only_a: list[str]
    only_b: list[str]


def compare(a: Sequence[RunFolder], b: Sequence[RunFolder]) -> Comparison:
    """Compares runs that have the same strategy, workers, backend and work. Where each side is a single run
    with its repeats, compares these two, even if they differ.

    Raises ConfigurationError where there is nothing to compare.
    """
    one, other = _cells(a), _cells(b)
    if len(one) == len(other) == 1:
        return Comparison([_pair(next(iter(one.values())), next(iter(other.values())))], [], [])
    common = [key for key in one if key in other]
    if not common:
        raise ConfigurationError(
            "these have nothing in common: no run of the one has the strategy, workers, backend and work of "
            "one of the other. Name two runs to compare what differs in these"
        )
    return Comparison(
        [_pair(one[key], other[key]) for key in common],
        [each.row["run"] for key in one if key not in other for each in one[key]],
        [each.row["run"] for key in other if key not in one for each in other[key]],
    )


def _cells(folders: Sequence[RunFolder]) -> dict[tuple[Any, ...], list[Recorded]]:
    runs = [(folder.read_run(), row_of(folder)) for folder in folders]
    cells: dict[tuple[Any, ...], list[Recorded]] = {}
    for (run, _), row in zip(runs, with_labels([row for _, row in runs]), strict=True):
        key = (
            run.spec.strategy.label,
            *(
                row.get(name)
                for name in ("backend", "workers", "slots", "processes", "bundle", "kind", "task_s")
            ),
        )
        cells.setdefault(key, []).append(Recorded(run, row))
    return cells


_COUNTS: Final = (
    "tasks",
    "done",
    "failed",
    "dead",
    "lost",
    "cancelled",
    "duplicates_avoided",
    "duplicate_starts",
    "duplicate_results",
    "retries",
)


_WORDS: Final = {
    "duplicates_avoided": "duplicates avoided",
    "duplicate_starts": "second starts",
    "duplicate_results": "results kept twice",
    "retries": "attempts tried again",
}
"""What tables and pages call these."""

_FIGURES: Final = (
    ("time (s)", scaled("wall_s")),
    ("tasks/s", scaled("tasks_per_s")),
    ("efficiency (%)", scaled("efficiency", 100.0)),
    ("latency p50 (ms)", scaled("latency_p50_s", 1e3)),
    ("latency p99 (ms)", scaled("latency_p99_s", 1e3)),
    ("requests per task", scaled("requests_per_task")),
    ("worker CPU (us per task)", scaled("worker_cpu_us_per_task")),
    ("$ per million tasks", per(1e6, "usd")),
)


def _pair(a: Sequence[Recorded], b: Sequence[Recorded]) -> Pair:
    return Pair(
        [each.row["run"] for each in a],
        [each.row["run"] for each in b],
        list(_differences(a[0].run, b[0].run)),
        [
            _change(name, of, a, b)
            for name, of in _FIGURES
            if any(of(each.row) is not None for each in [*a, *b])
        ],
        [TaskCount(name, _sum(a, name), _sum(b, name)) for name in _COUNTS if _sum(a, name) or _sum(b, name)],
    )


def _change(name: str, of: Any, a: Sequence[Recorded], b: Sequence[Recorded]) -> MedianChange:
    one = [value for each in a if (value := of(each.row)) is not None]
    other = [value for each in b if (value := of(each.row)) is not None]
    if not one or not other:
        middles = [median(values) if values else None for values in (one, other)]
        return MedianChange(name, middles[0], middles[1], None, SpreadVerdict.CANNOT_TELL, one, other)
    before, after = median(one), median(other)
    change = (after - before) / before if before else None
    return MedianChange(name, before, after, change, verdict(one, other), one, other)


def _sum(runs: Sequence[Recorded], name: str) -> int:
    return sum(each.row.get(name) or 0 for each in runs)


_NAMES: Final = frozenset({"run", "experiment", "repeat"})
"""Columns that say what a run is called, not what it is."""


def _differences(a: RunFile, b: RunFile) -> Iterator[Difference]:
    one, other = (_flat({**_of_spec(each.spec), **_of_context(each)}) for each in (a, b))
    for name in dict.fromkeys([*one, *other]):
        if name not in _NAMES and one.get(name) != other.get(name):
            yield Difference(name, one.get(name), other.get(name))


def _of_spec(spec: RunSpec) -> dict[str, Any]:
    """A spec's settings as an experiment file has them: what kon finds by itself is `auto` there."""
    settings: dict[str, Any] = msgspec.to_builtins(spec)
    found = {name: "auto" for name in ("bundle", "prefetch", "tasks_per_row") if settings[name] is None}
    return {**settings, **found}


_CONTEXT: Final = ("kon", "python", "system", "machine", "cpus", "host", "clock")


def _of_context(run: RunFile) -> dict[str, Any]:
    return {name: run.context[name] for name in _CONTEXT if name in run.context}


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under names with dots, as `--set` has them."""
    found: dict[str, Any] = {}
    for name, each in value.items():
        if isinstance(each, dict):
            found.update(_flat(each, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = each
    return found


def as_text(found: Comparison, width: int | None = None) -> str:
    """width: the columns that tables have to fit; None for any."""
    parts = [_pair_text(pair, width) for pair in found.pairs]
    for side, only in (("A", found.only_a), ("B", found.only_b)):
        if only:
            parts.append(f"only in {side}: {', '.join(only)}")
    return "\n\n".join(parts)


_ALIGN: Final = ["left", "right", "right", "right", "left"]


def _pair_text(pair: Pair, width: int | None) -> str:
    lines = [wrapped(f"{side}: {', '.join(runs)}", width) for side, runs in (("A", pair.a), ("B", pair.b))]
    lines.append("")
    if pair.differences:
        lines += [_differences_text(pair.differences, width), ""]
    else:
        lines += ["Nothing differs in what was run, nor in the machine.", ""]
    body = [_cells_of(each) for each in pair.changes]
    body += [
        [_WORDS.get(each.name, each.name), f"{each.a:,}", f"{each.b:,}", "", "counts, added up"]
        for each in pair.tallies
    ]
    lines.append(draw(body, ["figure", "A", "B", "change", "does it mean anything?"], _ALIGN, width=width))
    return "\n".join(lines)


def _differences_text(differences: Sequence[Difference], width: int | None) -> str:
    """A table, or lines where a value is too wide for it: in its middle may stand what differs."""
    body = [[each.name, _shown(each.a), _shown(each.b)] for each in differences]
    text = draw(body, ["what differs", "A", "B"], ["left", "left", "left"])
    if width is None or max(map(cell_len, text.splitlines())) <= width:
        return text
    lines = (f"{name}\n  A: {a}\n  B: {b}" for name, a, b in body)
    return folded("\n".join(["what differs", "", *lines]), width)


def _cells_of(each: MedianChange) -> list[str]:
    change = "" if each.change is None else f"{each.change:+.1%}"
    return [each.name, _figure(each.a), _figure(each.b), change, _meaning(each)]


def _meaning(each: MedianChange) -> str:
    fewest = min(len(each.a_values), len(each.b_values))
    if not fewest:
        return "cannot tell: unknown in one"
    match SpreadVerdict(each.verdict):
        case SpreadVerdict.CANNOT_TELL:
            return "cannot tell: one repeat alone"
        case SpreadVerdict.HIDDEN:
            return "no: their spread hides it"
        case SpreadVerdict.APART:
            return f"perhaps: {fewest} repeats are too few"
        case SpreadVerdict.DIFFERENT:
            return "yes (p <= 5 %)"


def _figure(value: float | None) -> str:
    return "-" if value is None else rounded(value)


def _shown(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
