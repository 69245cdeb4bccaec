"""Tasks of no length: how many go through in a second, beside peers that do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.experiment import Point, Record, Spread, Table, by_what, spread

NO_KNOB: Final = "no knob"
SINGLE: Final = "bundle 1, prefetch 10"
PACKINGS: Final[dict[str, dict[str, Any]]] = {
    NO_KNOB: {"bundle": None, "prefetch": None},
    "bundle 100": {"bundle": 100, "prefetch": 10},
    "bundle 10": {"bundle": 10, "prefetch": 100},
    "bundle 1, prefetch 1,000": {"bundle": 1, "prefetch": 1_000},
    SINGLE: {"bundle": 1, "prefetch": 10},
}
"""How tasks travel: as kon finds it, or as a file says: tasks in a message, and messages held ahead."""

Rounds = dict[int, dict[str, float]]
"""Tasks a second by round, and in each round by what was measured."""


def runs(name: str, tasks: int, settings: dict[str, Any]) -> list[Point]:
    """A run of kon's for each packing. What is meant for longer tasks gets a tenth of the tasks."""
    return [
        Point(
            f"{name}, {packing}",
            "benchmarks.runs:run",
            {"tasks": tasks // 10 if packing == SINGLE else tasks, **settings, **options},
        )
        for packing, options in PACKINGS.items()
    ]


def best_of(per_s: Rounds, system: str) -> dict[int, float]:
    """The best of a system's settings in each round."""
    return {
        number: max(value for what, value in values.items() if what.startswith(system))
        for number, values in per_s.items()
    }


def by_hand(per_s: Rounds, name: str) -> str:
    """A finding: the default file next to the best that a file with knobs gets."""
    ratio = over(per_s, f"{name}, {NO_KNOB}", best_of(per_s, f"{name}, bundle")).ratio()
    return f"{ratio} the best of bundle 1, 10 and 100, with a file without a knob (wanted: at least 0.8x)."


def over(per_s: Rounds, what: str, base: dict[int, float]) -> Spread:
    """How many times the base, round by round."""
    return spread(values[what] / base[number] for number, values in per_s.items())


def rates(records: Sequence[Record], per_s: Rounds, base: dict[int, float], of: str) -> Table:
    """What these records measured, each beside the base of its round."""
    cpu_us = by_what(records, "cpu_us_per_task")
    return Table(
        headers=("", of, "tasks/s", "lowest", "highest", "CPU, us a task"),
        rows=[
            (
                what,
                f"{over(per_s, what, base).median:.2f}",
                f"{found.median:,.0f}",
                f"{min(found.values):,.0f}",
                f"{max(found.values):,.0f}",
                f"{cpu_us[what].median:.1f}",
            )
            for what, found in by_what(records, "tasks_per_s").items()
        ],
    )


def size(records: Sequence[Record], system: str) -> int:
    """How many tasks a system was given."""
    return max(int(r.point.options["tasks"]) for r in records if r.point.what.startswith(system))
