"""The search: what is tried, what is counted, and that it finds what is there to be found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kon.backends.sim.faults import FAULTS
from kon.core.errors import ConfigurationError
from kon.core.plugins import names
from kon.core.spec import Plugin
from kon.engine.give_back import GiveBack
from kon.engine.sizing import Sizing
from kon.trials.prove.classes import (
    ALL_FAULTS,
    NO_FAULT,
    fault_class,
    fault_classes,
    promises_of,
    registered_strategies,
    strategy_variants,
)
from kon.trials.prove.drawn import SCENARIO as BASE
from kon.trials.prove.drawn import play_seed, scenario_of
from kon.trials.prove.scenario import Invariant
from kon.trials.prove.search import Cell, Finding, Searched, search

MISTAKES = "tests.trials.prove.mistakes"


def finding(searched: Searched, invariant: Invariant) -> Finding:
    (found,) = (each for each in searched.findings if each.invariant is invariant)
    return found


# --- what is tried -----------------------------------------------------------------------------------


def test_each_fault_is_tried_by_itself_and_all_at_once() -> None:
    classes = fault_classes()
    assert [each.name for each in classes] == [NO_FAULT, *FAULTS, ALL_FAULTS]
    assert classes[0].rates.active() == {}
    assert set(classes[-1].rates.active()) == set(FAULTS)
    for each in classes[1:-1]:
        assert set(each.rates.active()) == {each.name}


def test_each_registered_strategy_is_tried_in_every_variant_that_promises_something_else() -> None:
    strategies = registered_strategies()
    assert {each.name for each in strategies} == set(names("kon.strategies"))
    after, before = (each for each in strategies if each.name == "read_then_write")
    assert Invariant.NOTHING_LOST in promises_of(after)
    assert Invariant.NOTHING_LOST not in promises_of(before)


def test_messages_are_packed_as_in_a_run_in_some_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the tasks are spread before anything is known, what is learned makes messages larger, and some
    that were guessed too large go back."""
    packed: set[tuple[bool, bool]] = set()
    size, back = Sizing.size, GiveBack.back
    gave_back: list[int] = []

    def noted(sizing: Sizing, left: int) -> int:
        tasks = size(sizing, left)
        packed.add((sizing.is_blind, tasks > 1))
        return tasks

    async def noted_back(give_back: GiveBack, count: int, part: int) -> None:
        gave_back.append(count)
        await back(give_back, count, part)

    monkeypatch.setattr(Sizing, "size", noted)
    monkeypatch.setattr(GiveBack, "back", noted_back)
    for seed in range(120):
        scenario = scenario_of(BASE, Plugin("lease"), fault_class(NO_FAULT), seed)
        if scenario.bundle is None and not scenario.sizes:
            play_seed(BASE, Plugin("lease"), fault_class(NO_FAULT), seed)
    assert packed == {(True, True), (True, False), (False, True), (False, False)}
    assert gave_back


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: fault_class("crsh"), 'no fault "crsh", did you mean "crash"?'),
        (lambda: strategy_variants("leas"), 'unknown strategy "leas", did you mean "lease"?'),
        (lambda: strategy_variants("lease", {"leases": 1}), 'no option "leases", did you mean "lease_s"?'),
        (lambda: strategy_variants("none", {"x": 1}), 'no option "x" (it takes none)'),
        (lambda: strategy_variants("lease", {"lease_s": 0}), "lease_s must be from 0.3"),
        (lambda: strategy_variants("lease", {"lease_s": "x"}), "can't be made with these options"),
    ],
)
def test_what_there_is_not_is_refused(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert said in str(caught.value)


# --- what is counted ---------------------------------------------------------------------------------


def test_findings_are_those_of_every_seed() -> None:
    cell = Cell(Plugin("none"), fault_class("duplicate"), 30, first=5)
    (searched,) = search([cell], jobs=1)
    broken = []
    faulty = 0
    for seed in range(5, 35):
        played = play_seed(BASE, cell.strategy, cell.faults, seed)
        faulty += bool(played.fired)
        if Invariant.ONE_RESULT in {each.invariant for each in played.breaks}:
            broken.append(seed)
    assert (searched.schedules, searched.faulty) == (30, faulty)
    assert finding(searched, Invariant.ONE_RESULT) == Finding(
        Invariant.ONE_RESULT, False, len(broken), broken[0]
    )
    assert finding(searched, Invariant.NOTHING_LOST) == Finding(Invariant.NOTHING_LOST, True)
    assert searched.broken_promises == []


@pytest.mark.long
def test_findings_do_not_depend_on_the_number_of_processes() -> None:
    cells = [Cell(Plugin(name), fault_class("crash"), 25) for name in ("conditional_put", "lease")]
    done: list[int] = []
    assert search(cells, jobs=2, on_progress=done.append) == search(cells, jobs=1)
    assert done == [1, 2]


# --- what is found -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "fault", "invariant", "found_last"),
    [
        ("UnconditionalCommit", "pause", Invariant.FENCED, 0),
        ("UnconditionalCommit", "pause", Invariant.ONE_RESULT, 0),
        ("NoTokenCompare", "write_reply_lost", Invariant.LOST_BY_OUTAGE, 0),
        ("BlindTakeover", "all", Invariant.ONE_START_WHILE_HELD, 120),
    ],
)
def test_a_safeguard_that_is_missing_is_found(
    mistake: str, fault: str, invariant: Invariant, found_last: int
) -> None:
    strategy, faults = Plugin(f"{MISTAKES}:{mistake}"), fault_class(fault)
    # few of 300 schedules are needed as a rule
    firsts = (found_last, *range(0, 300, 20))
    parts = (search([Cell(strategy, faults, 20, first)], jobs=1)[0] for first in firsts)
    searched = next(each for each in parts if finding(each, invariant).broken)
    found = finding(searched, invariant)
    assert found in searched.broken_promises
    assert found.seed is not None
    played = play_seed(BASE, strategy, faults, found.seed)
    assert invariant in {each.invariant for each in played.broken}


