"""Queues and tables misbehave, workers are told to stop, and no host is ever away: then no task is lost.

With all faults at once nearly every task meets a host that is away, and with each fault alone no two meet.
"""

from __future__ import annotations

import msgspec
import pytest

from kon.backends.sim.faults import FaultRates
from kon.core.spec import Plugin
from kon.trials.prove.classes import FaultClass, fault_class, registered_strategies
from kon.trials.prove.drawn import SCENARIO, play_seed

AWAY = ("crash", "pause", "client_crash", "client_pause", "second_client", "partition")
FAILS = ("error_after", "error_before", "denied", "denied_for_good", "cancel")

NOBODY_AWAY = msgspec.structs.replace(
    fault_class("all").rates, **dict.fromkeys((*AWAY, *FAILS), 0.0), stop=0.5, stale_read=0.3
)

STOPS_AND_STALE_READS = FaultRates(stop=0.8, stale_read=0.6)


@pytest.mark.parametrize("strategy", registered_strategies(), ids=str)
def test_no_promise_breaks_where_no_host_is_away(strategy: Plugin) -> None:
    for seed in range(12):
        assert not play_seed(SCENARIO, strategy, FaultClass("nobody away", NOBODY_AWAY), seed).broken


@pytest.mark.parametrize("seed", [1, 30, 66])
def test_a_claim_that_a_stopped_worker_let_go_of_is_read_once_more_and_does_no_harm(seed: int) -> None:
    """Its task was taken for begun, and its message dropped, by whoever read the row that was gone."""
    strategy = Plugin("read_then_write", {"record": "before"})
    faults = FaultClass("stops", STOPS_AND_STALE_READS)
    assert not play_seed(SCENARIO, strategy, faults, seed).broken
