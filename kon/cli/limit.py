"""`kon run --max-cost`: from the words on the command line to a limit on a campaign."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from kon.budget import Budget, within
from kon.campaign import Campaign
from kon.cli.experiment import Asked
from kon.cli.output import note
from kon.errors import ConfigurationError
from kon.experiment import Cell
from kon.local import LocalRun
from kon.plan.asked import parse_usd
from kon.plan.forecast import Forecast, Forecaster, Setting
from kon.plugins import backend_class
from kon.prices import Prices, usual_prices

Work = Coroutine[Any, Any, list[dict[str, Any]]]


def cost_limit(
    text: str, instance: str | None, spot: bool, asked: Asked, campaign: Campaign, *, apart: bool
) -> Callable[[Work], Work]:
    """What a campaign is to be run within. Raises OverBudget where its runs would cost too much.

    instance: the hosts' type; None where hosts are not paid for.
    """
    prices = usual_prices()
    billed = any(cell.spec.backend.name == "aws" for cell in campaign.cells)
    if not billed and instance is None:
        raise ConfigurationError(
            "--max-cost: nothing of this is paid for, as no backend is aws and no host was named; leave it "
            "out, or say which hosts: --instance t3.micro"
        )
    budget = Budget(parse_usd(text, "--max-cost"), prices, _hour_usd(prices, instance, spot))
    if budget.most_usd <= 0:
        raise ConfigurationError("--max-cost: expected more than 0")
    todo = [cell for cell in campaign.cells if not campaign.folder(cell).finished]
    forecasts = _forecasts(asked, todo, instance, prices, spot)
    if todo:
        budget.check(list(forecasts.values()), _spent_usd(campaign))

    def workers_usd(run: LocalRun) -> float:
        """Hosts elsewhere keep their records: what they asked for is thought to be as planned."""
        forecast = forecasts.get(run.spec.run)
        if not apart or forecast is None:
            return 0.0
        done = sum(len(packet.outcomes) for packet in run.folder.packets())
        requests_usd = forecast.usd - forecast.usd_by_service["EC2"]
        return requests_usd * min(1.0, done / run.spec.tasks)

    return lambda work: within(budget, campaign, work, time.time, workers_usd)


def _hour_usd(prices: Prices, instance: str | None, spot: bool) -> float | None:
    if instance is None:
        if spot:
            raise ConfigurationError("--spot: say which hosts, --instance TYPE")
        return None
    return prices.hour(instance) * (prices.ec2.spot_share if spot else 1.0)


def _forecasts(
    asked: Asked, todo: Sequence[Cell], instance: str | None, prices: Prices, spot: bool
) -> dict[str, Forecast]:
    """By the runs' names. Nothing where nobody knows how long tasks take; a note says so."""
    simulated = msgspec.structs.replace(asked, overrides=[*asked.overrides, "backend=sim"])
    try:
        cells = {cell.spec.run: cell for each in simulated.load() for cell in each.cells()}
    except ConfigurationError as error:
        note(f"no estimate of what it will cost, only a limit: {str(error).splitlines()[-1]}")
        return {}
    found, forecaster = {}, Forecaster(prices)
    for cell in todo:
        run = cell.spec.run
        if backend_class(cell.spec.backend.name).virtual_time or run not in cells:
            continue
        model = cells[run].spec.backend.options["latency"]
        type_ = instance or next(iter(model["instances"]))
        found[run] = forecaster.forecast(cells[run], Setting(cell.spec.workers, type_, spot))
    return found


def _spent_usd(campaign: Campaign) -> float:
    """By the rows of runs that are recorded."""
    folders = [campaign.folder(cell) for cell in campaign.cells]
    return sum(float(each.read_summary().get("usd") or 0.0) for each in folders if each.finished)
