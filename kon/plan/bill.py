"""From what a run uses to what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from kon.prices import Prices, cost_of_requests
from kon.sim.fleet import STALE_READ_UNITS
from kon.sim.model import Instance

HOUR_S: Final = 3600.0

_WRITES: Final = frozenset({"insert_new", "replace", "put", "delete"})


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
    requests = cost_of_requests(billed(use, prices, fifo=fifo), prices)
    return {**requests, "EC2": _ec2(use, prices, instance, type_, spot)}


def billed(use: Use, prices: Prices, *, fifo: bool) -> dict[str, float]:
    """What is billed of its requests, by the names that a backend has for it (`RequestCount`)."""
    writes, reads = _units(use)
    return {
        "sqs.fifo_requests" if fifo else "sqs.requests": _sqs_requests(use, prices.sqs.request_bytes),
        "dynamodb.write_units": writes,
        "dynamodb.read_units": reads,
        "s3.put_requests": sum(calls for name, calls in use.calls.items() if name.endswith("objects.put")),
        "s3.get_requests": sum(calls for name, calls in use.calls.items() if name.endswith("objects.get")),
    }


def _sqs_requests(use: Use, request_bytes: int) -> float:
    """Calls, and where their messages are large what these count as."""
    total = 0.0
    for name, calls in use.calls.items():
        service, call = name.split()
        if call.startswith("queue."):
            carries = service == "tasks" and call in ("queue.send", "queue.receive")
            parts = use.messages * use.message_bytes / request_bytes if carries else 0.0
            total += max(calls, parts)
    return total


def _units(use: Use) -> tuple[float, float]:
    """Of the tables: written, and read."""
    writes = reads = 0.0
    for name, items in use.items.items():
        kind, _, op = name.split()[1].partition(".")
        if kind == "ledger" and op in _WRITES:
            writes += items
        elif kind == "ledger":
            reads += items * STALE_READ_UNITS
    return writes, reads


def _ec2(use: Use, prices: Prices, instance: str, type_: Instance, spot: bool) -> float:
    hours = use.hosts * max(use.host_s, prices.ec2.least_s) / HOUR_S
    price = prices.hour(instance) * (prices.ec2.spot_share if spot else 1.0)
    vcpu_hours = hours * type_.vcpus
    used_share = use.cpu_s / HOUR_S / vcpu_hours if vcpu_hours else 0.0
    surplus = max(0.0, min(used_share, 1.0) - type_.baseline_share) * vcpu_hours
    return hours * price + surplus * prices.ec2.surplus_vcpu_hour
