"""Each rule, met by kon: what it says is waited for, told or avoided, and never ends in a fault.

rules/ has a scenario for each; some are of several. It is looked at that each had its say: kon that took
such an answer for an error would fail here. Those that kon avoids are broken by hand as well.
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
    scenarios = {rule for _, rules in SCENARIOS.values() for rule in rules}
    assert RULES.keys() - scenarios == OF_FLEETS


LONG = {"a_run_with_many_objects_is_deleted"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in SCENARIOS]
)
def test_kon_lives_with_the_rules(on_ministack: Emulator, name: str) -> None:
    scenario, rules = SCENARIOS[name]
    bed = Bed(on_ministack)
    on_ministack.reset_strict()
    bed.set()
    try:
        asyncio.run(scenario(bed))
    finally:
        on_ministack.set_strict(STRICT)
    silent = rules - on_ministack.strict_state().met.keys()
    assert not silent, "these had no say: the scenario is not about them"
