"""`fifo`: leave it to the queue."""

from __future__ import annotations

from typing import ClassVar

from kon.core.strategy import Guarantee
from kon.strategies.none import NoDeduplication


class Fifo(NoDeduplication):
    """Every delivery runs, and the queue drops what is sent again within five minutes, as SQS FIFO does.

    That takes no ledger, and helps against repeated sends alone: a message whose worker died or was slow
    comes again, as from any queue, and runs again.
    """

    name: ClassVar[str] = "fifo"
    guarantee = Guarantee(nothing_lost=True, one_start=False, one_start_while_held=False, one_result=False)
    needs_fifo: ClassVar[bool] = True
