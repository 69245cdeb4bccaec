"""`result_once`: run, then insert the result if there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kon.core.ledger import Record
from kon.core.strategy import Claim, Defer, Guarantee, Skip, Strategy, Verdict, is_ours
from kon.core.task import Outcome, State, Task, decode_outcome, encode


class ResultOnce(Strategy):
    """For tasks that may run twice as long as one result counts.

    A delivery whose task has a result already is answered from it; the first insert of a result
    stands, and later ones are answered with it.
    """

    name: ClassVar[str] = "result_once"
    guarantee = Guarantee(nothing_lost=True, one_start=False, one_start_while_held=False, one_result=True)

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        found = await self.ledger.read([task.index for task in tasks])
        return [
            Claim(task) if record is None else Skip(_outcome(record))
            for task, record in zip(tasks, found, strict=True)
        ]

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        token = self.new_token()
        stands: dict[int, Outcome] = {outcome.index: outcome for outcome in outcomes}
        final = [outcome for outcome in outcomes if outcome.state is not State.RETRY]
        found = await self.ledger.insert_new(
            [
                Record(
                    outcome.index, token, outcome.state, outcome.attempt, self.worker, outcome=encode(outcome)
                )
                for outcome in final
            ]
        )
        for outcome, record in zip(final, found, strict=True):
            if record is not None and not is_ours(record, token):
                stands[outcome.index] = _outcome(record)
        return [stands[outcome.index] for outcome in outcomes]

    async def recall(self, indexes: Sequence[int], attempts: range) -> list[Outcome | Defer | None]:
        return [None if record is None else _outcome(record) for record in await self.ledger.read(indexes)]


def _outcome(record: Record) -> Outcome:
    assert record.outcome is not None, "result_once writes no row without an outcome"
    return decode_outcome(record.outcome)
