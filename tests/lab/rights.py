"""Who may do what in the lab: the documented rights (docs/security.md), enforced by both servers."""

from __future__ import annotations

import urllib.request
from typing import Any, Final

import msgspec

from kon.backends.aws.policies import policy
from kon.backends.emulator.strict import CONTROL, RULES, Settings, State

OPERATOR: Final = "operator"
"""An access key with the documented rights of who has a fleet."""

HOSTS: Final = "ASIALABLABLABLABLAB0"
"""The access key that hosts get from their metadata service, with the documented rights of workers."""


def rights(*more: dict[str, Any]) -> Settings:
    """Rights alone: that lists lag and things take their time is searched elsewhere. Other keys, as those of
    tests, may do all. more: policies of the operator."""
    operator = [policy("controller"), policy("client", "konf"), *more]
    return Settings(off=list(RULES), policies={OPERATOR: operator, HOSTS: [policy("worker", "konf")]})


def denied(url: str) -> list[str]:
    """The calls that a server has refused so far, as a right was missing, and who made them."""
    with urllib.request.urlopen(f"{url}{CONTROL}state", data=b"", timeout=60.0) as reply:
        state = msgspec.json.decode(reply.read(), type=State)
    return [f"{each.key_id}: {each.answer}" for each in state.calls if each.answer.startswith("denied")]
