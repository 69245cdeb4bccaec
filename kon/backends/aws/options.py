"""The options of the backend `aws`, checked; the names and tags that they give the things of a run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from kon.core.options import OptionError, read_options

QueueType = Literal["standard", "fifo"]
LedgerType = Literal["dynamodb", "s3"]
Claims = Literal["batch", "single"]
Reads = Literal["strong", "eventual"]
ClientType = Literal["lean", "boto3"]
StorageClass = Literal["GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]

_OBJECTS: Final = re.compile(
    r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/((?:[\w.-]+/)*[\w.-]+)?/?)?", re.ASCII
)
_LONGEST_LINK_S: Final = 7 * 86_400  # Signature Version 4 takes no more


def _said(expected: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(extra={"expected": expected}, **bounds)


_Units = Annotated[int, _said("a whole number, 1 or more", ge=1)]
_Prefix = Annotated[
    str,
    _said(
        "1 to 20 small letters, digits and inner hyphens (a bucket's name has it)",
        pattern=r"^[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?\Z",
    ),
]
_Region = Annotated[
    str, _said("the name of a region, such as us-east-1", pattern=r"^[a-z]{2,8}(?:-[a-z]+)+-\d+\Z")
]
_Objects = Annotated[
    str,
    _said(
        "a bucket and what its keys begin with, such as s3://my-bucket/pictures",
        pattern=rf"^(?:{_OBJECTS.pattern})\Z",
    ),
]
_KmsKey = Annotated[
    str,
    _said(
        "the ARN of a key of KMS, its id, or alias/NAME",
        pattern=r"^(?:arn:aws[a-z-]*:kms:[A-Za-z0-9_:/-]+|alias/[A-Za-z0-9_/-]+|(?:mrk-)?[0-9a-f-]{32,36})\Z",
    ),
]
_LinkSeconds = Annotated[float, _said(f"1 to {_LONGEST_LINK_S:,} seconds (7 days)", ge=1, le=_LONGEST_LINK_S)]


class Throughput(msgspec.Struct, frozen=True):
    """Provisioned capacity of a table, in units a second. The defaults are the older systems'."""

    read: _Units = 20
    write: _Units = 50


class AwsOptions(msgspec.Struct, frozen=True):
    """Options of `aws`.

    queue: `standard`, or `fifo`, which drops repeated sends for five minutes but takes fewer a second.

    ledger: where claims and results are kept: in a DynamoDB table, or as objects of S3.
    billing: `on_demand` pays the table by the request, `provisioned` or {read: 20, write: 50} by capacity.
    claims: `batch` writes up to 25 claims in one call, `single` makes a call for each.
    reads: the strategy's `strong` reads see every earlier write; `eventual` ones cost half, may be stale.
    prefix: the beginning of the names of all that kon makes.
    region: where all is made; null leaves that to boto3's own settings.
    receivers: receives of one queue that a worker has in flight, at most.
    link_expires_s: how long links to results are good for, in seconds.
    depth_lag_s: by how long SQS's counts of messages may lag, in seconds: for so long a queue must be empty
        before tasks count as lost. An emulator's counts do not lag.
    expires_h: hours after which what a run has made may be taken for forgotten (the tag ExpiresAt).
    results_cold_after_days: days after which what kinds have stored is moved to cold storage; null: never.
    results_storage_class: the class of cold storage. `kon restore` asks it back; GLACIER_IR needs no asking.
    objects: `s3://BUCKET/PREFIX`, where kinds store what they make. Runs may share it; kon neither makes
        nor deletes it. null for a place of each run's own in kon's bucket.
    kms_key: the ARN, id or alias of a key of KMS that encrypts queues, table and bucket; null: Amazon's own.
    signed: messages, results and the run's description are signed with a key that is in the environment of
        client and workers (docs/security.md). Who has the key always signs; with `signed` a missing key is
        refused.
    client: `lean` makes the hot calls of SQS and DynamoDB without boto3, `boto3` makes all with it.
    """

    queue: QueueType = "standard"
    ledger: LedgerType = "dynamodb"
    billing: Literal["on_demand", "provisioned"] | Throughput = "on_demand"
    claims: Claims = "batch"
    reads: Reads = "strong"
    prefix: _Prefix = "kon"
    region: _Region | None = None
    receivers: Annotated[int, _said("1 to 32 receives, a whole number", ge=1, le=32)] = 4
    link_expires_s: _LinkSeconds = 600.0
    depth_lag_s: Annotated[float, _said("seconds, 0 or more", ge=0)] = 60.0
    expires_h: Annotated[float, _said("hours, more than 0", gt=0)] = 24.0
    results_cold_after_days: _Units | None = None
    results_storage_class: StorageClass = "GLACIER"
    objects: _Objects | None = None
    kms_key: _KmsKey | None = None
    signed: bool = False
    client: ClientType = "lean"

    @property
    def capacity(self) -> Throughput | None:
        """What the table is provisioned with; None where it is paid by the request."""
        if self.billing == "on_demand":
            return None
        return Throughput() if self.billing == "provisioned" else self.billing

    @property
    def stored(self) -> tuple[str, str] | None:
        """The bucket of `objects`, and what its keys begin with: nothing, or what ends with a slash."""
        found = None if self.objects is None else _OBJECTS.fullmatch(self.objects)
        return None if found is None else (found[1], f"{found[2]}/" if found[2] else "")

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> AwsOptions:
        """Raises OptionError for an option that there isn't, or a value that can't be used."""
        parsed = read_options("backend aws", options, cls)
        if parsed.objects is not None and parsed.results_cold_after_days is not None:
            raise OptionError(
                "results_cold_after_days of aws: what is stored in a bucket of yours (`objects`) is moved by "
                "rules of that bucket's own; kon makes none there. Leave one of the two out",
                "results_cold_after_days",
            )
        return parsed


