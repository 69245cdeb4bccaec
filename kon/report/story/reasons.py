"""Why strategies decide as they do, in words, from what the records say before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from kon.engine.records.events import Event


class Past(NamedTuple):
    """What had happened to a task when a strategy decided, at `now_s`; `at` writes a time for people.

    holder, claimed_s, held_s: who had claimed it last, when, and when that claim was last made or renewed,
    in seconds since the epoch. kept_by, kept_s: whose result was kept first. retried: whether an
    attempt before this one had failed.
    """

    at: Callable[[float], str]
    options: Mapping[str, Any]
    now_s: float = 0.0
    holder: str | None = None
    claimed_s: float = 0.0
    held_s: float = 0.0
    kept_by: str | None = None
    kept_s: float = 0.0
    retried: bool = False

    @property
    def lease_s(self) -> float:
        return float(self.options.get("lease_s", 30.0))

    @property
    def skew_s(self) -> float:
        return float(self.options.get("skew_s", 0.5))

    @property
    def until_s(self) -> float:
        """When the last claim's lease ended, or will: about, as it counts from before its call was made."""
        return self.held_s + self.lease_s

    @property
    def has_run_out(self) -> bool:
        return self.now_s > self.until_s + self.skew_s - 0.1 * self.lease_s

    @property
    def claim(self) -> str:
        return f"{self.holder} had claimed it at {self.at(self.claimed_s)}"

    @property
    def result(self) -> str:
        return f"kept by {self.kept_by} at {self.at(self.kept_s)}"


def reason(strategy: str, event: str, past: Past) -> str:
    """Why the strategy decided so; general words for a strategy that kon does not know."""
    known = _KNOWN.get(strategy, {}).get(event) or _ANY.get(event)
    return known(past) if known else ""


def _lease_claim(past: Past) -> str:
    if past.retried:
        return "the attempt before had failed, and its row in the ledger was free for the next one"
    if past.holder is None:
        return "no row of it was in the ledger: the insert was the first"
    if not past.has_run_out:
        return f"its row in the ledger was free: {past.claim}, and had given it back"
    return (
        f"takeover: {past.claim}; that lease, last written at {past.at(past.held_s)}, ran out at about "
        f"{past.at(past.until_s)}, and {past.skew_s:g} s more, for clocks that differ, had passed"
    )


def _lease_defer(past: Past) -> str:
    if past.holder is None:
        return "another holds a lease on it; it is looked at again when that has run out"
    return (
        f"{past.claim}, with a lease until about {past.at(past.until_s)}; it is looked at again when that "
        f"has passed, and {past.skew_s:g} s more for clocks that differ"
    )


def _lease_refuse(past: Past) -> str:
    if past.kept_by:
        return f"fenced: its row no longer had this claim's token; a result stood there, {past.result}"
    return f"fenced: its row no longer had this claim's token; {past.claim}"


def _has_result(past: Past) -> str:
    if past.kept_by:
        return f"the ledger had its result, {past.result}; it is answered again from there"
    return "the ledger had its result; it is answered again from there"


def _put_skip(past: Past) -> str:
    if past.holder is None:
        return "a row of it was in the ledger: somebody had claimed it"
    return f"a row of it was in the ledger: {past.claim}, and answers for it, or has lost it"


def _read_skip(past: Past) -> str:
    if past.options.get("record") == "before" and past.holder:
        return f"a row of it was in the ledger: {past.claim}"
    return _has_result(past)


def _read_claim(past: Past) -> str:
    if past.holder is None:
        return "no row of it was found in the ledger"
    return f"no row of it was found in the ledger, although {past.claim}: the write comes later than the look"


def _once_claim(past: Past) -> str:
    if past.holder is None:
        return "no result of it was in the ledger"
    return f"no result of it was in the ledger yet, although {past.claim}: only results are written"


def _once_refuse(past: Past) -> str:
    return f"another result stood in the ledger{', ' + past.result if past.kept_by else ''}"


_Words = Callable[[Past], str]

_KNOWN: Final[Mapping[str, Mapping[str, _Words]]] = {
    "none": {
        Event.CLAIM: lambda past: "the strategy none lets every delivery run",
        Event.KEEP: lambda past: "the strategy none keeps every result",
    },
    "lease": {
        Event.CLAIM: _lease_claim,
        Event.SKIP: _has_result,
        Event.DEFER: _lease_defer,
        Event.RENEW: lambda past: f"the lease holds until {past.at(past.until_s)}",
        Event.KEEP: lambda past: "its row still had this claim's token",
        Event.REFUSE: _lease_refuse,
    },
    "conditional_put": {
        Event.CLAIM: lambda past: "its insert into the ledger was the first",
        Event.SKIP: _put_skip,
        Event.KEEP: lambda past: "who has the claim need not ask again",
    },
    "read_then_write": {
        Event.CLAIM: _read_claim,
        Event.SKIP: _read_skip,
        Event.KEEP: lambda past: "the strategy writes without a condition",
    },
    "result_once": {
        Event.CLAIM: _once_claim,
        Event.SKIP: _has_result,
        Event.KEEP: lambda past: "no other result stood in the ledger",
        Event.REFUSE: _once_refuse,
    },
}

_ANY: Final[Mapping[str, _Words]] = {
    Event.CLAIM: lambda past: "the strategy let it run",
    Event.SKIP: lambda past: "the strategy says that it was done or begun before",
    Event.DEFER: lambda past: "the strategy says that another holds it",
    Event.REFUSE: lambda past: "the strategy refused the result: another's stands, or the claim was lost",
}
