"""`none`: run whatever comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kon.core.strategy import Claim, Guarantee, Strategy, Verdict
from kon.core.task import Outcome, Task


class NoDeduplication(Strategy):
    """Every delivery runs. Nothing is lost, and what comes twice is done twice."""

    name: ClassVar[str] = "none"
    guarantee = Guarantee(nothing_lost=True, one_start=False, one_start_while_held=False, one_result=False)
    uses_ledger: ClassVar[bool] = False

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        return [Claim(task) for task in tasks]

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        return list(outcomes)
