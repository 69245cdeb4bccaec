"""Rows of the result table, sorted out: variants of a strategy named apart, repeats put together.

Two sets of repeats differ, or their spread hides it. Where there are repeats enough for it, the test is the
exact two-sided Mann-Whitney U test (H. B. Mann and D. R. Whitney, Annals of Mathematical
Statistics 18, 1947; ties by midranks and the permutation distribution, as in E. L. Lehmann, Nonparametrics,
1975) at 5 %. It takes 4 and 4 repeats, or 3 and 5: with 3 and 3 there are only 20 ways to share them out,
so that no outcome is rarer than 10 %. With fewer, ranges that overlap say that no difference shows, and
ranges that don't are told as just that.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from math import comb
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
    return list(by_values(rows, *_CELL).values())


def by_values(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """The rows by their values of these keys; None for one that a row lacks."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return groups


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


LEVEL: Final = 0.05
"""Significance level of each comparison by itself: one in twenty looks different without being so."""


class SpreadVerdict(enum.StrEnum):
    """What two sets of repeats say of each other."""

    DIFFERENT = "different"  # the test says so
    APART = "apart"  # no value of the one is among those of the other, but a test would take more repeats
    HIDDEN = "hidden"  # the spread of the repeats hides the difference, if there is any
    CANNOT_TELL = "cannot tell"  # there is one repeat of one of them, so that their spread is unknown


def verdict(one: Sequence[float], other: Sequence[float]) -> SpreadVerdict:
    if min(len(one), len(other)) < 2:
        return SpreadVerdict.CANNOT_TELL
    if least_p(len(one), len(other)) <= LEVEL:
        return SpreadVerdict.DIFFERENT if mann_whitney_p(one, other) <= LEVEL else SpreadVerdict.HIDDEN
    overlap = min(one) <= max(other) and min(other) <= max(one)
    return SpreadVerdict.HIDDEN if overlap else SpreadVerdict.APART


def least_p(one: int, other: int) -> float:
    """The smallest p value that these numbers of repeats can have, without ties."""
    return min(1.0, 2 / comb(one + other, one))


def mann_whitney_p(one: Sequence[float], other: Sequence[float]) -> float:
    """The exact two-sided p value: how often ranks shared out by chance lie as far from the middle.

    Takes about n**4 steps, for n repeats in all; there are never many.
    """
    ranks = _doubled_midranks([*one, *other])
    mine, rest = ranks[: len(one)], ranks[len(one) :]
    # by how many are chosen: the sums of their ranks, and the number of ways to get each
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter[int]() for _ in mine)]
    for rank in [*mine, *rest]:
        for chosen in range(len(mine), 0, -1):
            for total, count in ways[chosen - 1].items():
                ways[chosen][total + rank] += count
    all_ways = ways[len(mine)]
    middle_twice = len(mine) * (len(ranks) + 1) * 2  # twice the mean of the doubled sum, so a whole number
    off = abs(2 * sum(mine) - middle_twice)
    as_far = sum(count for total, count in all_ways.items() if abs(2 * total - middle_twice) >= off)
    return as_far / sum(all_ways.values())


def _doubled_midranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each, from 2; those that are equal share the mean of their ranks."""
    return [sum(v < x for v in values) * 2 + sum(v == x for v in values) + 1 for x in values]
