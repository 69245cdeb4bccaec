"""What a program asks for in addition to a run itself: a limit on its cost, and word of its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from kon.core.errors import ConfigurationError
from kon.core.spec import RunSpec
from kon.engine.records.records import RunFolder
from kon.launch.guard import RunGuard

if TYPE_CHECKING:  # with the prices and boto3, which a run that asks for neither does without
    from kon.launch.budget import Spending
    from kon.launch.notice import Notices

_log = logging.getLogger("kon")


class Wishes(NamedTuple):
    """max_cost: in US dollars. notify: the ARN of an SNS topic, or `fleet`. None for none."""

    max_cost: float | str | None = None
    notify: str | None = None

    def __bool__(self) -> bool:
        return self != Wishes()


def guard(caller: str, wishes: Wishes, folder: RunFolder | None, spec: RunSpec) -> RunGuard:
    """The guard over a run that is not over; folder: its kept records.

    Raises ConfigurationError for wishes that can't be met.
    """
    if not wishes:
        return RunGuard()
    if folder is None:
        raise ConfigurationError(
            f"{caller}: max_cost and notify are for runs whose records are kept, so that a run which was "
            "paused can go on; name a folder, out=..."
        )
    try:
        spending = None if wishes.max_cost is None else _spending(wishes.max_cost, folder, spec)
        return RunGuard(spending, None if wishes.notify is None else _notices(wishes.notify, spec))
    except ConfigurationError as error:
        raise ConfigurationError(f"{caller}: {error}") from error


def refuse_wishes(caller: str, wishes: Wishes, folder: RunFolder) -> None:
    """Raise ConfigurationError for wishes about a run that this program is at work on already."""
    if wishes:
        raise ConfigurationError(
            f"{caller}: this program is at work on the run in {folder.path} already; max_cost and notify are "
            "for the call that begins it"
        )


def _spending(max_cost: float | str, folder: RunFolder, spec: RunSpec) -> Spending:
    from kon.backends.prices import usual_prices
    from kon.launch.budget import Budget, Spending
    from kon.trials.plan.asked import parse_usd

    most_usd = parse_usd(max_cost, "max_cost") if isinstance(max_cost, str) else float(max_cost)
    budget = Budget(most_usd, usual_prices(), option="max_cost")
    budget.check_applies([spec])
    return Spending(budget, folder.path.parent, [spec])


def _notices(topic: str, spec: RunSpec) -> Notices:
    from kon.launch.notice import Notices

    return Notices(topic, [spec], lambda text: _log.warning("%s", text), option="notify")
