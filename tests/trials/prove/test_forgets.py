"""A client that crashes and loses the end of its records: what is missing is read back from the ledger."""

from __future__ import annotations

import pytest

from kon.backends.sim.trace import Trace
from kon.core.spec import Plugin
from kon.trials.prove.classes import fault_class
from kon.trials.prove.drawn import SCENARIO, scenario_of
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Invariant
from tests.trials.prove import ablations as off

LEASE = Plugin("lease")


def forgotten(seed: int) -> tuple[bool, set[Invariant]]:
    """Whether records were lost under this seed, and what broke."""
    trace = Trace()
    played = play(scenario_of(SCENARIO, LEASE, fault_class("client_crash"), seed), seed, trace=trace)
    told = any(step.op == "loses the last of its records" for step in trace.steps)
    return told, {each.invariant for each in played.breaks}


def test_nothing_is_lost_with_the_end_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(4, 34, 5)
    assert sum(forgotten(seed)[0] for seed in seeds) > 2
    assert not any(forgotten(seed)[1] for seed in seeds)
    off.reads_nothing_back(monkeypatch)
    assert any(Invariant.NOTHING_LOST in forgotten(seed)[1] for seed in seeds)


@pytest.mark.parametrize(
    ("strategy", "forgets"),
    [
        (LEASE, True),
        (Plugin("result_once"), True),
        (Plugin("read_then_write", {"record": "after"}), True),
        (Plugin("read_then_write", {"record": "before"}), False),
        (Plugin("none"), False),
        (Plugin("conditional_put"), False),
    ],
    ids=str,
)
def test_records_are_lost_only_where_the_ledger_has_outcomes(strategy: Plugin, forgets: bool) -> None:
    assert scenario_of(SCENARIO, strategy, fault_class("all"), 4).forgets == forgets
    assert not scenario_of(SCENARIO, strategy, fault_class("all"), 5).forgets
