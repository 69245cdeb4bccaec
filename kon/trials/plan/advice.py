"""Which of several forecasts to take."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kon.trials.plan.forecast import Forecast


class Advice(msgspec.Struct, frozen=True):
    """meets: whether `choice` meets the deadline and the budget; else it comes nearest. why: in words."""

    choice: Forecast
    meets: bool
    why: str


def advise(
    forecasts: Sequence[Forecast], deadline_s: float | None = None, budget_usd: float | None = None
) -> Advice:
    """The cheapest that meets the deadline, or the fastest within the budget, or the one that comes nearest.

    With both, the cheapest that meets both; with neither, the one of least cost times time.
    """
    in_time = [each for each in forecasts if deadline_s is None or each.makespan_s <= deadline_s]
    affordable = [each for each in forecasts if budget_usd is None or each.usd <= budget_usd]
    fits = [each for each in in_time if each in affordable]
    if deadline_s is None and budget_usd is None:
        best = min(forecasts, key=lambda each: each.makespan_s * each.usd)
        return Advice(best, True, "the best bargain of time and money")
    if fits and deadline_s is not None:
        words = "the cheapest that meets the deadline" + (" and the budget" if budget_usd is not None else "")
        return Advice(min(fits, key=lambda each: (each.usd, each.makespan_s)), True, words)
    if fits:
        fastest = min(fits, key=lambda each: (each.makespan_s, each.usd))
        return Advice(fastest, True, "the fastest within the budget")
    if in_time and deadline_s is not None:
        nearest = min(in_time, key=lambda each: (each.usd, each.makespan_s))
        return Advice(nearest, False, "none meets both; this is the cheapest that meets the deadline")
    if deadline_s is not None:
        nearest = min(forecasts, key=lambda each: (each.makespan_s, each.usd))
        return Advice(nearest, False, "none meets the deadline; this is the fastest")
    nearest = min(forecasts, key=lambda each: (each.usd, each.makespan_s))
    return Advice(nearest, False, "none is within the budget; this is the cheapest")
