"""What a run's requests cost, from what its records say was billed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kon.backends.prices import Prices, Provisioned, cost_of_requests
from kon.core.spec import RunSpec

_CALLS: Final = ".calls"


class Cost(msgspec.Struct, frozen=True):
    """requests: sent, by service, billed or not. billed: by what Amazon bills, as `RequestCount` has it.

    out_gb, in_gb: sent to Amazon and received from it, in 10^9 bytes.
    dollars: by service. traffic_dollars: what comes on top where client and workers are not in the region.
    """

    requests: dict[str, int]
    billed: dict[str, float]
    out_gb: float
    in_gb: float
    dollars: dict[str, float]
    traffic_dollars: float
    dollars_in_all: float
    dollars_per_million_tasks: float
    region: str
    date: str


def cost_of(spec: RunSpec, billed: Mapping[str, float], wall_s: float | None, prices: Prices) -> Cost:
    """wall_s: how long its table was up, where that is paid by the hour."""
    dollars = cost_of_requests(billed, prices, _provisioned(spec, wall_s))
    in_all = sum(dollars.values())
    in_gb = billed.get("bytes_in", 0.0) / 1e9
    return Cost(
        requests={
            name.removesuffix(_CALLS): round(billed[name]) for name in sorted(billed) if _is_calls(name)
        },
        billed={name: billed[name] for name in sorted(billed) if not _is_calls(name)},
        out_gb=billed.get("bytes_out", 0.0) / 1e9,
        in_gb=in_gb,
        dollars=dollars,
        traffic_dollars=in_gb * prices.traffic.out_per_gb,
        dollars_in_all=in_all,
        dollars_per_million_tasks=in_all * 1e6 / spec.tasks,
        region=prices.region,
        date=prices.date,
    )


def cost_columns(cost: Cost | None) -> dict[str, Any]:
    """What a run's row has of its cost: nothing where nothing was billed."""
    if cost is None:
        return {}
    return {
        "requests_by_service": cost.requests,
        "billed": cost.billed,
        "usd": float(f"{cost.dollars_in_all:.6g}"),
        "dollars_per_million_tasks": float(f"{cost.dollars_per_million_tasks:.6g}"),
        "prices": {"region": cost.region, "date": cost.date},
    }


def _is_calls(name: str) -> bool:
    return name.endswith(_CALLS)


def _provisioned(spec: RunSpec, wall_s: float | None) -> Provisioned | None:
    """The capacity that a run's table was given, where that is what it costs."""
    options = spec.backend.options
    if not options.get("billing") or options.get("ledger") == "s3":
        return None
    from kon.backends.aws.options import AwsOptions

    units = AwsOptions.parse(options).capacity
    return None if units is None else Provisioned(units.read, units.write, wall_s or 0.0)
