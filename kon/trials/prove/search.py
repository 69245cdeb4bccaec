"""The search: every strategy under every class of faults, in as many schedules as asked for."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from kon.core.errors import first_cause
from kon.core.spec import Plugin
from kon.engine.give_back import HoldLimits
from kon.trials.prove.classes import FaultClass, promises_of
from kon.trials.prove.invariants import Invariant
from kon.trials.prove.on_sqlite import for_large
from kon.trials.prove.pool import processes
from kon.trials.prove.scenario import MakeStrategy, Played, Scenario, play

CHUNK: Final = 20
"""Schedules that a process plays at a time: so few that no core waits long for the last."""

SCENARIO: Final = Scenario(tasks=8, workers=3, horizon=300)
"""What is searched by default: small, so that a schedule is quick, and every task meets a fault or two."""


LARGE_EVERY: Final = 100
"""Every hundredth schedule has `LARGE_TASKS`."""

LARGE_TASKS: Final = 1_250


class Cell(msgspec.Struct, frozen=True):
    """One strategy under one class of faults, and how many schedules of it to try, from seed `first` on."""

    strategy: Plugin
    faults: FaultClass
    schedules: int
    first: int = 0


SIZES: Final = range(1, 9)
"""Tasks of a message, where kon finds how many."""


class Finding(msgspec.Struct, frozen=True):
    """What became of one invariant: in how many schedules it broke, and under which seed first."""

    invariant: Invariant
    promised: bool
    broken: int = 0
    seed: int | None = None


class Raised(msgspec.Struct, frozen=True):
    """The code under test raised what it should not: under which seed, and what."""

    seed: int
    error: str


class Searched(msgspec.Struct, frozen=True):
    """What was found in a cell: each invariant, in the order of their declaration.

    schedules: how many were played. faulty: in how many of these a fault really fired.
    """

    strategy: Plugin
    fault: str
    schedules: int
    faulty: int
    findings: list[Finding]
    raised: Raised | None = None

    @property
    def broken_promises(self) -> list[Finding]:
        return [each for each in self.findings if each.promised and each.broken]


class _Chunk(msgspec.Struct, frozen=True):
    faulty: int
    broken: dict[Invariant, list[int]]
    raised: Raised | None


def scenario_of(base: Scenario, strategy: Plugin, faults: FaultClass, seed: int) -> Scenario:
    """What is played under a seed.

    The seed also decides how many tasks go into a message and into a row of the ledger, how often a message
    may be received, whether attempts time out, how large results are, whether the kind takes no time, and
    how many tasks there are. In every other six seeds kon finds the sizes of messages itself, in small:
    messages of every size, in pages and not, which workers split and give back while some of their tasks run.
    """
    rates = faults.rates
    leased = rates.second_client > 0.0
    drawn: dict[str, Any] = {
        "max_receives": (1_000, 5, 2, 1)[seed // 12 % 4],
        "timeout_s": 3.0 if seed // 5 % 8 == 7 else None,
        "result_bytes": 600 if seed // 7 % 3 == 2 else 0,
        "instant": seed // 11 % 14 == 13,
        "leased": leased,
    }
    if seed % LARGE_EVERY == LARGE_EVERY - 1:
        # more tasks than any batch of the worker's or the client's takes
        drawn |= {"tasks": LARGE_TASKS, "bundle": 100, "tasks_per_row": 1, "instant": True, "horizon": 3_000}
        rates = for_large(rates)
    elif seed // 6 % 2:
        draw = random.Random(f"messages:{seed}")
        drawn |= {
            "bundle": None,
            "prefetch": None,
            "tasks_per_row": None if seed % 2 else 1,
            "sizes": tuple(draw.choices(SIZES, k=5)),
            "hold": HoldLimits(
                stuck_s=draw.uniform(0.1, base.task_s),
                stuck_turns=0.1,
                wait_s=draw.uniform(0.1, 2 * base.task_s),
                part_s=draw.uniform(0.0, 3 * base.task_s),
            ),
        }
    else:
        drawn |= {"bundle": 1 + seed % 3, "tasks_per_row": 4 if seed // 3 % 2 else 1}
    if base.backend != "sim":  # whose receipt handles can be noted
        drawn["hands_on"] = drawn["tasks_per_row"] == 1 and seed % 3 > 0
    return msgspec.structs.replace(base, strategy=strategy, rates=rates, **drawn)


def play_seed(
    base: Scenario, strategy: Plugin, faults: FaultClass, seed: int, make_strategy: MakeStrategy | None = None
) -> Played:
    """The schedule of a seed, as the search plays it."""
    return play(scenario_of(base, strategy, faults, seed), seed, make_strategy=make_strategy)


def search(
    cells: Sequence[Cell],
    base: Scenario = SCENARIO,
    jobs: int | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[Searched]:
    """Search every cell, on `jobs` processes (None: one for each core). The findings do not depend on that.

    on_progress: called after each cell, in order, with how many of them are done.
    """
    parts = [(base, cell, seeds) for cell in cells for seeds in _chunks(cell)]
    searched: list[Searched] = []
    with processes(_play_part, jobs) as run:
        chunks = iter(run(parts))
        for cell in cells:
            searched.append(_add_up(cell, [next(chunks) for _ in _chunks(cell)]))
            on_progress(len(searched))
    return searched


def _chunks(cell: Cell) -> list[range]:
    end = cell.first + cell.schedules
    return [range(at, min(at + CHUNK, end)) for at in range(cell.first, end, CHUNK)]


_Part = tuple[Scenario, Cell, range]


def _play_part(part: _Part) -> _Chunk:
    gc.freeze()  # what is there already is not gone through again and again
    try:
        return _play_seeds(*part)
    finally:
        gc.unfreeze()


def _play_seeds(base: Scenario, cell: Cell, seeds: range) -> _Chunk:
    broken: dict[Invariant, list[int]] = {}
    raised: Raised | None = None
    faulty = 0
    for seed in seeds:
        try:
            played = play_seed(base, cell.strategy, cell.faults, seed)
        except (Exception, BaseExceptionGroup) as error:  # of the strategy under test, whatever it may be
            cause = first_cause(error)
            raised = raised or Raised(seed, f"{type(cause).__name__}: {cause}")
            continue
        faulty += bool(played.fired)
        for invariant in {each.invariant for each in played.breaks}:
            broken.setdefault(invariant, []).append(seed)
    return _Chunk(faulty, broken, raised)


def _add_up(cell: Cell, chunks: Sequence[_Chunk]) -> Searched:
    promises = promises_of(cell.strategy)
    findings = []
    for invariant in Invariant:
        seeds = [seed for chunk in chunks for seed in chunk.broken.get(invariant, ())]
        findings.append(Finding(invariant, invariant in promises, len(seeds), min(seeds, default=None)))
    raised = next((chunk.raised for chunk in chunks if chunk.raised is not None), None)
    faulty = sum(chunk.faulty for chunk in chunks)
    return Searched(cell.strategy, cell.faults.name, cell.schedules, faulty, findings, raised)
