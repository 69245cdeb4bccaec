"""Every safeguard switched off by itself: in copies of strategies, and in patches of worker and client."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from kon.core.clock import Clock
from kon.core.errors import BackendUnavailable
from kon.core.ledger import Ledger, Record
from kon.core.queue import Delivery
from kon.core.strategy import Claim, Defer, Skip, Verdict
from kon.core.task import Answers, Outcome, State, Task, decode_answers, decode_outcome, encode
from kon.engine.client import Client, ClientOptions
from kon.engine.control import Control, Roll, RunState
from kon.engine.executor import Executor
from kon.engine.holding import Held, Job
from kon.engine.missing import Missing
from kon.engine.packing import pack_answers
from kon.engine.patience import PatientLedger, PatientQueue
from kon.engine.records.events import Event, Named, Recorder
from kon.engine.settler import Settler
from kon.engine.tally import Tally
from kon.strategies.conditional_put import ConditionalPut
from kon.strategies.lease import Lease
from kon.strategies.result_once import ResultOnce

Off = Callable[[pytest.MonkeyPatch], None]


# --- strategies --------------------------------------------------------------------------------------


class NoCompareAtAdmit(Lease):
    """Takes its own claim, which it meets again after a lost reply, for another's."""

    def _judge(self, task: Task, token: str, until_s: float, row: Record | None) -> Verdict | None:
        if row is not None and row.token == token:
            return Defer(row.expires_s + self._skew_s - self.clock.now_s())
        return super()._judge(task, token, until_s, row)


class NoCompareAtCommit(Lease):
    """Takes its own result, which it meets again after a lost reply, for another's."""

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        records = [self._result(claim, outcome) for claim, outcome in zip(claims, outcomes, strict=True)]
        found = await self._replace_ours(records, claims)
        return [outcome if row is None else None for outcome, row in zip(outcomes, found, strict=True)]


class OwnResultForeign(ResultOnce):
    """Keeps the first result, and takes its own, which it meets again after a lost reply, for another's."""

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        stands: dict[int, Outcome] = {outcome.index: outcome for outcome in outcomes}
        found = await self.ledger.insert_new(_results(outcomes, self.new_token()))
        for row in found:
            if row is not None and row.outcome is not None:
                stands[row.key] = decode_outcome(row.outcome)
        return [stands[outcome.index] for outcome in outcomes]


