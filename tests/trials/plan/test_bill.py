"""From use to dollars, by prices that are known."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kon.backends.prices import FILE, usual_prices
from kon.backends.sim.model import Instance
from kon.core.errors import ConfigurationError
from kon.experiment.load import read_prices
from kon.trials.plan.bill import Use, bill

PRICES = read_prices()
MICRO = Instance(vcpus=2, speed=1.0, baseline_share=0.1)

NOTHING = Use(calls={}, items={}, messages=0, message_bytes=0, hosts=0, host_s=0, cpu_s=0)


def usd(use: Use, service: str, *, fifo: bool = False, spot: bool = False) -> float:
    return bill(use, PRICES, "t3.micro", MICRO, fifo=fifo, spot=spot)[service]


def test_nothing_costs_nothing() -> None:
    assert sum(bill(NOTHING, PRICES, "t3.micro", MICRO, fifo=False, spot=False).values()) == 0


def test_requests_of_queues() -> None:
    use = msgspec.structs.replace(NOTHING, calls={"tasks queue.send": 1e6, "answers queue.ack": 1e6})
    assert usd(use, "SQS") == pytest.approx(0.80)
    assert usd(use, "SQS", fifo=True) == pytest.approx(0.90)  # the answers' queue never is one


def test_each_64_kb_of_messages_is_a_request() -> None:
    calls = {"tasks queue.send": 100.0, "tasks queue.receive": 100.0, "tasks queue.ack": 100.0}
    use = msgspec.structs.replace(NOTHING, calls=calls, messages=1_000, message_bytes=65_536)
    assert usd(use, "SQS") == pytest.approx((1_000 + 1_000 + 100) * 0.40 / 1e6)


def test_units_of_tables() -> None:
    items = {"ledger ledger.insert_new": 1e6, "ledger ledger.read": 1e6, "control ledger.put": 1e6}
    assert usd(msgspec.structs.replace(NOTHING, items=items), "DynamoDB") == pytest.approx(2 * 0.625 + 0.0625)


def test_hosts_by_the_second_with_a_minute_at_least_and_spot_for_less() -> None:
    hour = msgspec.structs.replace(NOTHING, hosts=10, host_s=3_600)
    assert usd(hour, "EC2") == pytest.approx(0.104)
    assert usd(hour, "EC2", spot=True) == pytest.approx(0.104 * PRICES.ec2.spot_share)
    short = msgspec.structs.replace(NOTHING, hosts=10, host_s=5)
    assert usd(short, "EC2") == pytest.approx(0.104 / 60)


def test_a_burstable_host_that_works_hard_costs_more() -> None:
    # half of both vCPUs for an hour: 0.4 of each beyond the baseline
    busy = msgspec.structs.replace(NOTHING, hosts=1, host_s=3_600, cpu_s=3_600)
    assert usd(busy, "EC2") == pytest.approx(0.0104 + 2 * 0.4 * 0.05)


def test_an_instance_without_a_price() -> None:
    with pytest.raises(
        ConfigurationError, match=r'no price for the instance "t3\.micr", did you mean "t3\.micro"'
    ):
        bill(NOTHING, PRICES, "t3.micr", MICRO, fifo=False, spot=False)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("  gets_per_million: 0.40\n", "", 's3: missing key "gets_per_million"'),
        ("fifo_per_million: 0.50", "fifo_per_million: -1", "expected a number of at least 0, found -1"),
        ("spot_share: 0.35", "spot_share: 35", "spot_share: expected a number from 0 to 1, found 35"),
        ("t2.micro: 0.0116", "t2.micro: free", 'expected a number above 0, found "free"'),
        ("out_per_gb: 0.09", "out_per_gb: cheap", 'expected a number of at least 0, found "cheap"'),
        ("currency: USD", "currency: EUR", 'currency: expected "USD", found "EUR"'),
        ("ec2:", "ecs:", 'unknown key "ecs", did you mean "ec2"?'),
    ],
)
def test_wrong_prices(tmp_path: Path, old: str, new: str, text: str) -> None:
    path = tmp_path / "prices.yml"
    given = FILE.read_text()
    assert old in given
    path.write_text(given.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as caught:
        read_prices(path)
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")


def test_those_that_come_with_kon_are_whole() -> None:
    assert usual_prices() == PRICES
    assert PRICES.label == f"prices of us-east-1, {PRICES.date}"
