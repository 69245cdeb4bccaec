"""The table of a plan, and which of its forecasts to take."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kon.report.tables import draw, rounded
from kon.trials.plan.forecast import Forecast

_HEADERS = [
    "strategy",
    "workers",
    "instance",
    "makespan",
    "work\n(s)",
    "tasks/s",
    "efficiency\n(%)",
    "requests",
]


def plan_table(forecasts: Sequence[Forecast], width: int | None = None) -> str:
    """A line for each forecast, of one experiment. width: of the terminal that it has to fit."""
    services = list(forecasts[0].usd_by_service)
    headers = [*_HEADERS, *(f"{service}\n($)" for service in services), "in all\n($)", "held back by"]
    body = [_line(each, services) for each in forecasts]
    align = ["left", "right", "left", *["right"] * (len(headers) - 4), "left"]
    return draw(body, headers, align, width=width)


def _line(forecast: Forecast, services: Sequence[str]) -> list[str]:
    setting = forecast.setting
    efficiency = "-" if forecast.efficiency is None else rounded(forecast.efficiency * 100)
    return [
        forecast.strategy,
        f"{setting.workers:,}",
        f"{setting.instance}{' spot' if setting.spot else ''}",
        duration(forecast.makespan_s),
        rounded(forecast.work_s),
        rounded(forecast.tasks_per_s),
        efficiency,
        f"{forecast.requests:,.0f}",
        *(usd(forecast.usd_by_service[service]) for service in services),
        usd(forecast.usd),
        forecast.held_back_by,
    ]


def duration(seconds: float) -> str:
    """For people: 45 s, 3 min 20 s, 5 h 03 min, 12 d 4 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{rounded(seconds)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def usd(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 10 else f"{amount:.4f}" if amount < 0.1 else f"{amount:.3f}"


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
