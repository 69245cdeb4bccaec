"""Fixtures: a fleet as it is wanted, and what makes it, on an account of nobody's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kon.backends.prices import usual_prices
from kon.fleet.build import Wanted, Work
from kon.fleet.clients import Clients
from kon.fleet.sweep import look
from kon.fleet.thing import Filter
from tests.fleet.conftest import Account

KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqYl2cB3bDq0qk7m1dHqkBGvkMwpp4ycMMGa8vNRxpB konf-r1"  # of nobody's
)

IMAGE = "ami-12c6146b"
"""One of those that moto comes with."""

Maker = Callable[..., Work]


@pytest.fixture
def work(account: Account) -> Iterator[Maker]:
    """Makes the work of a fleet, whose wishes are those of the playbooks' defaults."""
    made: list[Clients] = []

    def make(dry: bool = False, now_s: Callable[[], float] = time.time, **wishes: Any) -> Work:
        said = {
            "fleet": "r1",
            "region": "us-east-1",
            "types": ["t3.micro"],
            "image_id": IMAGE,
            "public_key": KEY,
            "ssh_from": "203.0.113.7/32",
            **wishes,
        }
        aws = Clients(said["region"])
        made.append(aws)
        return Work(aws, Wanted(**said), dry=dry, now_s=now_s, sleep=lambda seconds: None)

    yield make
    for each in made:
        each.close()


ALL = {"own_network": True, "alarm_mail": "me@example.org", "dead_queues": ["konf-r1-a-dead"], "spot": True}
"""Wishes for all that a fleet can have."""

PRIVATE = "the private half, of nobody's"


def left() -> list[str]:
    """Kinds of what is there of the fleet."""
    return [each.kind for each in look(Filter("r1"), usual_prices(), ["us-east-1"]).things]


def changing(operation: str) -> bool:
    return not operation.startswith(("Describe", "List", "Get"))
