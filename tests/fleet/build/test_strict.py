"""A fleet under Amazon's own rules: what is made is listed late, and rights are the documented ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kon.backends.aws.policies import policy
from kon.backends.emulator import KEY_ID, Emulator, Settings, started
from kon.backends.prices import usual_prices
from kon.fleet.build import Wanted, Work, build
from kon.fleet.clients import Clients
from tests.fleet.build.conftest import IMAGE, KEY

RIGHTS = Settings(policies={KEY_ID: [policy("controller", "konf"), policy("client", "konf-r1")]})


@pytest.fixture
def amazon() -> Iterator[Emulator]:
    with started("moto", strict=RIGHTS) as emulator, emulator.in_use():
        yield emulator


@pytest.mark.parametrize("own_network", [False, True])
def test_the_controllers_rights_are_enough_and_lists_may_lag(amazon: Emulator, own_network: bool) -> None:
    wanted = Wanted(
        fleet="r1",
        region="us-east-1",
        types=["t3.micro"],
        image_id=IMAGE,
        public_key=KEY,
        ssh_from="203.0.113.7/32",
        own_network=own_network,
    )
    aws = Clients("us-east-1")
    try:
        _, made = build(Work(aws, wanted, sleep=lambda seconds: None), usual_prices())
        again = Work(aws, wanted, sleep=lambda seconds: None)
        _, more = build(again, usual_prices())
        assert made
        assert (more, again.changes) == ([], [])
    finally:
        aws.close()
