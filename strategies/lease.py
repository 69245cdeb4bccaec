"""`lease`: a claim that runs out, is renewed while its task runs, and fences the commit.

    time ->
    worker A   insert claim a ---- renew a ---- renew a  (paused)              commit if token a: refused
    ledger     [a, until t1]      [a, until t2]          t2 passes  [b, until t3]  [b, done]
    worker B             found a: DEFER                  replace a by b ---- commit if token b: kept

Every write changes the token: a renewal of claim `a` makes it `a~...`, the commit `a!`. So a takeover,
which replaces the very token that it saw run out, fails when the holder renewed in between; and a
renewal that is late on its way can't reopen a task whose commit overtook it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kon.core.clock import Clock
from kon.core.ledger import Ledger, Record
from kon.core.options import OptionError
from kon.core.strategy import Claim, Defer, Guarantee, Skip, Strategy, Verdict, is_ours
from kon.core.task import Outcome, State, Task, decode_outcome, encode


class Lease(Strategy):
    """One committed result for each task, nothing lost, and a second start only after a lease passed.

    lease_s: how long a claim holds without renewal, in seconds. A crash costs that long.
    skew_s: how far the clocks of two hosts may be apart, in seconds. A lease is taken over only
        when it has passed by that much more; with clocks further apart than that, two workers may
        run a task at once, and still only one result is kept.
    """

    name: ClassVar[str] = "lease"
    guarantee = Guarantee(nothing_lost=True, one_start=False, one_start_while_held=True, one_result=True)
    defers: ClassVar[bool] = True

    def __init__(
        self, ledger: Ledger, worker: str, clock: Clock, *, lease_s: float = 30.0, skew_s: float = 0.5
    ) -> None:
        super().__init__(ledger, worker, clock)
        if not 0.3 <= lease_s <= 43_200:
            raise OptionError(f"lease_s must be from 0.3 to 43200 seconds, not {lease_s}", "lease_s")
        if not 0 <= skew_s <= 3_600:
            raise OptionError(f"skew_s must be from 0 to 3600 seconds, not {skew_s}", "skew_s")
        self._lease_s = lease_s
        self._skew_s = skew_s

    @property
    def lease_s(self) -> float:
        return self._lease_s

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        # The lease counts from before the call, so that a slow reply makes it shorter, never longer.
        token, until_s = self.new_token(), self.clock.now_s() + self._lease_s
        claims = [self._claim(task, task.attempt, token, until_s) for task in tasks]
        found = await self.ledger.insert_new(claims)
        verdicts = [self._judge(task, token, until_s, row) for task, row in zip(tasks, found, strict=True)]
        take = [at for at, verdict in enumerate(verdicts) if verdict is None]
        if take:
            rows = [row for at in take if (row := found[at]) is not None]
            for at, verdict in zip(
                take, await self._take_over([tasks[at] for at in take], rows), strict=True
            ):
                verdicts[at] = verdict
        return [verdict for verdict in verdicts if verdict is not None]

    def _judge(self, task: Task, token: str, until_s: float, row: Record | None) -> Verdict | None:
        """What a row that was found means; None when it may be taken over."""
        if row is None or is_ours(row, token):
            return Claim(task, token, until_s)
        if row.state is State.RETRY:
            return None
        if row.outcome is not None:
            return Skip(decode_outcome(row.outcome))
        remaining_s = self._remaining_s(row)
        return Defer(remaining_s) if remaining_s > 0 else None

    async def _take_over(self, tasks: Sequence[Task], rows: Sequence[Record]) -> list[Verdict]:
        token, until_s = self.new_token(), self.clock.now_s() + self._lease_s
        # the row, not the message, knows which attempt is due
        due = [Task(task.index, task.body, row.attempt) for task, row in zip(tasks, rows, strict=True)]
        found = await self.ledger.replace(
            [self._claim(task, task.attempt, token, until_s) for task in due], [row.token for row in rows]
        )
        verdicts = [
            # somebody else was faster, or gave it back in this very moment
            self._judge(task, token, until_s, row) or Defer(0.0)
            for task, row in zip(due, found, strict=True)
        ]
        for row, verdict in zip(rows, verdicts, strict=True):
            self.takeovers += row.state is State.CLAIMED and isinstance(verdict, Claim)
        return verdicts

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        records = [self._result(claim, outcome) for claim, outcome in zip(claims, outcomes, strict=True)]
        found = await self._replace_ours(records, claims)
        return [
            outcome if row is None or row == record else None
            for outcome, record, row in zip(outcomes, records, found, strict=True)
        ]

    async def recall(self, indexes: Sequence[int], attempts: range) -> list[Outcome | Defer | None]:
        return [self._known(row) for row in await self.ledger.read(indexes)]

    def _known(self, row: Record | None) -> Outcome | Defer | None:
        if row is None:
            return None
        if row.outcome is not None:
            return decode_outcome(row.outcome)
        remaining_s = self._remaining_s(row)
        return Defer(remaining_s) if remaining_s > 0 else None

    def _remaining_s(self, row: Record) -> float:
        """How much longer a claim may hold, by its holder's clock, in seconds."""
        return row.expires_s + self._skew_s - self.clock.now_s()

    async def renew(self, claims: Sequence[Claim]) -> list[Claim | None]:
        until_s = self.clock.now_s() + self._lease_s
        renewal = self.new_token()
        renewed = [Claim(claim.task, f"{_claim_of(claim.token)}~{renewal}", until_s) for claim in claims]
        records = [self._claim(claim.task, claim.task.attempt, claim.token, until_s) for claim in renewed]
        found = await self._replace_ours(records, claims)
        return [
            claim if row is None or row == record else None
            for claim, record, row in zip(renewed, records, found, strict=True)
        ]

    async def _replace_ours(self, records: Sequence[Record], claims: Sequence[Claim]) -> list[Record | None]:
        """Replace each claim's row, also where a renewal of ours got there unseen (its reply was lost, or
        it was on its way): the row is then still under this claim, with a later token."""
        found = await self.ledger.replace(records, [claim.token for claim in claims])
        again = [
            (at, row)
            for at, row in enumerate(found)
            if row is not None
            and row.token != records[at].token
            and _claim_of(row.token) == _claim_of(claims[at].token)
        ]
        if again:
            rows = await self.ledger.replace(
                [records[at] for at, _ in again], [row.token for _, row in again]
            )
            for (at, _), row in zip(again, rows, strict=True):
                found[at] = row
        return found

    async def release(self, claims: Sequence[Claim]) -> None:
        # one that was renewed unseen is left to run out
        await self.ledger.delete([claim.task.index for claim in claims], [claim.token for claim in claims])

    def _claim(self, task: Task, attempt: int, token: str, until_s: float) -> Record:
        return Record(task.index, token, State.CLAIMED, attempt, self.worker, until_s)

    def _result(self, claim: Claim, outcome: Outcome) -> Record:
        retry = outcome.state is State.RETRY
        return Record(
            outcome.index,
            f"{_claim_of(claim.token)}!",
            outcome.state,
            outcome.attempt + retry,
            self.worker,
            outcome=None if retry else encode(outcome),
        )


def _claim_of(token: str) -> str:
    """The claim that a token belongs to, whatever renewal it is of."""
    return token.partition("~")[0]
