"""Copies of strategies with a safeguard taken out, and one that does not work at all."""

from __future__ import annotations

from collections.abc import Sequence

from kon.core.ledger import Record
from kon.core.strategy import Claim, Skip, Verdict
from kon.core.task import Outcome, Task, attempt_keys
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease


class UnconditionalCommit(Lease):
    """Writes its result whoever holds the claim by now."""

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        await self.ledger.put(
            [self._result(claim, outcome) for claim, outcome in zip(claims, outcomes, strict=True)]
        )
        return list(outcomes)


class NoTokenCompare(ConditionalPut):
    """Takes its own record, which it meets again after a lost reply, for somebody else's."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        token = self.new_token()
        found = await self.ledger.insert_new([Record(key, token) for key in attempt_keys(tasks)])
        return [
            Claim(task, token) if record is None else Skip()
            for task, record in zip(tasks, found, strict=True)
        ]


class BlindTakeover(Lease):
    """Takes a claim over without a look at whether it is still the one that ran out."""

    async def _take_over(self, tasks: Sequence[Task], rows: Sequence[Record]) -> list[Verdict]:
        token, until_s = self.new_token(), self.clock.now_s() + self._lease_s
        due = [Task(task.index, task.body, row.attempt) for task, row in zip(tasks, rows, strict=True)]
        await self.ledger.put([self._claim(task, task.attempt, token, until_s) for task in due])
        return [Claim(task, token, until_s) for task in due]


class Faulty(Lease):
    """Raises what nobody expects."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        raise ZeroDivisionError("a fault of the strategy's own")
