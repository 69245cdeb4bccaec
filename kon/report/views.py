"""Tables of other shapes: workers by length of task, and minutes by workers, with others' figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import yaml

from kon.core.errors import ConfigurationError
from kon.report.columns import PLAIN, Column, Row, draw_columns, figure, measured, name, number, rounded
from kon.report.groups import by_values, lanes, repeats, with_labels
from kon.report.tables import around

_LOCAL = frozenset({"memory", "sqlite"})

_ByWorkers = dict[int, float]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one system measured.

    local: whether it ran on one machine; else over a network.
    tasks_per_s: of tasks that take no time, by the number of workers.
    efficiency_percent: ideal time / measured time, by the tasks' seconds and the number of workers.
    minutes: by the kind of work, the number of tasks and the number of workers.
    """

    system: str
    local: bool = False
    tasks_per_s: _ByWorkers = {}
    efficiency_percent: Mapping[float, _ByWorkers] = {}
    minutes: Mapping[str, Mapping[int, _ByWorkers]] = {}

    def is_of(self, row: Row) -> bool:
        """Whether it ran where this run did: on one machine, or over a network."""
        return self.local == (row["backend"] in _LOCAL)

    def efficiency_by_length(self, workers: int) -> dict[float, float]:
        """In percent, by the tasks' seconds."""
        return {
            seconds: by_workers[workers]
            for seconds, by_workers in self.efficiency_percent.items()
            if workers in by_workers
        }


def references(file: Path) -> list[Reference]:
    """The systems in a file of YAML. Raises ConfigurationError, which says what is wrong in which of them."""
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        return msgspec.convert(found, list[Reference])
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: is no YAML: {' '.join(str(error).split())}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{file}: {error}. Expected a list of systems, as workloads/published.yml has it"
        ) from error


def is_comparable(row: Row) -> bool:
    """Whether others' figures may stand next to this run: they put no faults into theirs."""
    return not row.get("faults")


ANIMOTO: Final = "animoto"
"""The kind of the older systems' videos."""

_IDLE: Final = "idle: how long a slot, on average, had no task: the makespan less the tasks' own time"


def by_length(
    rows: Sequence[Row],
    style: str = PLAIN,
    others: Sequence[Reference] = (),
    width: int | None = None,
) -> str:
    """Time, idle time, efficiency and throughput for each length of task and number of workers: a table for
    each backend and strategy, over all experiments of the rows."""
    made = []
    for (backend, label), group in by_values(with_labels(rows), "backend", "label").items():
        known = sorted(
            (row for row in group if row["task_s"] is not None),
            key=lambda row: (-row["task_s"], row["workers"], row["repeat"]),
        )
        if known:
            groups = repeats(known)
            columns = [*_telling(groups, "task_s"), *_LENGTHS, *_published(groups, others, _rival)]
            above = f"{label} on {backend}, by length of task{_repeated(groups)}"
            made.append(around(draw_columns(columns, groups, style, width), above, [_IDLE], style, width))
    left_out = sorted({row["run"] for row in with_labels(rows) if row["task_s"] is None})
    if left_out:
        made.append(f"Left out, as nobody knows how long their tasks take: {', '.join(left_out)}")
    return "\n\n".join(made)


_MINUTES: Final = (
    number("workers", "workers"),
    number("tasks", "tasks"),
    figure("time\n(min)", "wall_s", 1 / 60),
    figure("tasks/s", "tasks_per_s"),
)


def by_minutes(
    rows: Sequence[Row],
    style: str = PLAIN,
    others: Sequence[Reference] = (),
    width: int | None = None,
) -> str:
    """Minutes by workers; a table for each backend, strategy and kind of work."""
    made = []
    for (backend, label, kind), group in by_values(with_labels(rows), "backend", "label", "kind").items():
        groups = repeats(sorted(group, key=lambda row: (row["tasks"], row["workers"], row["repeat"])))
        columns = [
            *_telling(groups, "tasks"),
            *_MINUTES,
            _speedup(groups),
            *_published(groups, others, _their_minutes),
        ]
        above = f"{kind}: minutes by workers, {label} on {backend}{_repeated(groups)}"
        made.append(around(draw_columns(columns, groups, style, width), above, [], style, width))
    return "\n\n".join(made)


