"""What is played under a seed: the scenario, and all settings of it that the seed decides."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from kon.core.plugins import strategy_class
from kon.core.spec import Plugin
from kon.core.strategy import Strategy
from kon.engine.give_back import DEFAULT_HOLD, HoldLimits
from kon.trials.prove.classes import FaultClass, promises_of
from kon.trials.prove.on_sqlite import for_large
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import Invariant, MakeStrategy, Played, Scenario

SCENARIO: Final = Scenario(tasks=8, workers=3, horizon=300)
"""What is searched by default: small, so that a schedule is quick, and every task meets a fault or two."""


LARGE_EVERY: Final = 100
"""Every hundredth schedule has `LARGE_TASKS`."""

LARGE_TASKS: Final = 1_250

SIZES: Final = range(1, 9)
"""Tasks of a message, where kon finds how many."""

MORE_TASKS: Final = (1, 3, 10)
"""Times as many tasks, where kon packs them as in a run: in the few of a schedule it learns little."""

BRIEF: Final = (0.0, 0.8, 0.95, 1.0, 1.0)
"""The share of tasks there that are brief."""

BRIEF_TIMES: Final = (0.0005, 0.005, 0.05)
"""How long brief tasks take, of the usual duration: from a millisecond on."""

WAITS_S: Final = (0.2, DEFAULT_HOLD.wait_s)
"""How long tasks may wait in a worker there: also less than usual, so that some go back."""

_AUTO: Final[dict[str, Any]] = {"bundle": None, "prefetch": None}


def scenario_of(base: Scenario, strategy: Plugin, faults: FaultClass, seed: int) -> Scenario:
    """What is played under a seed.

    The seed also decides how many tasks go into a message and into a row of the ledger, how often a message
    may be received, whether attempts time out, how large results are, whether the kind takes no time, whether
    a client that crashes loses the end of its records, whether there are messages that are not kon's, whether
    attempts store something, whether tasks wait for room on their machine, and how many tasks there are.

    In every other six seeds kon finds the sizes of messages itself, in small: messages of every size, in
    pages and not, which workers split and give back while some of their tasks run. In a third of these it
    packs them just as in a run, by what it learns of tasks from a millisecond on.
    """
    rates = faults.rates
    drawn: dict[str, Any] = {
        "max_receives": (1_000, 5, 2, 1)[seed // 12 % 4],
        "timeout_s": 3.0 if seed // 5 % 8 == 7 else None,
        "result_bytes": 600 if seed // 7 % 3 == 2 else 0,
        "instant": seed // 11 % 14 == 13,
        "foreign": seed % 17 == 11,
        "stores": seed % 19 == 7 and base.backend == "sim",
        "hesitates": seed % 13 == 6,
    }
    if seed % LARGE_EVERY == LARGE_EVERY - 1:
        # more tasks than any batch of the worker's or the client's takes
        drawn |= {"tasks": LARGE_TASKS, "bundle": 100, "tasks_per_row": 1, "instant": True, "horizon": 3_000}
        rates = for_large(rates)
    elif seed // 6 % 2 and seed % 6 >= 4:
        draw = random.Random(f"packing:{seed}")
        drawn |= _AUTO | {
            "tasks_per_row": None if seed % 2 else 1,
            "tasks": base.tasks * draw.choice(MORE_TASKS),
            "brief": draw.choice(BRIEF),
            "brief_times": draw.choice(BRIEF_TIMES),
            "hold": HoldLimits(wait_s=draw.choice(WAITS_S)),
        }
    elif seed // 6 % 2:
        draw = random.Random(f"messages:{seed}")
        drawn |= _AUTO | {
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
    # where the ledger has no outcomes nothing can be read back, and `durability: full` is what helps
    drawn["forgets"] = seed % 5 == 4 and _keeps_outcomes(strategy)
    if base.backend != "sim":  # whose receipt handles can be noted
        drawn["hands_on"] = drawn["tasks_per_row"] == 1 and seed % 3 > 0
    return msgspec.structs.replace(base, strategy=strategy, rates=rates, **drawn)


def _keeps_outcomes(strategy: Plugin) -> bool:
    """Whether the ledger has the outcome of every task that was answered."""
    reads_back = strategy_class(strategy.name).recall is not Strategy.recall
    return reads_back and Invariant.NOTHING_LOST in promises_of(strategy)


def play_seed(
    base: Scenario, strategy: Plugin, faults: FaultClass, seed: int, make_strategy: MakeStrategy | None = None
) -> Played:
    """The schedule of a seed, as the search plays it."""
    return play(scenario_of(base, strategy, faults, seed), seed, make_strategy=make_strategy)


class Try(msgspec.Struct, frozen=True):
    """One schedule of a search: what was played, and how it went, or what it raised that it should not."""

    number: int
    scenario: Scenario
    played: Played | None
    error: Exception | BaseExceptionGroup[BaseException] | None = None


def by_seeds(base: Scenario, strategy: Plugin, faults: FaultClass, seeds: range) -> Iterator[Try]:
    """The schedules of these seeds, each by itself."""
    for seed in seeds:
        scenario = scenario_of(base, strategy, faults, seed)
        try:
            yield Try(seed, scenario, play(scenario, seed))
        except (Exception, BaseExceptionGroup) as error:  # of the strategy under test, whatever it may be
            yield Try(seed, scenario, None, error)
