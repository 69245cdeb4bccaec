"""What a program asks for beside a run itself: a limit on its cost, and word of its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kon.api.attached import AttachedRun
from kon.core.errors import ConfigurationError, Interrupted
from kon.core.spec import RunSpec
from kon.engine.records.records import RunFolder

if TYPE_CHECKING:  # with the prices and boto3, which a run that asks for neither does without
    from kon.launch.budget import Spending
    from kon.launch.notice import Notices

_Result = TypeVar("_Result")

_log = logging.getLogger("kon")


class Wishes(NamedTuple):
    """max_cost: in US dollars. notify: the ARN of an SNS topic, or `fleet`. None for none."""

    max_cost: float | str | None = None
    notify: str | None = None

    def __bool__(self) -> bool:
        return self != Wishes()


class Watched:
    """Keeps a run to its limit, and tells of its end, as long as this program is its client."""

    def __init__(self, spending: Spending | None = None, notices: Notices | None = None) -> None:
        self._spending = spending
        self._notices = notices

    def check(self) -> None:
        """Raises OverBudget where too much is spent already for anything more to be run."""
        if self._spending is not None:
            for _ in self._spending.read():
                pass
            # of calls and commands nobody knows beforehand how long they take: there is no estimate
            self._spending.budget.check([], self._spending.usd(time.time()))

    async def hold(
        self, work: Coroutine[Any, Any, _Result], current: Callable[[], AttachedRun | None]
    ) -> _Result:
        """The result of `work`. Raises OverBudget once too much is spent, and pauses the run `current`."""
        if self._spending is None:
            return await work
        from kon.launch.budget import within

        return await within(self._spending, current, work, time.time)

    def ended(self, row: dict[str, Any], folder: RunFolder) -> None:
        """Its row has just been written."""
        if self._notices is not None:
            self._notices.ended(row, folder.path)

    @contextmanager
    def of_what_breaks(self, folder: RunFolder) -> Iterator[None]:
        """Within it, an error that breaks the run off is told."""
        if self._notices is None:
            yield
            return
        try:
            with self._notices.of_what_breaks(lambda: folder):
                yield
        except asyncio.CancelledError:
            self._notices.broken_off(folder, Interrupted("its program has left it, and nobody collects it"))
            raise


def watched(caller: str, wishes: Wishes, folder: RunFolder | None, spec: RunSpec) -> Watched:
    """What watches over a run that is not over; folder: its kept records.

    Raises ConfigurationError for wishes that can't be met.
    """
    if not wishes:
        return Watched()
    if folder is None:
        raise ConfigurationError(
            f"{caller}: max_cost and notify are for runs whose records are kept, so that a run which was "
            "paused can go on; name a folder, out=..."
        )
    try:
        spending = None if wishes.max_cost is None else _spending(wishes.max_cost, folder, spec)
        return Watched(spending, None if wishes.notify is None else _notices(wishes.notify, spec))
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
