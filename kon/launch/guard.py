"""A guard over runs: keeps them to a limit on their cost, and sends word of their end. Without either it
does nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from kon.core.errors import Interrupted, KonError, first_cause
from kon.engine.records.records import RunFolder
from kon.launch.client_run import ClientRun

if TYPE_CHECKING:  # with the prices and boto3, which most runs do without
    from kon.launch.budget import Spending
    from kon.launch.notice import Notices

_Result = TypeVar("_Result")


_LEFT = Interrupted("its program has ended, and nobody collects it")


class RunGuard:
    """Guards the runs of one client.

    spending: the limit that they are held to; it may be set later, before `hold`.
    notices: the topic that is told.
    """

    def __init__(self, spending: Spending | None = None, notices: Notices | None = None) -> None:
        self.spending = spending
        self._notices = notices

    def check(self) -> None:
        """Raises OverBudget where too much is spent already for anything more to be run.

        This is the check of runs for which there is no estimate.
        """
        if self.spending is not None:
            for _ in self.spending.read():
                pass
            self.spending.budget.check([], self.spending.usd(time.time()))

    async def hold(
        self, work: Coroutine[Any, Any, _Result], current: Callable[[], ClientRun | None]
    ) -> _Result:
        """The result of `work`. Raises OverBudget once too much is spent, and pauses the run `current`."""
        if self.spending is None:
            return await work
        from kon.launch.budget import within

        return await within(self.spending, current, work, time.time)

    def ended(self, row: dict[str, Any], folder: RunFolder) -> None:
        """Tell that a run has ended just now; this is its row."""
        if self._notices is not None:
            self._notices.ended(row, folder.path)

    def broken_off(self, folder: RunFolder, error: BaseException) -> None:
        """Tell that a run is left as it is, and why."""
        if self._notices is not None:
            self._notices.broken_off(folder, error)

    @contextmanager
    def tells_of_breaks(self, current: Callable[[], RunFolder | None]) -> Iterator[None]:
        """Within it, whatever breaks off the run `current` is told: an error, or the end of its program."""
        try:
            yield
        except (KonError, BaseExceptionGroup, asyncio.CancelledError) as error:
            folder = current()
            if folder is not None:
                is_left = isinstance(error, asyncio.CancelledError)
                self.broken_off(folder, _LEFT if is_left else first_cause(error))
            raise
