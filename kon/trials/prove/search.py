"""The search: every strategy under every class of faults, in as many schedules as asked for."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from kon.core.errors import first_cause
from kon.core.spec import Plugin
from kon.trials.prove.classes import FaultClass, promises_of
from kon.trials.prove.drawn import SCENARIO, by_seeds
from kon.trials.prove.playing import processes
from kon.trials.prove.scenario import Invariant, Scenario

CHUNK: Final = 20
"""Schedules that a process plays at a time: so few that no core waits long for the last."""


class Cell(msgspec.Struct, frozen=True):
    """One strategy under one class of faults, and how many schedules of it to try, from seed `first` on."""

    strategy: Plugin
    faults: FaultClass
    schedules: int
    first: int = 0


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
    for each in by_seeds(base, cell.strategy, cell.faults, seeds):
        if each.error is not None:
            raised = raised or Raised(each.number, cause_of(each.error))
        if each.played is not None:
            faulty += bool(each.played.fired)
            for invariant in {one.invariant for one in each.played.breaks}:
                broken.setdefault(invariant, []).append(each.number)
    return _Chunk(faulty, broken, raised)


def cause_of(error: BaseException) -> str:
    cause = first_cause(error)
    return f"{type(cause).__name__}: {cause}"


def _add_up(cell: Cell, chunks: Sequence[_Chunk]) -> Searched:
    promises = promises_of(cell.strategy)
    findings = []
    for invariant in Invariant:
        seeds = [seed for chunk in chunks for seed in chunk.broken.get(invariant, ())]
        findings.append(Finding(invariant, invariant in promises, len(seeds), min(seeds, default=None)))
    raised = next((chunk.raised for chunk in chunks if chunk.raised is not None), None)
    faulty = sum(chunk.faulty for chunk in chunks)
    return Searched(cell.strategy, cell.faults.name, cell.schedules, faulty, findings, raised)