class LastResult(ResultOnce):
    """Writes its result over the one that stands."""

    async def commit(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> list[Outcome | None]:
        await self.ledger.put(_results(outcomes, self.new_token()))
        return list(outcomes)


def _results(outcomes: Sequence[Outcome], token: str) -> list[Record]:
    final = [outcome for outcome in outcomes if outcome.state is not State.RETRY]
    return [Record(each.index, token, each.state, each.attempt, outcome=encode(each)) for each in final]


class Heartless(Lease):
    """Renews nothing."""

    async def renew(self, claims: Sequence[Claim]) -> list[Claim | None]:
        return list(claims)


class NoSkewBound(Lease):
    """Trusts that all clocks agree."""

    def __init__(self, ledger: Ledger, worker: str, clock: Clock) -> None:
        super().__init__(ledger, worker, clock, skew_s=0.0)


class CountsFromReply(Lease):
    """Counts its lease from the reply, when the table has counted for a while."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        verdicts = await super().admit(tasks)
        until_s = self.clock.now_s() + self._lease_s
        return [
            Claim(each.task, each.token, until_s) if isinstance(each, Claim) else each for each in verdicts
        ]


class SameTokenOnRenewal(Lease):
    """Renews under the token that it has, so that nobody can tell a renewed claim from the old one."""

    async def renew(self, claims: Sequence[Claim]) -> list[Claim | None]:
        until_s = self.clock.now_s() + self._lease_s
        records = [self._claim(claim.task, claim.task.attempt, claim.token, until_s) for claim in claims]
        found = await self.ledger.replace(records, [claim.token for claim in claims])
        return [
            Claim(claim.task, claim.token, until_s) if row is None or row == record else None
            for claim, record, row in zip(claims, records, found, strict=True)
        ]


class SameTokenOnCommit(SameTokenOnRenewal):
    """Commits under the token of the claim, so that a renewal that is late on its way reopens the task."""

    def _result(self, claim: Claim, outcome: Outcome) -> Record:
        return msgspec.structs.replace(super()._result(claim, outcome), token=claim.token)


class NoSecondTry(Lease):
    """Gives up where its own renewal, of which the reply was lost, got there before."""

    async def _replace_ours(self, records: Sequence[Record], claims: Sequence[Claim]) -> list[Record | None]:
        return await self.ledger.replace(records, [claim.token for claim in claims])


class Reincarnated(ConditionalPut):
    """Has the tokens of its earlier life, as a worker has whose next life bears the same name."""

    def new_token(self) -> str:
        return super().new_token().replace(self.worker, self.worker.partition(".")[0])


class Silent(Lease):
    """Does not tell again what was done."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        verdicts = await super().admit(tasks)
        return [Skip() if isinstance(verdict, Skip) else verdict for verdict in verdicts]


class AsksAnew(ConditionalPut):
    """Repeats by itself what got no reply, under another token."""

    async def admit(self, tasks: Sequence[Task]) -> list[Verdict]:
        while True:
            try:
                return await super().admit(tasks)
            except BackendUnavailable:
                await asyncio.sleep(1.0)


def impatient(patch: pytest.MonkeyPatch) -> None:
    """The table's calls are not repeated around the call itself."""

    async def insert_new(table: PatientLedger, records: Sequence[Record]) -> list[Record | None]:
        return await table._ledger.insert_new(records)

    patch.setattr(PatientLedger, "insert_new", insert_new)


# --- the worker --------------------------------------------------------------------------------------


def no_extend(patch: pytest.MonkeyPatch) -> None:
    """The heartbeat leaves messages to their visibility timeout."""

    async def extend(queue: PatientQueue, deliveries: Sequence[Delivery], visible_s: float) -> list[bool]:
        return [True] * len(deliveries)

    patch.setattr(PatientQueue, "extend", extend)


def starts_regardless(patch: pytest.MonkeyPatch) -> None:
    """A claim that ran out while it waited is no hindrance."""
    patch.setattr(Executor, "_may_start", lambda executor, job: True)


def acks_abandoned(patch: pytest.MonkeyPatch) -> None:
    """A message is acked also where one of its tasks must come again."""
    patch.setattr(Held, "abandoned", property(lambda held: False, lambda held, value: None))


def _settle_in(order: Sequence[str]) -> Off:
    """The steps of settling, in another order. `early` answers what ran, without a look at what stands."""

    async def settle(settler: Settler, jobs: Sequence[Job], named: Named) -> None:
        ended = settler._holding.settle(jobs)
        answers = [
            job.outcome for job in jobs if job.outcome is not None and job.outcome.state is not State.RETRY
        ]
        for step in order:
            if step == "commit":
                stands = await settler._commit(jobs, named)
                answers = stands if "early" not in order else answers
            elif step in ("answer", "early"):
                limit = settler._channel.answers.limits.max_bytes
                await settler._send(settler._channel.answers, pack_answers(settler._worker, answers, limit))
            elif step == "follow up":
                follow_ups = [job.follow_up for job in jobs if job.follow_up is not None]
                await settler._send(settler._channel.tasks, follow_ups)
            else:
                await settler._ack(ended, jobs, named)
                for held in ended:
                    held.jobs.extend(job for job in jobs if job.held is held)

    return lambda patch: patch.setattr(Settler, "_settle", settle)


in_order = _settle_in(["commit", "answer", "follow up", "ack"])
"""As it is: what the others differ from."""

acks_first = _settle_in(["ack", "commit", "answer", "follow up"])
acks_before_it_answers = _settle_in(["commit", "ack", "answer", "follow up"])
acks_before_it_defers = _settle_in(["commit", "answer", "ack", "follow up"])
answers_before_it_commits = _settle_in(["early", "commit", "follow up", "ack"])


def admits_repeats(patch: pytest.MonkeyPatch) -> None:
    """A batch in which one task stands twice goes to the strategy as it is."""
    patch.setattr("kon.engine.intake.without_repeats", lambda items, index_of: [items])


def settles_repeats(patch: pytest.MonkeyPatch) -> None:
    """A batch of outcomes in which one task stands twice goes to the strategy as it is."""
    patch.setattr("kon.engine.settler.without_repeats", lambda items, index_of: [items])


def records_starts_later(patch: pytest.MonkeyPatch) -> None:
    """A start is written down a second after it took place."""
    tasks = Recorder.tasks

    def late(recorder: Recorder, event: Event, about: Any, **fields: Any) -> None:
        if event is Event.START:
            asyncio.get_running_loop().call_later(1.0, functools.partial(tasks, recorder, event, about))
        else:
            tasks(recorder, event, about, **fields)

    patch.setattr(Recorder, "tasks", late)


def keeps_lost_claims(patch: pytest.MonkeyPatch) -> None:
    """A claim that could not be renewed may still start its task."""
    renew = Lease.renew

    async def optimistic(strategy: Lease, claims: Sequence[Claim]) -> list[Claim | None]:
        renewed = await renew(strategy, claims)
        return [new or claim for claim, new in zip(claims, renewed, strict=True)]

    patch.setattr(Lease, "renew", optimistic)


# --- the client --------------------------------------------------------------------------------------


def counts_repeats(patch: pytest.MonkeyPatch) -> None:
    """Every answer is news."""
    count = Tally.count

    def gullible(tally: Tally, outcomes: list[Outcome]) -> list[Outcome]:
        count(tally, outcomes)
        return outcomes

    patch.setattr(Tally, "count", gullible)


def acks_before_it_records(patch: pytest.MonkeyPatch) -> None:
    """The client deletes answers, and then writes them down."""

    async def answers(client: Client, wanted: int, wait_s: float) -> int:
        queue = client._channel.answers
        deliveries = await queue.receive(wanted, wait_s)
        if deliveries:
            await queue.ack(deliveries)
        for delivery in deliveries:
            packet = decode_answers(delivery.body)
            if news := client.tally.count(packet.outcomes):
                client._journal.append([encode(Answers(packet.worker, news))])
        return len(deliveries)

    patch.setattr(Client, "_answers", answers)


def looks_at_tasks_only(patch: pytest.MonkeyPatch) -> None:
    """Nothing is left where no task is queued, whatever answers there are."""

    async def sees_message(missing: Missing) -> bool:
        return bool((await missing._channel.tasks.depth()).total)

    patch.setattr(Missing, "_sees_message", sees_message)


def looks_at_answers_first(patch: pytest.MonkeyPatch) -> None:
    """The answers are asked for before the tasks, and a task may be answered and acked in between."""

    async def sees_message(missing: Missing) -> bool:
        channel = missing._channel
        for queue in (channel.dead, channel.answers, channel.tasks):
            if (await queue.depth()).total:
                return True
        return False

    patch.setattr(Missing, "_sees_message", sees_message)


def trusts_depths(patch: pytest.MonkeyPatch) -> None:
    """An empty queue is believed at once, also where its depth is an estimate."""
    patch.setattr("kon.trials.prove.stage.ClientOptions", functools.partial(ClientOptions, settle_s=0.0))


def asks_no_worker(patch: pytest.MonkeyPatch) -> None:
    """No worker is asked whether it holds anything."""

    async def roll(control: Control, number: int) -> Roll:
        return Roll(0, 0)

    patch.setattr(Control, "roll", roll)


def reads_nothing_back(patch: pytest.MonkeyPatch) -> None:
    """The ledger is not asked for results that nobody answers."""

    async def read_back(missing: Missing, indexes: Sequence[int]) -> list[None]:
        return [None] * len(indexes)

    patch.setattr(Missing, "read_back", read_back)


def takes_all_for_submitted(patch: pytest.MonkeyPatch) -> None:
    """The client does not wait for its own tasks to be queued."""
    read = Control.read

    async def reads(control: Control) -> RunState:
        return msgspec.structs.replace(await read(control), submitted=1 << 40)

    async def collect(client: Client) -> Tally:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(client._control, "read", functools.partial(reads, client._control))
            return await collected(client)

    collected = Client.collect
    patch.setattr(Client, "collect", collect)


def cancels_at_once(patch: pytest.MonkeyPatch) -> None:
    """The client of a cancelled run does not wait for what its workers still answer."""

    async def is_stopped(missing: Missing) -> bool:
        return True

    patch.setattr(Missing, "is_stopped", is_stopped)


SECOND_LINES = (asks_no_worker, reads_nothing_back)
"""What stands behind other safeguards: each does where the other line is there."""
