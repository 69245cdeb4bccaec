"""Each rule, met by kon: what it says is waited for, told or avoided, and never ends in a fault.

rules/ has a scenario for each. Of most rules it is looked at that they had their say: kon that took such an
answer for an error would fail here. Those that kon avoids are broken by hand as well.
"""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from kon.backends.emulator import Emulator
from kon.backends.emulator.strict import RULES
from tests.backends.aws.rules import buckets, runs  # noqa: F401 - they register their scenarios
from tests.backends.aws.rules.bed import SCENARIOS, Bed
from tests.emulators import STRICT

OF_FLEETS: Final = {
    name for name, rule in RULES.items() if rule.on[0].startswith(("ec2:", "iam:", "sns:", "ssm:"))
}
"""Rules of what fleets are made of: tests/fleet has kon meet those, all together."""


def test_every_rule_has_its_scenario_or_its_test() -> None:
    assert RULES.keys() - SCENARIOS.keys() == OF_FLEETS


@pytest.mark.parametrize("rule", SCENARIOS)
def test_kon_lives_with_the_rule(on_ministack: Emulator, rule: str) -> None:
    bed = Bed(on_ministack)
    before = on_ministack.strict_state().met
    bed.set()
    try:
        asyncio.run(_whole(bed, rule))
    finally:
        on_ministack.set_strict(STRICT)
    met = on_ministack.strict_state().met.get(rule, 0) - before.get(rule, 0)
    assert met > 0, "the rule had no say: the scenario is not about it"


async def _whole(bed: Bed, rule: str) -> None:
    await SCENARIOS[rule](bed)
