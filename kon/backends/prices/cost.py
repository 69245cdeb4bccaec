"""From what was billed to what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from kon.backends.prices.prices import Prices

_MILLION: Final = 1e6
_HOUR_S: Final = 3600.0


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
