"""Two clients of one run: the second is refused, or takes over from one that stands still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from kon.backends.sim.faults import FaultRates
from kon.backends.sim.trace import Trace
from kon.core.spec import Plugin
from kon.engine.client_lease import ClientLease
from kon.trials.prove.classes import ALL_FAULTS, fault_class
from kon.trials.prove.drawn import SCENARIO, play_seed, scenario_of
from kon.trials.prove.playing import play, taken_from
from kon.trials.prove.scenario import Invariant
from kon.trials.prove.services import Searchable
from kon.trials.prove.stage import SECOND

BACKENDS: Final[tuple[Searchable, ...]] = ("sim", "sqlite", "aws")
STRATEGY: Final = Plugin("conditional_put")
"""It reads nothing back, so that what the wrong client takes is lost."""

SEEDS: Final = range(60, 120)


def breaks(seed: int, backend: Searchable = "sim") -> list[Any]:
    base = msgspec.structs.replace(SCENARIO, backend=backend)
    return list(play_seed(base, STRATEGY, fault_class("second_client", backend), seed).broken)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_way_of_it_comes_up_and_breaks_nothing(backend: Searchable) -> None:
    """The second is refused; it takes over, and the first learns of it; it begins where the first is done."""
    base = msgspec.structs.replace(SCENARIO, backend=backend)
    ways = set()
    for seed in range(14):
        trace = Trace()
        scenario = scenario_of(base, STRATEGY, fault_class("second_client", backend), seed)
        assert not play(scenario, seed, trace=trace).broken
        told = [(step.host, step.op) for step in trace.steps if "lease" in step.op or "leaves" in step.op]
        ways.add(tuple(f"{host} {op.split()[0]}" for host, op in told))
    assert {("client has", f"{SECOND} leaves"), ("client has", f"{SECOND} has", "client leaves")} <= ways


def test_one_that_stood_still_as_it_took_the_lease_was_never_the_client() -> None:
    """What it receives and may not ack comes to the other one, whose records count."""
    assert not play_seed(SCENARIO, Plugin("lease"), fault_class(ALL_FAULTS), 5551).broken


async def _nothing(lease: ClientLease) -> None:
    return


def _no_fence(patch: pytest.MonkeyPatch) -> None:
    """A client that was replaced goes on with what it was doing until its next renewal."""
    patch.setattr("kon.trials.prove.stage.fenced", lambda channel, lease: channel)


def _no_renewal(patch: pytest.MonkeyPatch) -> None:
    """A client renews its lease only where it must before a write."""
    patch.setattr(ClientLease, "keep", _nothing)


def _neither(patch: pytest.MonkeyPatch) -> None:
    """A client that was replaced never learns of it."""
    _no_fence(patch)
    _no_renewal(patch)


def _takes_it_at_once(patch: pytest.MonkeyPatch) -> None:
    """A second client does not look whether there is one."""

    for method in ("take", "check", "give_up", "keep"):
        patch.setattr(ClientLease, method, _nothing)


@pytest.mark.parametrize("take_out", [_neither, _takes_it_at_once])
def test_a_safeguard_that_is_taken_out_is_missed(
    take_out: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_out(monkeypatch)
    assert any(breaks(seed) for seed in SEEDS), take_out.__doc__


@pytest.mark.parametrize("take_out", [_no_fence, _no_renewal])
def test_either_of_two_safeguards_is_enough(
    take_out: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_out(monkeypatch)
    assert not any(breaks(seed) for seed in SEEDS[:30]), take_out.__doc__


def test_no_world_has_a_second_client_without_a_lease() -> None:
    """Nor has a shortened counter-example, whose faults are named and whose rates are none."""
    small = msgspec.structs.replace(
        SCENARIO, strategy=STRATEGY, tasks=1, workers=2, horizon=80, rates=FaultRates(second_client=1.0)
    )
    trace = Trace()
    played = play(small, 1, trace=trace)
    assert [each.fault for each in played.fired] == ["second_client"]
    assert "has the lease of the run" in {step.op for step in trace.steps}
    example = taken_from(played, small, Invariant.NOTHING_LOST)
    for faults in (example.faults, ()):
        again = Trace()
        msgspec.structs.replace(example, faults=faults).replay(again)
        assert "has the lease of the run" in {step.op for step in again.steps}


def test_a_run_that_was_found_empty_by_a_client_which_crashed_as_it_closed_it() -> None:
    """Its workers are gone: what one that stood still gives back afterwards stays till the run is deleted."""
    played = play_seed(SCENARIO, STRATEGY, fault_class(ALL_FAULTS), 238)
    assert not played.broken
