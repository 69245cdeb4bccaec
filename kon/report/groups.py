"""Rows of the result table, sorted out: variants of a strategy named apart, repeats put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kon.report.columns import Row

_CELL: Final = (
    "experiment",
    "backend",
    "label",
    "workers",
    "slots",
    "processes",
    "bundle",
    "prefetch",
    "kind",
    "task_s",
)
"""What rows that are repeats of each other have in common."""


def with_labels(rows: Sequence[Row]) -> list[Row]:
    """The rows, each with a `label` and, where it is known, `task_s`: how long a task takes by itself.

    The label is the strategy's name. Where it is there with several options, those that differ follow.
    """
    variants: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        variants.setdefault(row["strategy"], []).append(row.get("strategy_options", {}))
    labelled = []
    for row in rows:
        name, options = row["strategy"], row.get("strategy_options", {})
        apart = [f"{key}={options[key]}" for key in options if _tells_apart(key, options, variants[name])]
        labelled.append({**row, "label": " ".join([name, *apart]), "task_s": task_s(row)})
    return labelled


def repeats(rows: Iterable[Row]) -> list[list[Row]]:
    """Rows `with_labels`, in groups of those that are repeats of one another, in their order."""
    cells: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row.get(key) for key in _CELL), []).append(row)
    return list(cells.values())


def by_experiment(rows: Iterable[Row]) -> dict[str, list[Row]]:
    experiments: dict[str, list[Row]] = {}
    for row in rows:
        experiments.setdefault(row.get("experiment", ""), []).append(row)
    return experiments


def task_s(row: Row) -> float | None:
    """How long a task takes by itself, in seconds: the mean of all of a run, to six digits."""
    ideal_s = row.get("ideal_s")
    return None if ideal_s is None or not row["tasks"] else float(f"{ideal_s / row['tasks']:.6g}")


def lanes(row: Row) -> int:
    """Tasks that could run at once."""
    return int(row["workers"] * row["slots"] * row.get("processes", 1))


def per_worker(rows: Sequence[Row]) -> bool:
    """Whether the work grows with the number of workers."""
    first = rows[0]
    return all(row["tasks"] * first["workers"] == first["tasks"] * row["workers"] for row in rows)


def _tells_apart(key: str, options: dict[str, Any], variants: Sequence[dict[str, Any]]) -> bool:
    return any(key not in each or each[key] != options[key] for each in variants)