def test_a_strategy_that_raises_is_told_from_one_that_breaks_a_promise() -> None:
    (searched,) = search([Cell(Plugin(f"{MISTAKES}:Faulty"), fault_class("none"), 3, first=7)], jobs=1)
    assert searched.raised is not None
    assert searched.raised.seed == 7
    assert searched.raised.error == "ZeroDivisionError: a fault of the strategy's own"
    assert searched.broken_promises == []


# --- and what is promised holds ----------------------------------------------------------------------


def cells(schedules: int, first: int = 0) -> list[Cell]:
    """So many schedules of every strategy: half with all faults at once, the others shared out."""
    classes = fault_classes()
    alone = -(-schedules // 2 // (len(classes) - 1))
    return [
        Cell(strategy, faults, schedules - schedules // 2 if faults.name == ALL_FAULTS else alone, first)
        for strategy in registered_strategies()
        for faults in classes
    ]


def broken_promises(searched: list[Searched]) -> list[str]:
    return [
        f"{each.strategy.label} under {each.fault}: {found.invariant}, seed {found.seed}"
        for each in searched
        for found in each.broken_promises
    ] + [f"{each.strategy.label} under {each.fault}: {each.raised}" for each in searched if each.raised]


@pytest.mark.timeout(600)  # some 5 s of CPU time on all cores, which others may be using
def test_every_promise_holds_in_50_schedules_of_each_strategy() -> None:
    searched = search(cells(50))
    assert broken_promises(searched) == []
    for strategy in registered_strategies():
        assert sum(each.schedules for each in searched if each.strategy == strategy) >= 50


@pytest.mark.slow
def test_every_promise_holds_in_as_many_schedules_as_asked_for() -> None:
    """`make soak SEEDS=100000`: schedules of each strategy, others than those that `make test` tries."""
    schedules = int(os.environ.get("SEEDS", "5000"))
    assert broken_promises(search(cells(schedules, first=1_000_000))) == []


KILLED = """
import multiprocessing, os, signal
from kon.trials.prove.classes import fault_class
from kon.trials.prove.search import Cell, search
from kon.core.spec import Plugin

def kill(done):
    print(*[each.pid for each in multiprocessing.active_children()], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    cells = [Cell(Plugin("none"), fault_class("none"), schedules) for schedules in (20, 2_000)]
    search(cells, jobs=2, on_progress=kill)
"""


def test_the_processes_of_a_search_that_is_killed_do_not_stay(tmp_path: Path) -> None:
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    # each of its processes holds the pipe open as long as it lives
    done = subprocess.run([sys.executable, program], capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == 2
