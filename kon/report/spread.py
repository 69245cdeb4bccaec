"""Whether two sets of repeats differ, or their spread hides it.

The rule: where there are repeats enough for it, the exact two-sided Mann-Whitney U test (H. B. Mann and
D. R. Whitney, Annals of Mathematical Statistics 18, 1947; ties by midranks and the permutation distribution,
as in E. L. Lehmann, Nonparametrics, 1975) at 5 %. That takes 4 and 4 repeats, or 3 and 5: with 3 and 3
there are only 20 ways to share them out, so that no outcome is rarer than 10 %. With fewer, ranges that
overlap say that no difference shows, and ranges that don't are told as just that.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from math import comb
from typing import Final

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
