"""`read_then_write`: look whether the task has been recorded; if not, run it and record it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from kon.core.clock import Clock
from kon.core.ledger import Ledger, Record
from kon.core.options import OptionError
from kon.core.strategy import Claim, Defer, Guarantee, Skip, Strategy, Verdict
from kon.core.task import Outcome, State, Task, attempt_key, attempt_keys, decode_outcome, encode


class ReadThenWrite(Strategy):
    """Two plain calls, as the older systems made them, with a gap between in which another may look.

    record: `after` writes when the task has run: nothing is lost, but two workers that look at once
        (or read stale rows) both run it. `before` writes when it is about to run: the gap is
        shorter, and a crash after the write loses the task.
    """

    name: ClassVar[str] = "read_then_write"
    guarantee = Guarantee(nothing_lost=False, one_start=False, one_start_while_held=False, one_result=False)

    def __init__(
        self, ledger: Ledger, worker: str, clock: Clock, *, record: Literal["after", "before"] = "after"
    ) -> None:
        super().__init__(ledger, worker, clock)
        if record not in ("after", "before"):
            raise OptionError(f'record must be "after" or "before", not {record!r}', "record")
        self._before = record == "before"
        self.guarantee = Guarantee(
            nothing_lost=not self._before, one_start=False, one_start_while_held=False, one_result=False
        )

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        found = await self.ledger.read(attempt_keys(tasks))
        verdicts: list[Verdict] = [
            Claim(task, self.worker) if record is None else _skip(record)
            for task, record in zip(tasks, found, strict=True)
        ]
        if self._before:
            claims = [verdict for verdict in verdicts if isinstance(verdict, Claim)]
            await self.ledger.put([self._record(claim.task, State.CLAIMED) for claim in claims])
        return verdicts

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        if not self._before:
            await self.ledger.put(
                [
                    self._record(claim.task, outcome.state, encode(outcome))
                    for claim, outcome in zip(claims, outcomes, strict=True)
                    if outcome.state is not State.RETRY
                ]
            )
        return list(outcomes)

    async def release(self, claims: Sequence[Claim]) -> None:
        if self._before:
            keys = attempt_keys([claim.task for claim in claims])
            await self.ledger.delete(keys, [claim.token for claim in claims])

    async def recall(self, indexes: Sequence[int], attempts: range) -> list[Outcome | Defer | None]:
        known: dict[int, Outcome] = {}
        left = list(indexes)  # that are not known to be done
        for attempt in attempts:
            if not left:
                break
            for row in await self.ledger.read([attempt_key(index, attempt) for index in left]):
                if row is not None and row.outcome is not None:
                    outcome = decode_outcome(row.outcome)
                    known[outcome.index] = outcome
            left = [index for index in left if index not in known or known[index].state is not State.DONE]
        return [known.get(index) for index in indexes]

    def _record(self, task: Task, state: State, outcome: bytes | None = None) -> Record:
        key = attempt_key(task.index, task.attempt)
        return Record(key, self.worker, state, task.attempt, self.worker, outcome=outcome)


def _skip(record: Record) -> Skip:
    return Skip(None if record.outcome is None else decode_outcome(record.outcome))
