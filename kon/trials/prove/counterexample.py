"""A counter-example: one schedule and its faults, under which an invariant breaks whenever it is replayed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kon.backends.sim.faults import FaultRates, Fired
from kon.backends.sim.schedule import Given
from kon.backends.sim.trace import Trace
from kon.core.spec import Plugin
from kon.trials.prove.invariants import Break, Invariant
from kon.trials.prove.playing import play
from kon.trials.prove.scenario import MakeStrategy, Played, Scenario


class Counterexample(msgspec.Struct, frozen=True):
    """All that decides how it goes.

    seed: decides how long tasks take and how far each fault goes; not which faults, nor who runs next.
    faults: those that fire. picks: who runs next, as `kon.backends.sim.schedule.Given` repeats it.
    """

    invariant: Invariant
    scenario: Scenario
    seed: int
    faults: tuple[Fired, ...]
    picks: tuple[int, ...]

    @property
    def strategy(self) -> Plugin:
        return self.scenario.strategy

    @property
    def deviations(self) -> int:
        """How often something else runs than what is first in line."""
        return sum(1 for pick in self.picks if pick)

    def replay(self, trace: Trace | None = None, make_strategy: MakeStrategy | None = None) -> Played:
        return play(
            self.scenario,
            self.seed,
            schedule=Given(self.picks),
            plan=self.faults,
            trace=trace,
            make_strategy=make_strategy,
        )

    def break_in(self, played: Played) -> Break | None:
        """The first break of its invariant, or None when that held."""
        return next((each for each in played.breaks if each.invariant is self.invariant), None)


def taken_from(played: Played, scenario: Scenario, invariant: Invariant) -> Counterexample:
    """What happened there, as something that can be replayed; the rates have done their work."""
    leased = scenario.leased or scenario.rates.second_client > 0.0
    quiet = msgspec.structs.replace(scenario, rates=FaultRates(), leased=leased)
    picks = without_trailing_zeros(played.picks)
    return Counterexample(invariant, quiet, played.seed, tuple(played.fired), picks)


def without_trailing_zeros(picks: Sequence[int]) -> tuple[int, ...]:
    """Picks that say the same: a schedule goes on in order where it has none."""
    end = len(picks)
    while end and not picks[end - 1]:
        end -= 1
    return tuple(picks[:end])
