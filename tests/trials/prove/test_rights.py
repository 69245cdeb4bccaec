"""Rights that are missing, for a while or until somebody gives them: no task is dead for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from kon.backends.sim.trace import Trace
from kon.core.spec import Plugin
from kon.engine.client import Client
from kon.engine.patience import Patience
from kon.engine.worker import Worker
from kon.trials.prove.classes import fault_class
from kon.trials.prove.drawn import SCENARIO, play_seed, scenario_of
from kon.trials.prove.on_aws import AwsServices
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Invariant, Played
from kon.trials.prove.services import Searchable, SimServices

STRATEGIES: Final = ("lease", "conditional_put", "none")
FEW_RECEIPTS: Final = range(24, 48)
"""Seeds with two receipts of a message, or one: what is received in vain counts soon."""


def played(strategy: str, fault: str, seed: int, backend: Searchable = "sim") -> Played:
    base = msgspec.structs.replace(SCENARIO, backend=backend)
    return play_seed(base, Plugin(strategy), fault_class(fault, backend), seed)


def broken(strategy: str, fault: str, seeds: range, backend: Searchable = "sim") -> set[Invariant]:
    return {each.invariant for seed in seeds for each in played(strategy, fault, seed, backend).broken}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("fault", ["denied", "denied_for_good"])
def test_no_task_is_dead_or_was_tried_in_vain(strategy: str, fault: str) -> None:
    assert not broken(strategy, fault, FEW_RECEIPTS)


@pytest.mark.parametrize("fault", ["denied", "denied_for_good"])
def test_nor_at_amazon(fault: str) -> None:
    assert not broken("lease", fault, range(24, 32), "aws")


def test_both_messages_of_a_task_are_excused() -> None:
    """A bundle's, of which one task is not done, and another one's own for its second attempt."""
    assert not broken("lease", "denied_for_good", range(1433, 1434))


def test_every_role_is_denied_something_and_at_times_the_whole_run_ends() -> None:
    said = set()
    for seed in range(30):
        trace = Trace()
        scenario = scenario_of(SCENARIO, Plugin("lease"), fault_class("denied_for_good"), seed)
        play(scenario, seed, trace=trace)
        said |= {step.op for step in trace.steps if step.what == "host"}
    assert {
        "was denied: the run ends",
        "was denied: the run ends at once",
        "gives the right",
        "gives up",
    } <= said
    assert {each.partition("*")[0] for each in said if "may not" in each} == {"w", "client"}


@pytest.mark.parametrize("services", [SimServices, AwsServices])
def test_what_a_worker_was_denied_can_always_be_said(services: Any) -> None:
    """Else nobody could excuse what it received in vain."""
    for right in services.rights["w"]:
        assert right.service != "control" or not {"put", "insert_new", "BatchWriteItem"} & set(right.calls)


# --- the safeguards, each switched off ---------------------------------------------------------------


def _no_patience(patch: pytest.MonkeyPatch) -> None:
    made = Patience.__init__

    def impatient(self: Patience, outage_s: float, rng: Any, on_trouble: Any, denied_s: float = 0.0) -> None:
        made(self, outage_s, rng, on_trouble)

    patch.setattr(Patience, "__init__", impatient)


def _no_word(patch: pytest.MonkeyPatch) -> None:
    async def silent(self: Worker, denial: Any) -> None:
        return

    patch.setattr(Worker, "_tell_of", silent)


def _no_excuse(patch: pytest.MonkeyPatch) -> None:
    async def strict(self: Client, bundle: Any, denied: int, queued: set[int]) -> Any:
        return bundle.tasks

    patch.setattr(Client, "_once_more", strict)


def _each_letter_counts(patch: pytest.MonkeyPatch) -> None:
    once_more = Client._once_more

    async def anew(self: Client, bundle: Any, denied: int, queued: set[int]) -> Any:
        return await once_more(self, bundle, denied, set())

    patch.setattr(Client, "_once_more", anew)


@pytest.mark.parametrize(
    ("off", "strategy", "fault", "seeds", "breaks"),
    [
        (_no_patience, "conditional_put", "denied", FEW_RECEIPTS, Invariant.LOST_BY_OUTAGE),
        (_no_word, "lease", "denied_for_good", FEW_RECEIPTS, Invariant.TRUE_COUNTS),
        (_no_excuse, "lease", "denied_for_good", FEW_RECEIPTS, Invariant.TRUE_COUNTS),
        (_each_letter_counts, "lease", "denied_for_good", range(1147, 1149), Invariant.TRUE_COUNTS),
    ],
)
def test_the_search_misses_each_safeguard(
    off: Callable[[pytest.MonkeyPatch], None],
    strategy: str,
    fault: str,
    seeds: range,
    breaks: Invariant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    off(monkeypatch)
    assert breaks in broken(strategy, fault, seeds)
