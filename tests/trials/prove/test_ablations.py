"""Each safeguard by itself: with it in place an invariant holds, and without it the same seeds break it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kon.backends.sim.faults import FaultRates, FaultSpans
from kon.core.spec import Plugin
from kon.trials.prove.drawn import SCENARIO
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Invariant, MakeStrategy, Played
from tests.trials.prove import ablations as off
from tests.trials.prove.mistakes import BlindTakeover, NoTokenCompare, UnconditionalCommit

LONG_S = 40.0
"""A task that outlasts visibility timeout and lease."""


class Ablation(msgspec.Struct, frozen=True):
    """A safeguard, switched off.

    copy: the strategy without it. patches: what is done to worker and client. breaks: what breaks for
    want of it, within `seeds` schedules. first: the seed that is tried first, where it was found last.

    Where a second safeguard stands behind it, such as the look into the ledger before a task is lost,
    that one is switched off as well: `test_either_of_two_safeguards_is_enough` shows that it would do.
    """

    name: str
    breaks: Invariant
    strategy: str
    rates: FaultRates = FaultRates()
    copy: MakeStrategy | None = None
    patches: tuple[off.Off, ...] = ()
    scenario: dict[str, Any] = {}
    seeds: int = 60
    first: int = 0

    def play(self, seed: int, switched_off: bool) -> Played:
        scenario = msgspec.structs.replace(
            SCENARIO, strategy=Plugin(self.strategy), rates=self.rates, **self.scenario
        )
        if not switched_off:
            return play(scenario, seed)
        with pytest.MonkeyPatch.context() as patch:
            for each in self.patches:
                each(patch)
            return play(scenario, seed, make_strategy=self.copy)

    def is_broken(self, seed: int, switched_off: bool) -> bool:
        return self.breaks in {each.invariant for each in self.play(seed, switched_off).breaks}


CRASH = FaultRates(crash=0.6)
PAUSE = FaultRates(pause=0.6)
LOST_REPLIES = FaultRates(write_reply_lost=0.3)
DUPLICATES = FaultRates(duplicate=0.3)

ABLATIONS = [
    # --- the lease ---
    Ablation("token on commit", Invariant.FENCED, "lease", PAUSE, UnconditionalCommit),
    Ablation("token on commit, results", Invariant.ONE_RESULT, "lease", PAUSE, UnconditionalCommit),
    Ablation(
        "token on takeover",
        Invariant.ONE_START_WHILE_HELD,
        "lease",
        FaultRates(crash=0.5, duplicate=0.3),
        BlindTakeover,
    ),
    Ablation(
        "token compare at admit",
        Invariant.DRAINS,
        "lease",
        FaultRates(write_reply_lost=1.0),
        off.NoCompareAtAdmit,
        scenario={"limit_s": 2_000.0},
    ),
    Ablation("token compare at commit", Invariant.TRUE_COUNTS, "lease", LOST_REPLIES, off.NoCompareAtCommit),
    Ablation(
        "another token after a renewal",
        Invariant.ONE_START_WHILE_HELD,
        "lease",
        FaultRates(pause=1.0, throttle=0.5, duplicate=0.5),
        off.SameTokenOnRenewal,
        seeds=700,
        first=230,
    ),
    Ablation(
        "another token after the commit",
        Invariant.ONE_RESULT,
        "lease",
        FaultRates(throttle=0.5, duplicate=0.5),
        off.SameTokenOnCommit,
        scenario={"task_s": 10.0},
    ),
    Ablation(
        "a second try over a renewal unseen",
        Invariant.ONE_START,
        "lease",
        LOST_REPLIES,
        off.NoSecondTry,
        scenario={"task_s": LONG_S},
    ),
    Ablation(
        "skew bound",
        Invariant.ONE_START_WHILE_HELD,
        "lease",
        FaultRates(crash=0.5, skew=1.0),
        off.NoSkewBound,
    ),
    Ablation(
        "lease counted from the asking",
        Invariant.ONE_START_WHILE_HELD,
        "lease",
        FaultRates(crash=0.5, write_reply_lost=0.5),
        off.CountsFromReply,
        first=13,
    ),
    Ablation(
        "what was done is told again",
        Invariant.NOTHING_LOST,
        "lease",
        CRASH,
        off.Silent,
        patches=(off.reads_nothing_back,),
        seeds=400,
        first=20,
    ),
    # --- the others ---
    Ablation(
        "conditional_put's token compare",
        Invariant.LOST_BY_OUTAGE,
        "conditional_put",
        LOST_REPLIES,
        NoTokenCompare,
    ),
    Ablation(
        "a token of its own for each life", Invariant.ONE_START, "conditional_put", CRASH, off.Reincarnated
    ),
    Ablation(
        "result_once's token compare",
        Invariant.TRUE_COUNTS,
        "result_once",
        LOST_REPLIES,
        off.OwnResultForeign,
    ),
    Ablation("result_once's condition", Invariant.ONE_RESULT, "result_once", DUPLICATES, off.LastResult),
    # --- the worker ---
    Ablation(
        "heartbeat of messages",
        Invariant.LOST_BY_OUTAGE,
        "conditional_put",
        patches=(off.no_extend, off.asks_no_worker),
        scenario={"task_s": LONG_S},
    ),
    Ablation(
        "heartbeat of leases",
        Invariant.ONE_START,
        "lease",
        DUPLICATES,
        off.Heartless,
        scenario={"task_s": 25.0, "tasks": 4, "max_steps": 20_000},
        first=2,
    ),
    Ablation(
        "commit and answer before ack",
        Invariant.NOTHING_LOST,
        "lease",
        CRASH,
        patches=(off.acks_first,),
        first=73,
    ),
    Ablation(
        "answer before ack",
        Invariant.NOTHING_LOST,
        "lease",
        CRASH,
        patches=(off.acks_before_it_answers, off.reads_nothing_back),
        first=15,
    ),
    Ablation(
        "commit before answer",
        Invariant.TRUE_COUNTS,
        "lease",
        PAUSE,
        patches=(off.answers_before_it_commits,),
    ),
    Ablation(
        "deferral and retry before ack",
        Invariant.NOTHING_LOST,
        "lease",
        CRASH,
        patches=(off.acks_before_it_defers,),
        scenario={"failing": 0.9},
        seeds=400,
        first=2,
    ),
    Ablation(
        "abandoned messages stay",
        Invariant.NOTHING_LOST,
        "lease",
        FaultRates(pause=0.6, crash=0.6, stale_ack_deletes=0.8),
        patches=(off.acks_abandoned,),
        scenario={"pause_s": 45.0, "task_s": 20.0, "horizon": 150},
        seeds=200,
        first=110,
    ),
    Ablation(
        "a claim's end is looked at before the start",
        Invariant.ONE_START_WHILE_HELD,
        "lease",
        PAUSE,
        patches=(off.starts_regardless,),
        scenario={"pause_s": 45.0},
        first=3,
    ),
    Ablation(
        "no task twice in what is admitted",
        Invariant.ONE_START,
        "conditional_put",
        FaultRates(duplicate=0.5),
        patches=(off.admits_repeats,),
        seeds=400,
        first=114,
    ),
    Ablation(
        "no task twice in what is settled",
        Invariant.ONE_RESULT,
        "result_once",
        FaultRates(duplicate=1.0),
        patches=(off.settles_repeats,),
    ),
    Ablation(
        "starts are recorded before they are made",
        Invariant.TRUE_COUNTS,
        "lease",
        CRASH,
        patches=(off.records_starts_later,),
    ),
    Ablation(
        "repeats with the same token",
        Invariant.NOTHING_LOST,
        "conditional_put",
        FaultRates(error_after=0.02),
        off.AsksAnew,
        (off.impatient,),
    ),
    # --- the client ---
    Ablation(
        "repeated answers are dropped",
        Invariant.TRUE_COUNTS,
        "lease",
        FaultRates(answer_duplicate=0.3),
        patches=(off.counts_repeats,),
    ),
    Ablation(
        "answers are recorded before their ack",
        Invariant.NOTHING_LOST,
        "lease",
        FaultRates(client_crash=1.0),
        patches=(off.acks_before_it_records, off.reads_nothing_back),
        first=7,
    ),
    Ablation(
        "drained means all queues",
        Invariant.LOST_BY_OUTAGE,
        "lease",
        FaultRates(delay=0.3),
        patches=(off.looks_at_tasks_only, off.reads_nothing_back),
    ),
    Ablation(
        "drained means tasks before answers",
        Invariant.LOST_BY_OUTAGE,
        "none",
        patches=(off.looks_at_answers_first, off.asks_no_worker),
        scenario={"task_s": 5.0, "spread": 0.0, "tasks": 2, "workers": 2},
        seeds=200,
        first=180,
    ),
    Ablation(
        "estimated depths are waited for",
        Invariant.LOST_BY_OUTAGE,
        "lease",
        FaultRates(stale_depth=0.5),
        patches=(off.trusts_depths, off.asks_no_worker, off.reads_nothing_back),
        scenario={"spans": FaultSpans(stale_s=30.0)},
        first=24,
    ),
    Ablation(
        "workers are asked when no message is seen",
        Invariant.LOST_BY_OUTAGE,
        "conditional_put",
        FaultRates(depth_low=0.95),
        patches=(off.asks_no_worker,),
        scenario={"task_s": 200.0, "tasks": 2},
    ),
    Ablation(
        "a cancelled run's last answers are waited for",
        Invariant.TRUE_COUNTS,
        "lease",
        FaultRates(cancel=0.6),
        patches=(off.cancels_at_once,),
        seeds=800,
        first=270,
    ),
    Ablation(
        "nothing is lost that is still being queued",
        Invariant.NOTHING_LOST,
        "lease",
        FaultRates(partition=0.2),
        patches=(off.takes_all_for_submitted,),
        first=40,
    ),
]


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_without_its_safeguard_an_invariant_breaks_and_with_it_not(ablation: Ablation) -> None:
    seeds = (ablation.first, *range(ablation.seeds))
    at = next((at for at, seed in enumerate(seeds) if ablation.is_broken(seed, switched_off=True)), None)
    assert at is not None, f"{ablation.seeds} seeds, and {ablation.breaks} held without it"
    assert not any(ablation.is_broken(seed, switched_off=False) for seed in seeds[: at + 1])


def test_the_steps_of_settling_in_their_order_break_nothing() -> None:
    """The order is what the ablations of it change, and nothing else."""
    ablation = Ablation("none", Invariant.NOTHING_LOST, "lease", CRASH, patches=(off.in_order,))
    for seed in range(20):
        assert ablation.play(seed, switched_off=True).broken == ()


def test_a_claim_that_could_not_be_renewed_is_known_to_have_run_out() -> None:
    """To forget it too is a second bolt: within the skew bound nobody takes over what has not run out."""
    rates = FaultRates(pause=0.6, duplicate=0.3, crash=0.3, skew=1.0)
    ablation = Ablation(
        "none", Invariant.ONE_START_WHILE_HELD, "lease", rates, patches=(off.keeps_lost_claims,)
    )
    assert not any(ablation.is_broken(seed, switched_off=True) for seed in range(40))


BEHIND = [
    each
    for each in ABLATIONS
    if set(each.patches) & set(off.SECOND_LINES) and (each.copy or set(each.patches) - set(off.SECOND_LINES))
]


@pytest.mark.parametrize("ablation", BEHIND, ids=lambda ablation: ablation.name)
def test_either_of_two_safeguards_is_enough(ablation: Ablation) -> None:
    first_line = tuple(each for each in ablation.patches if each not in off.SECOND_LINES)
    second_line = tuple(each for each in ablation.patches if each in off.SECOND_LINES)
    for alone in (
        msgspec.structs.replace(ablation, patches=first_line),
        msgspec.structs.replace(ablation, patches=second_line, copy=None),
    ):
        assert not any(alone.is_broken(seed, switched_off=True) for seed in range(30)), alone.patches
