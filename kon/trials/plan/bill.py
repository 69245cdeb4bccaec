"""From what a run uses to what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from kon.backends.prices import Prices, cost_of_requests
from kon.backends.sim.model import Instance
from kon.launch.simulated.billing import billed

HOUR_S: Final = 3600.0


class Use(msgspec.Struct, frozen=True):
    """What a run uses.

    calls, items: by service and call, such as "tasks queue.send"; they need not be whole, being estimates.
    messages, message_bytes: of the task queue. hosts, host_s: how many, and how long each is up.
    cpu_s: of all hosts together.
    """

    calls: Mapping[str, float]
    items: Mapping[str, float]
    messages: float
    message_bytes: float
    hosts: int
    host_s: float
    cpu_s: float


def bill(
    use: Use, prices: Prices, instance: str, type_: Instance, *, fifo: bool, spot: bool
) -> dict[str, float]:
    """US dollars by service. Raises ConfigurationError for an instance without a price."""
    units = billed(
        use.calls,
        use.items,
        message_bytes=use.messages * use.message_bytes,
        request_bytes=prices.sqs.request_bytes,
        fifo=fifo,
    )
    return {**cost_of_requests(units, prices), "EC2": _ec2(use, prices, instance, type_, spot)}


def _ec2(use: Use, prices: Prices, instance: str, type_: Instance, spot: bool) -> float:
    hours = use.hosts * max(use.host_s, prices.ec2.least_s) / HOUR_S
    price = prices.hour(instance) * (prices.ec2.spot_share if spot else 1.0)
    vcpu_hours = hours * type_.vcpus
    used_share = use.cpu_s / HOUR_S / vcpu_hours if vcpu_hours else 0.0
    surplus = max(0.0, min(used_share, 1.0) - type_.baseline_share) * vcpu_hours
    return hours * price + surplus * prices.ec2.surplus_hour(instance)
