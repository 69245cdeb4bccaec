"""Sums over calls, which `kon calibrate` fits a line and a distribution to."""

from __future__ import annotations

import math

import pytest

from kon.engine.patience import SHORTEST_S, Timing


def test_each_call_is_in_every_sum() -> None:
    timing = Timing()
    for items, took_s in ((2, 0.5), (3, 0.25), (1, 0.0)):
        timing.add(items, took_s)
    logs = [math.log(each) for each in (0.5, 0.25, SHORTEST_S)]
    assert timing.sums() == pytest.approx(
        {
            "calls": 3,
            "items": 6,
            "items2": 14,
            "item_s": 1.75,
            "log": sum(logs),
            "log2": sum(each * each for each in logs),
            "max_s": 0.5,
            "sum_s": 0.75,
        }
    )
