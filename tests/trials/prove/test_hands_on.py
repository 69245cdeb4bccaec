"""A worker that is killed, and its parent that hands on what it held, in every order with its last writes."""

from __future__ import annotations

import os
from typing import Final

import msgspec
import pytest

from kon.backends.sim.trace import Trace
from kon.core.backend import Channel
from kon.core.spec import Plugin
from kon.core.task import State
from kon.launch.holds import WorkerHolds
from kon.trials.prove.classes import fault_class
from kon.trials.prove.drawn import SCENARIO, scenario_of
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Invariant
from kon.trials.prove.services import Searchable

LEASE: Final = Plugin("lease")


def played(backend: Searchable, seed: int, fault: str = "crash") -> tuple[set[Invariant], int]:
    """What broke of what is promised, and how often a parent handed something on."""
    trace = Trace()
    base = msgspec.structs.replace(SCENARIO, backend=backend)
    scenario = scenario_of(base, LEASE, fault_class(fault, backend), seed)
    broken = play(scenario, seed, trace=trace).broken
    return {each.invariant for each in broken}, sum("hands on" in step.op for step in trace.steps)


@pytest.mark.parametrize("backend", ["sqlite", "aws"])
def test_what_a_dead_worker_held_is_handed_on_and_no_promise_breaks(backend: Searchable) -> None:
    found = [played(backend, seed) for seed in range(12)]
    assert not any(broken for broken, _ in found)
    assert sum(times for _, times in found) >= 5


@pytest.mark.parametrize("backend", ["sim", "sqlite", "aws"])
def test_a_schedule_leaves_no_file_open(backend: Searchable) -> None:
    """A search of a thousand schedules would end for want of file descriptors."""
    played(backend, 0, "all")  # what is opened once stays
    before = os.listdir("/dev/fd")  # noqa: PTH208 - numbers, not paths
    for seed in range(1, 4):
        played(backend, seed, "all")
    assert os.listdir("/dev/fd") == before  # noqa: PTH208


def test_a_parent_that_ends_the_claims_of_others_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of a claim is looked at before it is let run out: others may have taken the task over."""

    async def whoever_holds_it(held: WorkerHolds, channel: Channel) -> None:
        rows = await channel.ledger.read(list(dict.fromkeys(held.keys))) if held.keys else []
        over = [
            msgspec.structs.replace(row, expires_s=1.0) for row in rows if row and row.state is State.CLAIMED
        ]
        if over:
            await channel.ledger.replace(over, [row.token for row in over])

    monkeypatch.setattr("kon.trials.prove.stage.hand_on", whoever_holds_it)
    assert any(played("sqlite", seed, "all")[0] for seed in (70, *range(160)))
