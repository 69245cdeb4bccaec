"""Prices, and those that come with kon.

`kon.experiment.load` reads a file of the user's own, and says what is wrong with its line.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from kon.backends.sim.model import AboveZero, Count, Figure, Seconds, Share
from kon.core.errors import ConfigurationError, did_you_mean

FILE: Final = Path(__file__).parent / "us-east-1-2026.yml"

_MILLION: Final = 1e6
_HOUR_S: Final = 3600.0

Usd = Seconds
"""A price: 0 or more."""


class Sqs(Figure, frozen=True):
    """request_bytes: of one request; a larger call counts as several."""

    standard_per_million: Usd
    fifo_per_million: Usd
    request_bytes: Count


class DynamoDb(Figure, frozen=True):
    """write_unit_bytes: of one unit; a larger item counts as several.

    provisioned_...: an hour of a unit a second, whether it is used or not.
    """

    write_units_per_million: Usd
    read_units_per_million: Usd
    write_unit_bytes: Count
    provisioned_write_unit_hour: Usd
    provisioned_read_unit_hour: Usd


class S3(Figure, frozen=True):
    puts_per_million: Usd
    gets_per_million: Usd


class Traffic(Figure, frozen=True):
    """out_per_gb: of what leaves AWS, by 10^9 bytes; within a region, and into it, nothing is charged."""

    out_per_gb: Usd


class Ec2(Figure, frozen=True):
    """hour: of one host on demand, by its type. least_s: the shortest time that is charged.

    surplus_vcpu_hour: of a burstable host's vCPU, for what it uses beyond its baseline; surplus: of families
    that have a price of their own. spot_share: of the price on demand.
    ipv4_hour: of a public address. disk_gb_month: of a gp3 disk, by the GB and month.
    """

    hour: dict[str, AboveZero]
    surplus_vcpu_hour: Usd
    spot_share: Share
    least_s: Seconds
    surplus: dict[str, Usd] = msgspec.field(default_factory=dict)
    ipv4_hour: Usd = 0.005
    disk_gb_month: Usd = 0.08

    def surplus_hour(self, instance: str) -> float:
        """Price of a vCPU's hour beyond the baseline, for an instance type."""
        return self.surplus.get(instance.partition(".")[0], self.surplus_vcpu_hour)


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """date: when they were looked up. region: of AWS, where they hold. currency: USD is the only one."""

    date: str
    region: str
    currency: str
    sqs: Sqs
    dynamodb: DynamoDb
    s3: S3
    traffic: Traffic
    ec2: Ec2

    @property
    def label(self) -> str:
        """What stands next to every amount."""
        return f"prices of {self.region}, {self.date}"

    def hour(self, instance: str) -> float:
        """What a host of this type costs an hour. Raises ConfigurationError where nobody says."""
        price = self.ec2.hour.get(instance)
        if price is None:
            raise ConfigurationError(
                f'there is no price for the instance "{instance}"{did_you_mean(instance, self.ec2.hour)} '
                f"(there is for: {', '.join(self.ec2.hour)})"
            )
        return price


@functools.cache
def usual_prices() -> Prices:
    """Those that come with kon; a test sees to it that their file is whole."""
    import yaml  # most runs cost nothing, and need not wait for it

    given = yaml.load(FILE.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    return msgspec.convert(given, Prices, strict=False)


class Provisioned(msgspec.Struct, frozen=True):
    """A table that is paid by the hour: units a second, and for how long, in seconds."""

    read: float
    write: float
    for_s: float


def cost_of_requests(
    billed: Mapping[str, float], prices: Prices, provisioned: Provisioned | None = None
) -> dict[str, float]:
    """US dollars by service, for what was billed (the names are `RequestCount`'s).

    provisioned: then the table costs that, each begun hour of it, and its requests nothing.
    """

    def of(what: str) -> float:
        return billed.get(what, 0.0)

    rates = prices.dynamodb
    if provisioned is None:
        units = of("dynamodb.write_units") * rates.write_units_per_million
        units += of("dynamodb.read_units") * rates.read_units_per_million
        table = units / _MILLION
    else:
        hourly = provisioned.write * rates.provisioned_write_unit_hour
        hourly += provisioned.read * rates.provisioned_read_unit_hour
        table = hourly * max(1, math.ceil(provisioned.for_s / _HOUR_S))
    queues = of("sqs.requests") * prices.sqs.standard_per_million
    queues += of("sqs.fifo_requests") * prices.sqs.fifo_per_million
    objects = of("s3.put_requests") * prices.s3.puts_per_million
    objects += of("s3.get_requests") * prices.s3.gets_per_million
    return {"SQS": queues / _MILLION, "DynamoDB": table, "S3": objects / _MILLION}