def further(
    rows: Sequence[Row],
    style: str = PLAIN,
    others: Sequence[Reference] = (),
    width: int | None = None,
) -> list[str]:
    """Further tables that suit these rows: `by_length` for tasks of several known lengths, `by_minutes` for
    videos."""
    made = []
    several = [
        row
        for group in by_values(with_labels(rows), "backend", "label").values()
        if len({row["task_s"] for row in group} - {None}) > 1
        for row in group
        if row["task_s"] is not None
    ]
    if several:
        made.append(by_length(several, style, others, width))
    videos = [row for row in rows if row.get("kind") == ANIMOTO]
    if videos:
        made.append(by_minutes(videos, style, others, width))
    return made


def idle_s(row: Row) -> float | None:
    """How long a slot did no task, on average: the makespan without the tasks' own time, in seconds."""
    wall_s, ideal_s = row.get("wall_s"), row.get("ideal_s")
    return None if wall_s is None or ideal_s is None else max(0.0, wall_s - ideal_s / lanes(row))


def task_length(seconds: float) -> str:
    """For people: `10 s`, `10 ms`, `0 s`."""
    if 0 < seconds < 1:
        return f"{seconds * 1e3:.4g} ms"
    return f"{seconds:.4g} s"


def _repeated(groups: Sequence[Sequence[Row]]) -> str:
    most = max(len(group) for group in groups)
    return f"; median of {most} runs ± largest deviation" if most > 1 else ""


def _telling(groups: Sequence[Sequence[Row]], key: str) -> Iterator[Column]:
    """A column for each thing that alone tells rows with as many workers, and the same `key`, apart."""
    alike = by_values((group[0] for group in groups), key, "workers").values()
    for each in (
        name("experiment", "experiment"),
        number("slots", "slots"),
        number("processes", "processes"),
    ):
        if any(len({each.of(row) for row in rows}) > 1 for rows in alike):
            yield each


def _published(
    groups: Sequence[Sequence[Row]], others: Iterable[Reference], of: Callable[[Row, Reference], str]
) -> Iterator[Column]:
    """A column for each other system that has a figure for one of these rows."""
    for other in others:

        def value(row: Row, other: Reference = other) -> str:
            return of(row, other) if is_comparable(row) else ""

        if any(value(group[0]) for group in groups):
            yield Column(other.system.replace(", ", "\n"), value, partial(_first, value))


def _first(value: Callable[[Row], str], rows: Sequence[Row]) -> str:
    return value(rows[0])


def _rival(row: Row, other: Reference) -> str:
    """Its tasks a second where tasks take no time, and its efficiency where they do."""
    if row["task_s"] == 0:
        per_s = other.tasks_per_s.get(row["workers"])
        return "" if per_s is None else f"{rounded(per_s)}/s"
    percent = other.efficiency_percent.get(row["task_s"], {}).get(row["workers"])
    return "" if percent is None else f"{percent:g}%"


def _their_minutes(row: Row, other: Reference) -> str:
    minutes = other.minutes.get(row.get("kind", ""), {}).get(row["tasks"], {}).get(row["workers"])
    return "" if minutes is None else rounded(minutes)


def _speedup(groups: Sequence[Sequence[Row]]) -> Column:
    """Over the fewest workers with as many tasks, where there are others with as many."""
    times_s: dict[int, dict[int, list[float]]] = {}
    for row in (row for group in groups for row in group):
        if row.get("wall_s"):
            times_s.setdefault(row["tasks"], {}).setdefault(row["workers"], []).append(row["wall_s"])
    base_s = {tasks: median(by[min(by)]) for tasks, by in times_s.items() if len(by) > 1}

    def of(row: Row) -> float | None:
        return base_s[row["tasks"]] / row["wall_s"] if row["tasks"] in base_s and row.get("wall_s") else None

    return measured("speed-up", of)


_LENGTHS: Final = (
    Column(
        "task",
        lambda row: row["task_s"],
        lambda rows: task_length(rows[0]["task_s"]),
        is_name=True,
    ),
    number("workers", "workers"),
    number("tasks", "tasks"),
    figure("time\n(s)", "wall_s"),
    measured("idle\n(s)", idle_s),
    figure("efficiency\n(%)", "efficiency", 100.0),
    figure("tasks/s", "tasks_per_s"),
)
