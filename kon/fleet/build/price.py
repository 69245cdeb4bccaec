"""The most that a fleet can cost until its hosts end themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kon.backends.prices import Prices
from kon.fleet.build.wanted import Wanted

_MONTH_H: Final = 730.0


class Price(msgspec.Struct, frozen=True):
    """most_usd: what all hosts cost at most within `hours`; None where a type has no price.

    Spot hosts count at the price on demand, which they never pass. parts: what was counted, in words.
    unknown: types without a price.
    """

    hours: float
    hour_usd: float | None
    most_usd: float | None
    parts: str
    unknown: list[str]


def price_of(
    wanted: Wanted,
    prices: Prices,
    hosts: int,
    hours: float,
    disk_gb: int,
    types: Mapping[str, Mapping[str, Any]],
) -> Price:
    """The dearest of the types counts. types: as EC2 describes them."""
    unknown = [each for each in wanted.types if each not in prices.ec2.hour]
    disk_usd = disk_gb * prices.ec2.disk_gb_month / _MONTH_H
    address_usd = prices.ec2.ipv4_hour if wanted.public_ip else 0.0
    surplus_usd = max(
        prices.ec2.surplus_hour(name) * about["VCpuInfo"]["DefaultVCpus"]
        if wanted.cpu_credits == "unlimited" and about.get("BurstablePerformanceSupported")
        else 0.0
        for name, about in types.items()
    )
    parts = [f"disks of {disk_gb} GB"]
    parts += ["public addresses"] if address_usd else []
    parts += ["CPU credits"] if surplus_usd else []
    counted = (
        f"with {', '.join(parts)}; prices of {prices.region}, {prices.date}; without requests and traffic"
    )
    if unknown:
        return Price(hours, None, None, counted, unknown)
    hour_usd = max(prices.ec2.hour[each] for each in wanted.types) + disk_usd + address_usd + surplus_usd
    return Price(hours, hour_usd * hosts, hour_usd * hosts * hours, counted, [])
