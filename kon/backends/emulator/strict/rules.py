"""What a rule of Amazon's is, and the register of them.

A rule refuses a call before the emulator sees it, or changes the emulator's reply. Its state stands in the
`Account` that it is given; what is noted there is counted in calls, not in seconds, so that no test waits.
Example: a queue's name stays blocked for 60 seconds at Amazon, and for two calls of CreateQueue here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from kon.backends.emulator.strict.calls import Call, Refusal, Reply


class MadeThing(msgspec.Struct):
    """A queue, table, bucket or another thing that was made or deleted through the layer.

    left: calls for which something about it is not yet, or is still, so; by what that is.
    since_s: when it was made, by the monotonic clock, in seconds.
    """

    name: str
    tags: dict[str, str] = {}
    about: dict[str, Any] = {}
    left: Counter[str] = msgspec.field(default_factory=Counter)
    since_s: float = msgspec.field(default_factory=time.monotonic)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.since_s

    def still(self, what: str) -> bool:
        """Whether it is so for this call; each question uses up one."""
        if self.left[what] <= 0:
            return False
        self.left[what] -= 1
        return True


class Account(msgspec.Struct):
    """What the layer remembers. things: by kind and name. gone: deleted a moment ago. account_id: its owner.

    limits: what an account may have, where a test wants less than Amazon gives.
    """

    account_id: str
    things: dict[tuple[str, str], MadeThing] = {}
    gone: dict[tuple[str, str], MadeThing] = {}
    limits: dict[str, int] = {}
    calls: Counter[str] = msgspec.field(default_factory=Counter)

    def get(self, kind: str, name: str) -> MadeThing | None:
        return self.things.get((kind, name))

    def made(self, kind: str, name: str, **left: int) -> MadeThing:
        self.gone.pop((kind, name), None)
        thing = self.things[kind, name] = MadeThing(name, left=Counter(left))
        return thing

    def deleted(self, kind: str, name: str, **left: int) -> MadeThing:
        thing = self.things.pop((kind, name), None) or MadeThing(name)
        thing.left = Counter(left)
        self.gone[kind, name] = thing
        return thing

    def of(self, kind: str) -> list[MadeThing]:
        return [thing for (each, _), thing in self.things.items() if each == kind]

    def going(self, kind: str) -> list[MadeThing]:
        return [thing for (each, _), thing in self.gone.items() if each == kind]


Check = Callable[[Call, Account], Refusal | Reply | None]
Change = Callable[[Call, Account, Reply], Reply | None]


class Rule(msgspec.Struct, frozen=True):
    """name: as tests switch it. on: the calls it is about. says: condition and answer. source: public."""

    name: str
    on: tuple[str, ...]
    says: str
    source: str
    check: Check | None = None
    change: Change | None = None


RULES: Final[dict[str, Rule]] = {}
TRACKERS: Final[dict[str, list[Callable[[Call, Account, Reply], None]]]] = {}
"""What notes a call that went well, before the rules that change its reply."""


def refuses(*on: str, source: str) -> Callable[[Check], Check]:
    """A rule that refuses a call before it has any effect, or answers it without one. Its docstring is what
    the table says."""

    def register(check: Check) -> Check:
        rule = Rule(_name(check), on, " ".join((check.__doc__ or "").split()), source, check=check)
        RULES[rule.name] = rule
        return check

    return register


def changes(*on: str, source: str) -> Callable[[Change], Change]:
    """A rule that changes a reply: None leaves it. Its docstring is what the table says."""

    def register(change: Change) -> Change:
        rule = Rule(_name(change), on, " ".join((change.__doc__ or "").split()), source, change=change)
        RULES[rule.name] = rule
        return change

    return register


def tracks(
    *on: str,
) -> Callable[[Callable[[Call, Account, Reply], None]], Callable[[Call, Account, Reply], None]]:
    def register(track: Callable[[Call, Account, Reply], None]) -> Callable[[Call, Account, Reply], None]:
        for each in on:
            TRACKERS.setdefault(each, []).append(track)
        return track

    return register


def by_call(rules: Iterable[Rule]) -> Mapping[str, list[Rule]]:
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        for each in rule.on:
            found.setdefault(each, []).append(rule)
    return found


def _name(function: Callable[..., object]) -> str:
    return function.__name__.strip("_").replace("_", "-")
