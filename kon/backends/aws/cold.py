"""Objects in cold storage: their states, how they are asked back, and the rule that moves them there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

import msgspec

from kon.backends.aws.calls import Calls
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.pace import side_by_side
from kon.core.errors import ConfigurationError

Tier = Literal["Expedited", "Standard", "Bulk"]

ColdState = Literal["here", "cold", "coming back", "here until"]

ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects can't be read as they are; those of GLACIER_IR can."""

MOST_RULES: Final = 1_000
"""Rules of one bucket's lifecycle."""

_AT_ONCE: Final = 100
_RESTORED: Final = re.compile(r'ongoing-request="(\w+)"(?:, *expiry-date="([^"]+)")?')
_UPLOADS: Final = "kon: unfinished uploads"


class ColdObject(msgspec.Struct, frozen=True):
    """An object. key: within its store. until: of a copy that is here for a while."""

    key: str
    size_bytes: int
    storage_class: str
    state: ColdState
    until: datetime | None = None


class ColdStore:
    """Objects under a prefix of a bucket, empty or ending with a slash."""

    def __init__(self, calls: Calls, bucket: str, prefix: str) -> None:
        self._calls = calls
        self._bucket = bucket
        self._prefix = prefix

    async def states(self, keys: Iterable[str] | None = None) -> AsyncIterator[ColdObject]:
        """All objects, or those of these keys that are there, in order of their names.

        Raises BackendRefused, BackendUnavailable.
        """
        wanted = None if keys is None else set(keys)
        last: dict[str, str] = {}
        while True:
            listed = await self._list(last)
            found = [
                each for each in listed if wanted is None or each["Key"].removeprefix(self._prefix) in wanted
            ]
            for start in range(0, len(found), _AT_ONCE):
                told: list[ColdObject | None] = [None] * len(found[start : start + _AT_ONCE])

                async def tell(at: int, each: Mapping[str, Any], into: list[ColdObject | None]) -> None:
                    into[at] = await self._state(each)

                await side_by_side(
                    [tell(at, each, told) for at, each in enumerate(found[start : start + _AT_ONCE])]
                )
                for each in told:
                    if each is not None:
                        yield each
            if not listed:
                return
            last = {"StartAfter": listed[-1]["Key"]}

    async def restore(self, key: str, days: int, tier: Tier) -> bool:
        """Ask an object back, for that many days; False where that was asked before, or it is not cold.

        Raises BackendRefused, BackendUnavailable, KeyError.
        """
        request = {"Days": days, "GlacierJobParameters": {"Tier": tier}}
        try:
            await self._calls.call(
                "s3", "RestoreObject", Bucket=self._bucket, Key=self._prefix + key, RestoreRequest=request
            )
        except CallRefused as error:
            if error.code in ("RestoreAlreadyInProgress", "ObjectAlreadyInActiveTierError"):
                return False
            if error.code == "NoSuchKey":
                raise KeyError(key) from error
            raise
        return True

    async def _list(self, last: dict[str, str]) -> list[Mapping[str, Any]]:
        try:
            reply = await self._calls.call(
                "s3", "ListObjectsV2", Bucket=self._bucket, Prefix=self._prefix, **last
            )
        except CallRefused as error:
            if error.code == "NoSuchBucket":
                return []
            raise
        found: list[Mapping[str, Any]] = reply.get("Contents", [])
        return found

    async def _state(self, listed: Mapping[str, Any]) -> ColdObject | None:
        """Only of what is archived has more to be asked than a list tells."""
        kind = listed.get("StorageClass", "STANDARD")
        if kind not in ARCHIVES:
            return ColdObject(listed["Key"].removeprefix(self._prefix), int(listed["Size"]), kind, "here")
        return await self.state_of(listed["Key"].removeprefix(self._prefix))

    async def state_of(self, key: str) -> ColdObject | None:
        """None for one that is not there."""
        try:
            head = await self._calls.call("s3", "HeadObject", Bucket=self._bucket, Key=self._prefix + key)
        except CallRefused as error:
            if error.status == 404:
                return None
            raise
        kind, size_bytes = head.get("StorageClass", "STANDARD"), int(head["ContentLength"])
        if kind not in ARCHIVES:
            return ColdObject(key, size_bytes, kind, "here")
        state, until = parse_restore(head.get("Restore"))
        return ColdObject(key, size_bytes, kind, state, until)


def parse_restore(header: str | None) -> tuple[ColdState, datetime | None]:
    """What an archived object's header x-amz-restore says."""
    found = None if header is None else _RESTORED.search(header)
    if found is None:
        return "cold", None
    if found[1] == "true":
        return "coming back", None
    return "here until", parsedate_to_datetime(found[2]) if found[2] else None


# --- the rule -------------------------------------------------------------------------------------------


def with_rules(
    before: Sequence[Mapping[str, Any]], prefix: str, cold_after_days: int | None, storage_class: str
) -> list[Mapping[str, Any]]:
    """A bucket's rules with those of one run. prefix: of what its kind stores. What others have made, other
    runs for one, stays as it is.

    Raises ConfigurationError for more than a bucket can have.
    """
    name = f"kon: cold {prefix}"
    rules = [each for each in before if each.get("ID") not in (_UPLOADS, name)]
    rules.append(
        {
            "ID": _UPLOADS,
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
    )
    if cold_after_days is not None:
        rules.append(
            {
                "ID": name,
                "Status": "Enabled",
                "Filter": {"Prefix": prefix},
                "Transitions": [{"Days": cold_after_days, "StorageClass": storage_class}],
            }
        )
    if len(rules) > MOST_RULES:
        raise ConfigurationError(
            f"results_cold_after_days: the bucket has rules for {MOST_RULES - 1} runs already, and can have "
            "no more; delete runs that are no longer needed (`kon down`), or take another prefix"
        )
    return rules


def rules_differ(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> bool:
    """Whatever their order."""
    key = lambda rule: str(rule.get("ID"))  # noqa: E731
    return sorted(before, key=key) != sorted(after, key=key)
