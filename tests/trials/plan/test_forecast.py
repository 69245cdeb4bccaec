"""Forecasts: of runs that are simulated whole, and of larger ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kon.core.errors import ConfigurationError
from kon.experiment import Cell, loads
from kon.experiment.load import read_prices
from kon.trials.plan.forecast import Forecast, Forecaster, Setting
from kon.trials.plan.table import advise

PRICES = read_prices()


def cell(workload: str, more: str = "", backend: str = "sim") -> Cell:
    text = f"name: x\nbackend: {backend}\nworkload: {{kind: sleep, {workload}}}\n{more}\n"
    return loads(text, "x.yml", Path())[0].cells()[0]


def forecast(wanted: Cell, sample: int = 2_000, instance: str = "t3.micro", spot: bool = False) -> Forecast:
    return Forecaster(PRICES, sample).forecast(wanted, Setting(wanted.spec.workers, instance, spot))


@pytest.mark.parametrize(
    ("workload", "more", "sample"),
    [
        ("count: 12000, seconds: 0", "workers: 4\nstrategies: conditional_put\nbundle: 1", 2_000),
        pytest.param(
            "count: 400000, seconds: 0",
            "workers: 8\nstrategies: conditional_put",
            100_000,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "count: 6000, seconds: 0.02", "workers: 8\nstrategies: lease", 2_000, marks=pytest.mark.long
        ),
        pytest.param(
            "count: 100000, seconds: 0",
            "workers: 8\nstrategies: conditional_put\nbundle: 10",
            20_000,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_reckoned_is_what_a_whole_simulation_says(workload: str, more: str, sample: int) -> None:
    """The stated error: a tenth of the makespan, and of the bill."""
    within = 0.1
    wanted = cell(workload, more, "{name: sim, table: warm}")
    part, whole = forecast(wanted, sample), forecast(wanted, sample=1_000_000)
    assert part.simulated < part.tasks == whole.simulated
    assert part.work_s == pytest.approx(whole.work_s, rel=within)
    assert part.usd_by_service["SQS"] == pytest.approx(whole.usd_by_service["SQS"], rel=within)
    assert part.usd_by_service["DynamoDB"] == pytest.approx(whole.usd_by_service["DynamoDB"], rel=within)


@pytest.mark.long
def test_a_part_of_a_run_is_packed_as_the_whole_is() -> None:
    """At the end of a run messages shrink: from a part that was packed so, nothing follows for the whole."""
    large = forecast(cell("count: 1000000, seconds: 0.05", "workers: 32\nstrategies: conditional_put"))
    assert large.simulated < large.tasks
    assert 5 < large.tasks_per_message < 15


@pytest.mark.long
def test_a_part_of_a_fleet_stands_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    more = "workers: 64\nstrategies: conditional_put\nbundle: 5"
    for workload, backend in [("count: 8000, seconds: 0.1", "sim"), ("count: 40000, seconds: 0", "sim")]:
        wanted = cell(workload, more, backend)
        whole = forecast(wanted, sample=100_000)
        with monkeypatch.context() as patched:
            patched.setattr("kon.trials.plan.forecast.MOST_LANES", 16)
            part = forecast(wanted, sample=100_000)
        assert (part.parts, whole.parts) == (4, 1)
        assert part.work_s == pytest.approx(whole.work_s, rel=0.15)
        assert part.usd == pytest.approx(whole.usd, rel=0.1)


def test_one_call_for_each_step_costs_what_its_requests_do() -> None:
    """About $2 for a million tasks; full batches a tenth of that for the queues."""
    one = cell(
        "count: 2000, seconds: 0",
        "strategies: read_then_write\nprefetch: 0\nbundle: 1",
        "{name: sim, max_batch: 1}",
    )
    batched = cell("count: 2000, seconds: 0", "strategies: conditional_put\nbundle: 1")
    assert forecast(one).usd_by_service["SQS"] * 500 == pytest.approx(1.6, rel=0.5)
    assert forecast(batched).usd_by_service["SQS"] * 500 < 0.2
    assert forecast(batched).usd_by_service["DynamoDB"] * 500 == pytest.approx(0.625, rel=0.05)


def test_no_run_is_faster_than_its_tasks() -> None:
    result = forecast(
        cell("count: 100000, seconds: 0.001", "workers: 8\nbundle: 50", "{name: sim, table: warm}")
    )
    assert result.efficiency is not None
    assert 0.5 < result.efficiency <= 1.0


@pytest.mark.long
def test_a_table_that_is_full_takes_more_after_a_while() -> None:
    """Ten million writes at 4,000 a second take 2,500 s; after 1,800 s it is twice as many."""
    wanted = cell("count: 10000000, seconds: 0", "workers: 16\nstrategies: conditional_put\nbundle: 1")
    result = forecast(wanted, sample=10_000)
    assert "4,000 write units/s of the table ledger" in result.held_back_by
    assert 1_800 + 2_800_000 / 8_000 - 50 < result.work_s < 2_450


def test_a_warm_table_leaves_the_client() -> None:
    by_hand = "workers: 128\nbundle: 1\nprefetch: 10\nstrategies: conditional_put"
    wanted = cell("count: 20000, seconds: 0", by_hand, "{name: sim, table: warm}")
    assert "client" in forecast(wanted).held_back_by


def test_long_tasks_hold_themselves_back() -> None:
    result = forecast(cell("count: 640, seconds: 10", "workers: 16"))
    assert result.held_back_by == "the tasks themselves"
    assert result.makespan_s == pytest.approx(result.boot_s + result.work_s)
    assert result.boot_s > 30


def test_spot_hosts_cost_less_and_take_a_little_longer() -> None:
    wanted = cell("count: 160, seconds: 100", "workers: 16")
    forecaster = Forecaster(PRICES, 2_000)
    own = forecaster.forecast(wanted, Setting(16, "t3.micro"))
    spot = forecaster.forecast(wanted, Setting(16, "t3.micro", spot=True))
    assert spot.usd < own.usd
    assert spot.work_s > own.work_s
    assert spot.interruptions > 0


def test_what_differs_in_price_alone_is_simulated_once() -> None:
    wanted = cell("count: 500, seconds: 0.01", "workers: 2")
    forecaster = Forecaster(PRICES)
    one, other = (forecaster.forecast(wanted, Setting(2, each)) for each in ("t3.micro", "t4g.micro"))
    assert one.work_s == other.work_s
    assert one.usd != other.usd
    assert len(forecaster._reports) == 1
    forecaster.forecast(wanted, Setting(2, "c7i.large"))
    assert len(forecaster._reports) == 2


def test_an_instance_that_nobody_knows() -> None:
    with pytest.raises(ConfigurationError, match=r'the model "aws-us-east-1" has no "t3\.nano"'):
        forecast(cell("count: 5, seconds: 0"), instance="t3.nano")


# --- advice ------------------------------------------------------------------------------------------


def made(workers: int, makespan_s: float, usd: float) -> Forecast:
    some = forecast(cell("count: 2, seconds: 0"))
    return msgspec.structs.replace(some, setting=Setting(workers, "t3.micro"), makespan_s=makespan_s, usd=usd)


@pytest.mark.parametrize(
    ("deadline_s", "budget_usd", "workers", "meets"),
    [
        (None, None, 4, True),
        (150.0, None, 2, True),
        (1_000.0, None, 1, True),
        (5.0, None, 8, False),
        (None, 1.5, 2, True),
        (None, 0.5, 1, False),
        (150.0, 3.0, 2, True),
        (60.0, 1.0, 4, False),
    ],
)
def test_advice(deadline_s: float | None, budget_usd: float | None, workers: int, meets: bool) -> None:
    choices = [made(1, 300.0, 1.0), made(2, 140.0, 1.5), made(4, 50.0, 2.0), made(8, 45.0, 8.0)]
    advice = advise(choices, deadline_s, budget_usd)
    assert (advice.choice.setting.workers, advice.meets) == (workers, meets)
