"""What AWS charges, from one dated file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from kon.errors import ConfigurationError
from kon.experiment.models import FOLDER, checked
from kon.experiment.yamltree import plain
from kon.sim.model import AboveZero, Count, Figure, Seconds, Share
from kon.suggest import did_you_mean

FILE: Final = FOLDER / "prices-2026.yml"

Usd = Seconds
"""A price: 0 or more."""


class Sqs(Figure, frozen=True):
    """request_bytes: of one request; a larger call counts as several."""

    standard_per_million: Usd
    fifo_per_million: Usd
    request_bytes: Count


class DynamoDb(Figure, frozen=True):
    write_units_per_million: Usd
    read_units_per_million: Usd
    write_unit_bytes: Count


class S3(Figure, frozen=True):
    puts_per_million: Usd
    gets_per_million: Usd


class Ec2(Figure, frozen=True):
    """hour: of one host on demand, by its type. least_s: the shortest time that is charged.

    surplus_vcpu_hour: of a burstable host's vCPU, for what it uses beyond its baseline.
    spot_share: of the price on demand.
    """

    hour: dict[str, AboveZero]
    surplus_vcpu_hour: Usd
    spot_share: Share
    least_s: Seconds


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    date: str
    region: str
    currency: str
    sqs: Sqs
    dynamodb: DynamoDb
    s3: S3
    ec2: Ec2

    def hour(self, instance: str) -> float:
        """What a host of this type costs an hour. Raises ConfigurationError where nobody says."""
        price = self.ec2.hour.get(instance)
        if price is None:
            raise ConfigurationError(
                f'there is no price for the instance "{instance}"{did_you_mean(instance, self.ec2.hour)} '
                f"(there is for: {', '.join(self.ec2.hour)})"
            )
        return price


def read_prices(path: Path = FILE) -> Prices:
    """Raises ConfigurationError with the place of what is wrong."""
    given: Any = plain(checked(path, Prices))
    return msgspec.convert(given, Prices)
