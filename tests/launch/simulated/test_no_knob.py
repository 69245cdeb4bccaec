"""What a file without a knob takes where tasks are few, long or uneven, at the latencies of AWS."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from kon.core.journal import Journal
from kon.core.task import Answers, Outcome
from kon.experiment import loads
from kon.launch.simulated.simulation import Simulation


class Known(Journal):
    """Takes the client's results, with the virtual time at which it knew of each."""

    def __init__(self) -> None:
        self.at_s: dict[int, float] = {}
        self.outcomes: list[Outcome] = []

    def append(self, lines: Sequence[bytes]) -> None:
        now_s = asyncio.get_running_loop().time()
        for line in lines:
            outcomes = msgspec.json.decode(line, type=Answers).outcomes
            self.outcomes += outcomes
            self.at_s |= {each.index: now_s for each in outcomes}


def run(durations_s: Sequence[float], workers: int, slots: int = 1) -> Known:
    given = {
        "name": "no-knob",
        "backend": {"name": "sim", "latency": "aws-us-east-1", "table": "warm_raised", "boot": False},
        "workload": {"kind": "sleep", "count": len(durations_s), "seconds": 0},
        "strategies": "lease",
        "workers": workers,
        "slots": slots,
    }
    [cell] = loads(msgspec.json.encode(given).decode(), "test", Path())[0].cells()
    known = Known()
    # nothing says how long tasks take, as with commands
    Simulation(msgspec.structs.replace(cell.spec, ideal_s=None), durations_s, results=known).run()
    assert sorted(known.at_s) == list(range(len(durations_s)))
    return known


@pytest.mark.parametrize(("workers", "slots"), [(16, 1), (4, 4), (1, 16)])
def test_few_tasks_use_every_slot(workers: int, slots: int) -> None:
    assert max(run([1.0] * 20, workers, slots).at_s.values()) < 2.2


@pytest.mark.parametrize("tasks", [12, 16, 32])
def test_as_many_long_tasks_as_slots_run_at_once(tasks: int) -> None:
    assert max(run([60.0] * tasks, 1, tasks).at_s.values()) < 61.0


@pytest.mark.parametrize(("workers", "slots"), [(64, 1), (4, 16), (1, 64)])
def test_fewer_tasks_than_slots_run_at_once(workers: int, slots: int) -> None:
    assert max(run([10.0] * 3, workers, slots).at_s.values()) < 11.0


@pytest.mark.parametrize("first", [True, False])
def test_short_tasks_do_not_wait_for_a_long_one(first: bool) -> None:
    short_s = [0.001] * 99
    known = run([100.0, *short_s] if first else [*short_s, 100.0], 2)
    long = 0 if first else 99
    assert max(at_s for index, at_s in known.at_s.items() if index != long) < 2.0
    assert {(each.state.name, each.attempt) for each in known.outcomes} == {("DONE", 1)}
