"""Whether repeats differ: against tables of the test, and by the rule that is written down."""

from __future__ import annotations

import pytest

from kon.report.groups import SpreadVerdict, least_p, mann_whitney_p, verdict


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        ([1, 2, 3], [4, 5, 6], 0.1),
        ([1, 2, 3, 4], [5, 6, 7, 8], 2 / 70),
        ([1, 2, 3, 5], [4, 6, 7, 8], 4 / 70),
        ([1, 4, 5, 8], [2, 3, 6, 7], 1.0),
        ([1, 2, 3], [4, 5, 6, 7, 8], 2 / 56),
        # U = 2 of n = m = 5: P(U <= 2) = 4/252 in Mann and Whitney's table
        ([1, 2, 3, 4, 7], [5, 6, 8, 9, 10], 8 / 252),
        ([5, 5, 5, 5], [5, 5, 5, 5], 1.0),
    ],
)
def test_p_values(one: list[float], other: list[float], p: float) -> None:
    assert mann_whitney_p(one, other) == pytest.approx(p)
    assert mann_whitney_p(other, one) == pytest.approx(p)


def test_ties_share_their_ranks() -> None:
    # sums of midranks of 3 of 1, 2.5, 2.5, 4, 5, 6: 20 ways, by hand 6 as far from 10.5 as 1 + 2.5 + 4
    assert mann_whitney_p([1, 2, 3], [2, 4, 5]) == pytest.approx(6 / 20)


def test_the_smallest_p_value() -> None:
    assert least_p(3, 3) == 0.1
    assert least_p(4, 4) == pytest.approx(2 / 70)
    assert least_p(1, 1) == 1.0


def test_the_rule() -> None:
    assert verdict([1.0], [2.0]) is SpreadVerdict.CANNOT_TELL
    assert verdict([1.0], [2.0, 3.0, 4.0]) is SpreadVerdict.CANNOT_TELL
    assert verdict([1.0, 2.0, 3.0], [2.5, 4.0, 5.0]) is SpreadVerdict.HIDDEN
    assert verdict([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) is SpreadVerdict.APART
    assert verdict([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]) is SpreadVerdict.DIFFERENT
    assert verdict([1.0, 2.0, 3.0, 5.0], [4.0, 6.0, 7.0, 8.0]) is SpreadVerdict.HIDDEN, "p is 0.057"
