"""The benchmark of `kon.Executor`: what its table makes of measurements."""

from __future__ import annotations

import pytest

from benchmarks.executor import HEADERS, POOL, Work, measure_rounds, nothing, rows


def test_ratios_are_of_one_round() -> None:
    work = Work("no-op", nothing, 100, 1)
    took = {"no-op": [{POOL: 1.0, "kon.Executor": 2.0}, {POOL: 3.0, "kon.Executor": 3.0}]}
    pool, kon = rows([work], took)
    assert pool == ("no-op", POOL, "50", "1.00", "1.00 to 1.00")
    assert kon == ("no-op", "kon.Executor", "40", "0.75", "0.50 to 1.00")
    assert len(kon) == len(HEADERS)


@pytest.mark.long
def test_every_program_does_every_call() -> None:
    work = Work("no-op", nothing, 8, 2)
    [took] = measure_rounds([work], 1)["no-op"]
    assert {POOL, "kon.Executor", "kon.Executor, memory"} <= set(took)
