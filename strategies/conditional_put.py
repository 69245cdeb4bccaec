"""`conditional_put`: whoever inserts the task's id first runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kon.core.ledger import Record
from kon.core.strategy import Claim, Guarantee, Skip, Strategy, Verdict, is_ours
from kon.core.task import Outcome, Task, attempt_keys


class ConditionalPut(Strategy):
    """One conditional write for each attempt, and none after it.

    Never two starts of an attempt. The price: a worker that dies between the insert and the answer
    takes its tasks with it. Their messages come again, find the claim and are skipped; the client
    counts them as lost.
    """

    name: ClassVar[str] = "conditional_put"
    guarantee = Guarantee(nothing_lost=False, one_start=True, one_start_while_held=True, one_result=True)

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        token, owner = self.new_token(), self.worker
        found = await self.ledger.insert_new([Record(key, token, owner=owner) for key in attempt_keys(tasks)])
        if not any(found):  # as good as always
            return [Claim(task, token) for task in tasks]
        return [
            Claim(task, token) if is_ours(record, token) else Skip()
            for task, record in zip(tasks, found, strict=True)
        ]

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        return list(outcomes)

    async def release(self, claims: Sequence[Claim]) -> None:
        keys = attempt_keys([claim.task for claim in claims])
        await self.ledger.delete(keys, [claim.token for claim in claims])
