"""The CloudKon experiment: the older systems' loop is simulated as fast as they were; the page is filled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.cloudkon import PAGE, one_call_per_step
from benchmarks.published import A_REMOTE
from kon.experiment import load
from kon.experiment.load import read_prices
from kon.trials.plan.forecast import Forecaster, Setting

FILE = Path(__file__).parents[3] / "workloads" / "cloudkon-2014.yml"


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_one_call_for_each_step_is_as_fast_as_was_measured(workers: int) -> None:
    tasks_per_s = workers * 40 / one_call_per_step(workers, 40, 0.0)
    assert tasks_per_s == pytest.approx(A_REMOTE.tasks_per_s[workers], rel=0.2)


def test_batches_make_ten_times_as_much_of_the_same_services() -> None:
    [batched] = [each for each in load(FILE) if each.name == "sleep0-batched"]
    [cell] = [cell for cell in batched.cells() if cell.spec.workers == 16]
    result = Forecaster(read_prices()).forecast(cell, Setting(16, "t3.micro"))
    assert result.tasks_per_s > 10 * A_REMOTE.tasks_per_s[16]


def test_the_page_has_its_tables() -> None:
    tables = re.findall(r"<!-- (\w+) -->\n(.*?)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in tables] == ["throughput", "efficiency", "beyond", "uneven"]
    for _, table in tables:
        assert len(table.splitlines()) >= 5