QUEUE_NAME: Final = 80  # characters of a queue's name, at most
PROJECT: Final = "kon"
SHARED: Final = ":shared"
"""In place of a run, in the tags of the bucket: no run can be called that."""

OPTIONS_TAG: Final = "KonOptions"
"""On a queue of tasks: what the run was made with."""

EXPIRES: Final = "ExpiresAt"
"""When a thing may be taken for forgotten; such times sort as texts."""

_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_TAG: Final = re.compile(r"[^\w \-+=.:/@]")


class Names(msgspec.Struct, frozen=True):
    """What one run's things are called."""

    tasks: str
    answers: str
    dead: str
    table: str
    objects: str
    """What the keys of its objects begin with."""

    @property
    def stored(self) -> str:
        """What the keys of those objects begin with that the run's kind has stored."""
        return f"{self.objects}objects/"

    @property
    def queues(self) -> tuple[str, str, str]:
        return (self.tasks, self.answers, self.dead)


def names_of(run: str, options: AwsOptions) -> Names:
    """`<prefix>-<run>-tasks` and so on. A run's name that is too long or has signs that SQS does not
    take is cut, and told apart by a digest.

    Answers have a standard queue in any case: they report repeats themselves, and a FIFO queue is more
    expensive.
    """
    fifo = ".fifo" if options.queue == "fifo" else ""
    room = QUEUE_NAME - len(f"{options.prefix}--answers") - len(".fifo")
    stem = f"{options.prefix}-{_plain(run, room)}"
    return Names(
        tasks=f"{stem}-tasks{fifo}",
        answers=f"{stem}-answers",
        dead=f"{stem}-dead{fifo}",
        table=stem,
        objects=f"{_plain(run, room)}/",
    )


def bucket_name(options: AwsOptions, account: str, region: str) -> str:
    """One for all runs of a prefix: a bucket's name is taken in all the world, and not soon free again."""
    return f"{options.prefix}-{account}-{region}"


def tags_of(run: str, options: AwsOptions, now_s: float) -> dict[str, str]:
    """now_s: seconds since the epoch."""
    expires = datetime.fromtimestamp(now_s + options.expires_h * 3600.0, UTC)
    return {
        "Project": PROJECT,
        "Run": _NOT_IN_TAG.sub("_", run),
        EXPIRES: expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _plain(text: str, room: int) -> str:
    plain = _NOT_PLAIN.sub("-", text)
    if plain == text and len(text) <= room:
        return text
    return f"{plain[: room - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
