"""The options of the backend `aws`, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeGuard, get_args

import msgspec

from kon.core.backend import refuse_unknown
from kon.core.errors import ConfigurationError, did_you_mean

QueueType = Literal["standard", "fifo"]
LedgerType = Literal["dynamodb", "s3"]
Claims = Literal["batch", "single"]
Reads = Literal["strong", "eventual"]
ClientType = Literal["lean", "boto3"]
StorageClass = Literal["GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]

_PREFIX: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?")
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d+")
_OBJECTS: Final = re.compile(
    r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/((?:[\w.-]+/)*[\w.-]+)?/?)?", re.ASCII
)
_LONGEST_LINK_S: Final = 7 * 86_400  # Signature Version 4 takes no more


class Throughput(msgspec.Struct, frozen=True):
    """Provisioned capacity of a table, in units a second. The defaults are the older systems'."""

    read: int = 20
    write: int = 50


class AwsOptions(msgspec.Struct, frozen=True):
    """queue: `standard`, or `fifo`, which drops repeated sends for five minutes but takes fewer a second.

    ledger: where claims and results are kept: in a DynamoDB table, or as objects of S3.
    billing: None pays the table by the request; else its provisioned capacity.
    claims: `batch` writes up to 25 claims in one call, `single` makes a call for each.
    reads: the strategy's `strong` reads see every earlier write; `eventual` ones cost half, may be stale.
    prefix: what the names of all that kon makes begin with.
    region: where; None leaves that to boto3's own settings.
    receivers: receives of one queue that a worker has in flight, at most.
    link_expires_s: how long links to results are good for, in seconds.
    depth_lag_s: by how long SQS's counts of messages may lag, in seconds: for so long a queue must be empty
        before tasks count as lost. An emulator's counts do not lag.
    expires_h: hours after which what a run has made may be taken for forgotten (the tag ExpiresAt).
    results_cold_after_days: after so many days what kinds have stored is moved to cold storage; None: never.
    results_storage_class: to which. `kon restore` asks it back; from GLACIER_IR it can be read as it is.
    objects: `s3://BUCKET/PREFIX`, where kinds store what they make. Runs may share it; kon neither makes
        nor deletes it. None for a place of each run's own in kon's bucket.
    client: `lean` makes the hot calls of SQS and DynamoDB without boto3, `boto3` makes all with it.
    """

    queue: QueueType = "standard"
    ledger: LedgerType = "dynamodb"
    billing: Throughput | None = None
    claims: Claims = "batch"
    reads: Reads = "strong"
    prefix: str = "kon"
    region: str | None = None
    receivers: int = 4
    link_expires_s: float = 600.0
    depth_lag_s: float = 60.0
    expires_h: float = 24.0
    results_cold_after_days: int | None = None
    results_storage_class: StorageClass = "GLACIER"
    objects: str | None = None
    client: ClientType = "lean"

    @property
    def stored(self) -> tuple[str, str] | None:
        """The bucket of `objects`, and what its keys begin with: nothing, or what ends with a slash."""
        found = None if self.objects is None else _OBJECTS.fullmatch(self.objects)
        return None if found is None else (found[1], f"{found[2]}/" if found[2] else "")

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> AwsOptions:
        """Raises ConfigurationError for an option that there isn't, or a value that can't be used."""
        refuse_unknown("aws", options, cls.__struct_fields__)
        parsed = cls(**{name: _PARSERS[name](name, value) for name, value in options.items()})
        if parsed.objects is not None and parsed.results_cold_after_days is not None:
            raise ConfigurationError(
                "results_cold_after_days of aws: what is stored in a bucket of yours (`objects`) is moved by "
                "rules of that bucket's own; kon makes none there. Leave one of the two out"
            )
        return parsed


def _refused(name: str, expected: str, value: object, hint: str = "") -> ConfigurationError:
    return ConfigurationError(f'the option "{name}" of aws: expected {expected}, got {value!r}{hint}')


def _choice(name: str, value: object) -> str:
    known: tuple[str, ...] = get_args(_CHOICES[name])
    if isinstance(value, str) and value in known:
        return value
    raise _refused(name, " or ".join(map('"{}"'.format, known)), value, did_you_mean(str(value), known))


def _billing(name: str, value: object) -> Throughput | None:
    if value == "on_demand":
        return None
    if value == "provisioned":
        return Throughput()
    if isinstance(value, Throughput):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if key not in Throughput.__struct_fields__:
                hint = did_you_mean(str(key), Throughput.__struct_fields__)
                raise _refused(name, '"read" and "write" units', key, hint)
        return Throughput(**{key: _number(f"{name}.{key}", units) for key, units in value.items()})
    hint = did_you_mean(str(value), ("on_demand", "provisioned"))
    raise _refused(name, '"on_demand", "provisioned" or {read: 20, write: 50}', value, hint)


def _prefix(name: str, value: object) -> str:
    if isinstance(value, str) and _PREFIX.fullmatch(value):
        return value
    raise _refused(name, "1 to 20 small letters, digits and inner hyphens (a bucket's name has it)", value)


def _region(name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and _REGION.fullmatch(value)):
        return value
    raise _refused(name, "the name of a region, such as us-east-1", value)


def _objects(name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and _OBJECTS.fullmatch(value)):
        return value
    raise _refused(name, "a bucket and what its keys begin with, such as s3://my-bucket/pictures", value)


def _number(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise _refused(name, "a whole number, 1 or more", value)


def _days(name: str, value: object) -> int | None:
    if value is None:
        return None
    return _number(name, value)


def _receivers(name: str, value: object) -> int:
    number = _number(name, value)
    if number > 32:
        raise _refused(name, "1 to 32 receives", value)
    return number


def _link_expires_s(name: str, value: object) -> float:
    if _is_number(value) and 1 <= value <= _LONGEST_LINK_S:
        return float(value)
    raise _refused(name, f"1 to {_LONGEST_LINK_S:,} seconds (7 days)", value)


def _depth_lag_s(name: str, value: object) -> float:
    if _is_number(value) and 0 <= value < math.inf:
        return float(value)
    raise _refused(name, "seconds, 0 or more", value)


def _expires_h(name: str, value: object) -> float:
    if _is_number(value) and 0 < value < math.inf:
        return float(value)
    raise _refused(name, "hours, more than 0", value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


_CHOICES: Final[dict[str, Any]] = {
    "queue": QueueType,
    "ledger": LedgerType,
    "claims": Claims,
    "reads": Reads,
    "client": ClientType,
    "results_storage_class": StorageClass,
}

_PARSERS: Final[dict[str, Any]] = {
    **dict.fromkeys(_CHOICES, _choice),
    "billing": _billing,
    "prefix": _prefix,
    "region": _region,
    "receivers": _receivers,
    "link_expires_s": _link_expires_s,
    "depth_lag_s": _depth_lag_s,
    "expires_h": _expires_h,
    "results_cold_after_days": _days,
    "objects": _objects,
}
