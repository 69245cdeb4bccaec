"""When the client knows of a task's end: packing, paging and batching may not keep results back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kon.core.journal import Journal
from kon.core.task import Answers
from kon.experiment import loads
from kon.launch.simulated.simulation import Journals, Simulation

WITHIN_S = 1.0
"""A task's outcome is known this long after its end, or twice the mean task where that is longer."""


class Late(Journal):
    """Takes the client's results, and how late the latest of them was."""

    def __init__(self) -> None:
        self.most_s = 0.0
        self.known = 0

    def append(self, lines: Sequence[bytes]) -> None:
        now_s = asyncio.get_running_loop().time()
        for line in lines:
            outcomes = msgspec.json.decode(line, type=Answers).outcomes
            self.known += len(outcomes)
            self.most_s = max(self.most_s, *(now_s - each.ended_s for each in outcomes))


def lateness_s(durations_s: Sequence[float], **settings: Any) -> float:
    """The longest time from a task's end until the client knows, on workers at the latencies of AWS."""
    given = {
        "name": "prompt",
        "backend": {"name": "sim", "latency": "aws-us-east-1", "table": "warm_raised", "boot": False},
        "workload": {"kind": "sleep", "count": len(durations_s), "seconds": 0},
        "strategies": "lease",
        "workers": 4,
        **settings,
    }
    [cell] = loads(msgspec.json.encode(given).decode(), "test", Path())[0].cells()
    late = Late()
    Simulation(msgspec.structs.replace(cell.spec, ideal_s=None), durations_s, Journals(results=late)).run()
    assert late.known == len(durations_s)
    return late.most_s


@pytest.mark.parametrize("slots", [1, 16])
@pytest.mark.parametrize(
    ("mean_s", "tasks"), [(0.0, 3_000), (0.001, 3_000), (0.05, 1_000), (0.6, 300), (5.0, 60)]
)
def test_an_outcome_is_known_a_second_after_its_end(mean_s: float, tasks: int, slots: int) -> None:
    assert lateness_s([mean_s] * tasks, slots=slots) <= max(WITHIN_S, 2 * mean_s)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_a_long_task_keeps_back_no_short_ones_of_its_message(seed: int, last: bool) -> None:
    rng = random.Random(seed)
    durations_s = [20.0 if rng.random() < 0.01 else 0.002 for _ in range(2_000)]
    if last:
        durations_s.sort()
    assert lateness_s(durations_s) <= WITHIN_S


def test_a_short_task_is_known_while_the_long_one_of_its_own_message_runs() -> None:
    assert lateness_s([0.001] * 99 + [100.0], workers=2, bundle=100) <= WITHIN_S


def test_the_measure_sees_what_is_kept_back() -> None:
    assert lateness_s([0.05] * 1_000, flush_s=5.0) > WITHIN_S
