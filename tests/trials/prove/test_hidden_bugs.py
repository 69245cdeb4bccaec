"""A bug that somebody hides in a copy of a strategy, and how soon the daily search finds it.

Part of `make soak`: that each of these is found at all is shown by test_search.py and test_ablations.py.
"""

from __future__ import annotations

import pytest

from kon.cli.prove import SHARE
from kon.core.spec import Plugin
from kon.trials.prove.classes import ALL_FAULTS, fault_class
from kon.trials.prove.drawn import SCENARIO, play_seed
from kon.trials.prove.scenario import Invariant

pytestmark = pytest.mark.slow

SEEDS = 1_000


def first_seed(strategy: Plugin, fault: str, seeds: int) -> tuple[int, set[Invariant]] | None:
    """The first seed that breaks a promise, and which promises it breaks."""
    for seed in range(seeds):
        if broken := play_seed(SCENARIO, strategy, fault_class(fault), seed).broken:
            return seed, {each.invariant for each in broken}
    return None


@pytest.mark.parametrize(
    ("bug", "fault", "one_of"),
    [
        (
            "tests.trials.prove.mistakes:UnconditionalCommit",
            ALL_FAULTS,
            {Invariant.FENCED, Invariant.ONE_RESULT},
        ),
        ("tests.trials.prove.mistakes:UnconditionalCommit", "pause", {Invariant.FENCED}),
        ("tests.trials.prove.mistakes:NoTokenCompare", "write_reply_lost", {Invariant.LOST_BY_OUTAGE}),
        ("tests.trials.prove.mistakes:NoTokenCompare", ALL_FAULTS, {Invariant.LOST_BY_OUTAGE}),
        (
            "tests.trials.prove.mistakes:BlindTakeover",
            ALL_FAULTS,
            {Invariant.ONE_START_WHILE_HELD, Invariant.ONE_RESULT},
        ),
        ("tests.trials.prove.ablations:NoCompareAtCommit", ALL_FAULTS, {Invariant.TRUE_COUNTS}),
        ("tests.trials.prove.ablations:OwnResultForeign", ALL_FAULTS, {Invariant.TRUE_COUNTS}),
    ],
)
def test_a_hidden_bug_is_found_within_a_thousand_seeds(bug: str, fault: str, one_of: set[Invariant]) -> None:
    seeds = SEEDS if fault == ALL_FAULTS else SEEDS // SHARE
    found = first_seed(Plugin(bug), fault, seeds)
    assert found is not None, f"{bug} has not been found in {seeds} seeds"
    assert one_of & found[1]
