"""Tasks of no length: how many go through in a second, beside peers that do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.experiment import Point, Record, Spread, Table, by_what, spread

DEFAULTS: Final = "bundle 1, prefetch 10"
PACKINGS: Final[dict[str, dict[str, Any]]] = {
    "bundle 100": {"bundle": 100},
    "bundle 1, prefetch 1,000": {"bundle": 1, "prefetch": 1_000},
    DEFAULTS: {"bundle": 1, "prefetch": 10},
}
"""How tasks travel: so many in a message, so many messages held ahead."""

Rounds = dict[int, dict[str, float]]
"""Tasks a second by round, and in each round by what was measured."""


def runs(name: str, tasks: int, settings: dict[str, Any]) -> list[Point]:
    """A run of kon's for each packing. The defaults, meant for longer tasks, get a tenth of the tasks."""
    return [
        Point(
            f"{name}, {packing}",
            "benchmarks.runs:run",
            {"tasks": tasks // 10 if packing == DEFAULTS else tasks, **settings, **options},
        )
        for packing, options in PACKINGS.items()
    ]


def best_of(per_s: Rounds, system: str) -> dict[int, float]:
    """The best of a system's settings in each round."""
    return {
        number: max(value for what, value in values.items() if what.startswith(system))
        for number, values in per_s.items()
    }


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
