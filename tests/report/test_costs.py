"""What runs cost, from what their records say was billed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from kon.backends.aws.billing import Meter
from kon.backends.prices import usual_prices
from kon.core.backend import Backend, RequestCount
from kon.core.spec import Plugin
from kon.engine.records.events import Event, spent
from kon.report.summary import cost_of, summarise
from tests.report.made import Records, spec

PRICES = usual_prices()


class Spender:
    """A backend that has been billed so much."""

    def __init__(self, **billed: float) -> None:
        self.requests = 3
        self.billed = billed


def row_of(records: Records) -> dict[str, Any]:
    return summarise(records.folder)


def test_clients_and_all_lives_of_workers_are_added_up(tmp_path: Path) -> None:
    records = Records(tmp_path, 1000)
    submitter = records.life("client")
    submitter.note(Event.OPEN)
    submitter.note(Event.USAGE, requests=10, billed={"sqs.requests": 10.0, "sqs.calls": 10.0})
    records.ran(1.0, 5.0, requests=7, billed={"sqs.requests": 7.0, "sqs.calls": 7.0, "bytes_in": 1e9})
    killed = records.life("w1.a")
    killed.note(Event.UP)
    killed.note(Event.USAGE, requests=2, billed={"dynamodb.write_units": 20.0, "dynamodb.calls": 2.0})
    killed.note(Event.USAGE, requests=4, billed={"dynamodb.write_units": 40.0, "dynamodb.calls": 4.0})
    killed.ends_mid_line()
    after = records.life("w1.b")
    after.note(Event.UP)
    after.note(Event.USAGE, requests=1, billed={"dynamodb.write_units": 5.0, "dynamodb.calls": 1.0})
    with pytest.warns(UserWarning, match="half a line"):
        row = row_of(records)
    assert row["requests_per_task"] == (10 + 7 + 4 + 1) / 1000
    assert row["requests_by_service"] == {"dynamodb": 5, "sqs": 17}
    assert row["billed"] == {"bytes_in": 1e9, "dynamodb.write_units": 45.0, "sqs.requests": 17.0}
    dollars = (17 * 0.40 + 45 * 0.625) / 1e6
    assert row["usd"] == pytest.approx(dollars, rel=1e-5)
    assert row["dollars_per_million_tasks"] == pytest.approx(dollars * 1000, rel=1e-5)
    assert row["prices"] == {"region": "us-east-1", "date": PRICES.date}


def test_a_run_of_which_nothing_is_billed_has_no_cost(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    records.ran(0.0, 1.0, requests=5)
    row = row_of(records)
    assert row["requests_per_task"] == 0.5
    assert not {"requests_by_service", "billed", "usd", "dollars_per_million_tasks", "prices"} & row.keys()


def test_several_lives_in_one_file(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    host = records.life("workers")
    for _ in range(2):
        host.note(Event.UP)
        host.note(Event.USAGE, requests=3, billed={"sqs.requests": 3.0})
    assert row_of(records)["billed"] == {"sqs.requests": 6.0}


@pytest.mark.parametrize(
    ("billed", "dollars"),
    [
        ({"sqs.requests": 1e6}, {"SQS": 0.40}),
        ({"sqs.fifo_requests": 1e6}, {"SQS": 0.50}),
        ({"dynamodb.write_units": 1e6}, {"DynamoDB": 0.625}),
        ({"dynamodb.read_units": 1e6}, {"DynamoDB": 0.125}),
        ({"s3.put_requests": 1e6}, {"S3": 5.0}),
        ({"s3.get_requests": 1e6}, {"S3": 0.40}),
        ({"sqs.calls": 1e6, "bytes_out": 1e9}, {}),
    ],
)
def test_each_price(billed: dict[str, float], dollars: dict[str, float]) -> None:
    cost = cost_of(spec(2_000_000), billed, 10.0, PRICES)
    assert cost.dollars == {"SQS": 0.0, "DynamoDB": 0.0, "S3": 0.0, **dollars}
    assert cost.dollars_in_all == pytest.approx(sum(dollars.values()))
    assert cost.dollars_per_million_tasks == pytest.approx(sum(dollars.values()) / 2)


def test_traffic_is_told_apart_as_it_may_be_free() -> None:
    cost = cost_of(spec(1), {"bytes_in": 2e9, "bytes_out": 3e9}, 10.0, PRICES)
    assert (cost.in_gb, cost.out_gb, cost.dollars_in_all) == (2.0, 3.0, 0.0)
    assert cost.traffic_dollars == pytest.approx(0.18)


@pytest.mark.parametrize(
    ("billing", "wall_s", "dollars"),
    [
        ("provisioned", 60.0, 50 * 0.00065 + 20 * 0.00013),
        ("provisioned", 3_601.0, 2 * (50 * 0.00065 + 20 * 0.00013)),
        ({"read": 1, "write": 100}, 60.0, 100 * 0.00065 + 0.00013),
        ("on_demand", 60.0, 1e6 * 0.625 / 1e6),
    ],
)
def test_a_table_with_provisioned_units_costs_by_the_hour(
    billing: Any, wall_s: float, dollars: float
) -> None:
    run = spec(1, backend=Plugin("aws", {"billing": billing}))
    assert cost_of(run, {"dynamodb.write_units": 1e6}, wall_s, PRICES).dollars_in_all == pytest.approx(
        dollars
    )


def test_units_of_a_ledger_on_s3_are_not_a_tables() -> None:
    run = spec(1, backend=Plugin("aws", {"billing": "provisioned", "ledger": "s3"}))
    assert cost_of(run, {}, 60.0, PRICES).dollars_in_all == 0.0


def test_a_request_is_as_large_as_those_that_are_counted() -> None:
    count = RequestCount()
    Meter(count).sent("sqs", "SendMessageBatch", False, "POST", PRICES.sqs.request_bytes)
    assert count.billed["sqs.requests"] == 1
    Meter(count).sent("sqs", "SendMessageBatch", False, "POST", PRICES.sqs.request_bytes + 1)
    assert count.billed["sqs.requests"] == 1 + 2


def test_what_a_process_says_of_itself() -> None:
    said = spent(cast(Backend, Spender(bytes_in=0.1 + 0.2)), 1.5)
    assert (said["cpu_s"], said["requests"], said["billed"]) == (1.5, 3, {"bytes_in": 0.3})
    assert "billed" not in spent(cast(Backend, Spender()), 0.0)
