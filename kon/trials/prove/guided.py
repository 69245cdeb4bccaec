"""The guided search: a schedule that comes by something new is kept, and varied.

A campaign plays schedules by seeds, half of them as the search without a guide does and half by priorities
(see `Prioritized`). Whatever comes by a sight that none before it did is kept. Three in ten schedules vary
those that were kept: a fault less, a fault more, one on another occasion, the faults of two together, another
order from some step on. All follows from the campaign's first number: any schedule in it can be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence
from typing import Final

import msgspec

from kon.backends.sim.faults import FaultRates, Fired
from kon.backends.sim.schedule import Given, Prioritized, Schedule
from kon.core.spec import Plugin
from kon.trials.prove.classes import FaultClass
from kon.trials.prove.drawn import Try, scenario_of
from kon.trials.prove.scenario import MakeStrategy, Scenario, play
from kon.trials.prove.sights import Sights

CAMPAIGN: Final = 200
"""Schedules of one campaign."""

NEW: Final = 0.7
"""The share of schedules that vary none, once there is one to vary. With less, known breaks take longer:
what was kept first is varied again and again."""

NEAR: Final = 3
"""How many occasions away a fault is moved, at the most."""

LARGE: Final = 100
"""Scenarios with this number of tasks or more are not varied: one takes as long as ten others."""


class Kept(msgspec.Struct, frozen=True):
    """A schedule that came by something new."""

    scenario: Scenario
    seed: int
    faults: tuple[Fired, ...]
    picks: tuple[int, ...]


def campaign(
    base: Scenario,
    strategy: Plugin,
    faults: FaultClass,
    first: int,
    schedules: int = CAMPAIGN,
    make_strategy: MakeStrategy | None = None,
) -> Iterator[Try]:
    """The schedules of a campaign, one after another; it goes on only as far as it is asked to."""
    draw = random.Random(f"campaign:{strategy.label}:{faults.name}:{first}")
    kept: list[Kept] = []
    seen: set[Hashable] = set()
    for number in range(first, first + schedules):
        plan: Sequence[Fired] | None = None
        schedule: Schedule | None = None
        if not kept or draw.random() < NEW:
            seed, scenario = number, scenario_of(base, strategy, faults, number)
            if draw.random() < 0.5:
                schedule = Prioritized(number)
        else:
            one, other = _choice(kept, draw), _choice(kept, draw)
            scenario, seed = one.scenario, one.seed
            plan = _varied(one.faults, other.faults, faults.rates, draw)
            schedule = Given(*_other_order(one.picks, number, draw))
        sights = Sights()
        try:
            played = play(
                scenario,
                seed,
                schedule=schedule,
                plan=plan,
                make_strategy=make_strategy,
                sights=sights,
            )
        except (Exception, BaseExceptionGroup) as error:  # of the strategy under test, whatever it may be
            yield Try(number, scenario, None, error)
            continue
        if not sights.seen <= seen:
            seen |= sights.seen
            if scenario.tasks < LARGE:
                kept.append(Kept(scenario, seed, tuple(played.fired), tuple(played.picks)))
        yield Try(number, scenario, played)


def try_again(
    base: Scenario,
    strategy: Plugin,
    faults: FaultClass,
    number: int,
    make_strategy: MakeStrategy | None = None,
) -> Try:
    """The schedule of that number, with all of its campaign that it follows from."""
    first = number - number % CAMPAIGN
    tries = campaign(base, strategy, faults, first, number - first + 1, make_strategy)
    return list(tries)[-1]


def _choice(kept: Sequence[Kept], draw: random.Random) -> Kept:
    """One of those that were kept, the newer the more likely: it came by what is seldom met."""
    return kept[int(len(kept) * (1.0 - draw.random() ** 2))]


def _varied(
    faults: Sequence[Fired], others: Sequence[Fired], rates: FaultRates, draw: random.Random
) -> list[Fired]:
    """Some other faults than these; of `others` some at times."""
    varied = list(faults)
    for _ in range(draw.choice((1, 1, 2, 4))):
        how = draw.random()
        if how < 0.3 and varied:
            varied.pop(draw.randrange(len(varied)))
        elif how < 0.6 and varied:
            at = draw.randrange(len(varied))
            moved = max(0, varied[at].nth + draw.randint(-NEAR, NEAR))
            varied[at] = msgspec.structs.replace(varied[at], nth=moved)
        elif how < 0.8 and varied:
            again = draw.choice(varied)
            varied.append(msgspec.structs.replace(again, nth=again.nth + draw.randint(1, NEAR)))
        elif how < 0.9 and others:
            cut = draw.randrange(len(others))
            varied = varied[: len(varied) // 2] + list(others[cut:])
        elif others:
            varied.append(draw.choice(others))
    return [each for each in varied if getattr(rates, each.fault) > 0.0]


def _other_order(
    picks: tuple[int, ...], number: int, draw: random.Random
) -> tuple[tuple[int, ...], str | None]:
    """Who runs next: as before, or as before up to some step and then at random."""
    if draw.random() < 0.5:
        return picks, None
    return picks[: draw.randint(0, len(picks))], f"guided:{number}"
