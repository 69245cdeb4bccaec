"""The backend aws under the search, and what the search finds when a safeguard of its is taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import pytest

from kon.backends.aws.bodies import Overflow
from kon.backends.aws.dynamodb import DynamoLedger, _Write
from kon.backends.aws.lean import client as lean
from kon.backends.aws.lean.codec import decode
from kon.backends.aws.lean.reply import Reply
from kon.backends.aws.queue import CALL_BYTES, SqsQueue
from kon.backends.aws.s3_ledger import S3Ledger
from kon.core.errors import BackendRefused, BackendUnavailable
from kon.core.ledger import Record
from kon.core.queue import Depth
from kon.core.spec import Plugin
from kon.trials.prove.amazon.http import Refused
from kon.trials.prove.amazon.statements import parsed
from kon.trials.prove.classes import ALL_FAULTS, FaultClass, fault_class, registered_strategies
from kon.trials.prove.drawn import SCENARIO, play_seed
from kon.trials.prove.on_aws import AMAZON_FAULTS, SMALL_BYTES
from kon.trials.prove.scenario import Invariant
from tests.cli.given import invoke

BASE: Final = msgspec.structs.replace(SCENARIO, backend="aws")
LEASE: Final = Plugin("lease")
SEEDS: Final = 40

SELDOM: Final = frozenset({"stale_ack_deletes", "stale_ack_agrees", "stale_depth", "depth_low", "stale_read"})
"""Faults that have an occasion only where another fault came first, or in few schedules of `lease`."""


def broken(strategy: Plugin, faults: FaultClass, seeds: range) -> set[Invariant]:
    return {each.invariant for seed in seeds for each in play_seed(BASE, strategy, faults, seed).broken}


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(each, id=each.label, marks=[] if each == LEASE else [pytest.mark.long])
        for each in registered_strategies()
    ],
)
def test_promises_hold(strategy: Plugin) -> None:
    assert not broken(strategy, fault_class(ALL_FAULTS, "aws"), range(4))


@pytest.mark.parametrize("fault", AMAZON_FAULTS)
def test_each_fault_strikes(fault: str) -> None:
    """And lease holds under each, until it struck."""
    faults = fault_class(fault, "aws")
    for seed in range(3 if fault in SELDOM else SEEDS):
        played = play_seed(BASE, LEASE, faults, seed)
        assert not played.broken
        if played.fired:
            assert {each.fault for each in played.fired} == {fault}
            return
    assert fault in SELDOM


@pytest.mark.parametrize("seed", [3, 4])
def test_a_seed_is_one_schedule(seed: int) -> None:
    """With a table, and with a bucket."""
    faults = fault_class(ALL_FAULTS, "aws")
    assert play_seed(BASE, LEASE, faults, seed) == play_seed(BASE, LEASE, faults, seed)


# --- safeguards --------------------------------------------------------------------------------------


def _conflict_is_written(patch: pytest.MonkeyPatch) -> None:
    """A statement that was turned down for now, by a conflict or a throttle, is taken for written."""
    execute = DynamoLedger._execute

    async def all_went_well(self: DynamoLedger, *arguments: Any) -> list[_Write]:
        await execute(self, *arguments)
        return []

    patch.setattr(DynamoLedger, "_execute", all_went_well)


def _unseen_is_written(patch: pytest.MonkeyPatch) -> None:
    """A condition that failed, without a row in the reply, is taken for written."""

    async def look(self: DynamoLedger, unseen: list[_Write], verdicts: list[Record | None]) -> list[_Write]:
        return []

    patch.setattr(DynamoLedger, "_look", look)


def _failed_items_are_done(patch: pytest.MonkeyPatch) -> None:
    """An item of a batch that the service failed at is taken for done."""
    call = SqsQueue._call

    async def without_failed(self: SqsQueue, operation: str, **parameters: Any) -> dict[str, Any]:
        reply = await call(self, operation, **parameters)
        return {**reply, "Failed": [each for each in reply.get("Failed", ()) if each["SenderFault"]]}

    patch.setattr(SqsQueue, "_call", without_failed)


def _no_checksum(patch: pytest.MonkeyPatch) -> None:
    """A reply's checksum is not compared."""

    def read(way: Any, service: str, operation: str, reply: Reply) -> dict[str, Any]:
        return way.rules.error_of(reply) if reply.status >= 300 else decode(service, operation, reply.body)

    patch.setattr(lean, "_parsed", read)


def _conflict_is_no_refusal(patch: pytest.MonkeyPatch) -> None:
    """A conditional write to S3 that was refused or in conflict is taken for written."""
    put = S3Ledger._put

    async def written(self: S3Ledger, record: Record, **condition: str) -> int | None:
        await put(self, record, **condition)
        return None

    patch.setattr(S3Ledger, "_put", written)


def _etag_is_kept(patch: pytest.MonkeyPatch) -> None:
    """A row of S3 is replaced without a look at its token."""

    async def seen(self: S3Ledger, key: int, if_token: str) -> tuple[Record | None, str | None]:
        row, etag = await self._get(key)
        return row, etag or None

    patch.setattr(S3Ledger, "_seen", seen)


def _outage_is_taken_for_a_twin(patch: pytest.MonkeyPatch) -> None:
    """A body that does not come is taken for one that is gone, and its message is deleted."""
    get = Overflow.get

    async def gone(self: Overflow, key: str) -> str | None:
        try:
            return await get(self, key)
        except (BackendUnavailable, BackendRefused):
            return None

    patch.setattr(Overflow, "get", gone)


IN_S3: Final = [seed for seed in range(SEEDS * 5) if seed % 9 == 4]
LARGE: Final = [seed for seed in range(SEEDS * 7) if SMALL_BYTES[seed % len(SMALL_BYTES)] < CALL_BYTES]


@pytest.mark.parametrize(
    ("take_out", "seeds"),
    [
        (_conflict_is_written, range(SEEDS)),
        (_unseen_is_written, range(SEEDS)),
        (_failed_items_are_done, range(SEEDS)),
        (_no_checksum, range(SEEDS)),
        # first those by which they were found last
        (_conflict_is_no_refusal, [13, *IN_S3]),
        (_etag_is_kept, [13, *IN_S3]),
        (_outage_is_taken_for_a_twin, [47, *LARGE]),
    ],
)
def test_a_safeguard_that_is_taken_out_is_missed(
    take_out: Callable[[pytest.MonkeyPatch], None], seeds: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = fault_class(ALL_FAULTS, "aws")
    take_out(monkeypatch)
    for seed in seeds:
        try:
            if play_seed(BASE, LEASE, faults, seed).broken:
                return
        except (Exception, ExceptionGroup):
            return
    raise AssertionError(f"{take_out.__doc__} {len(seeds)} schedules did not notice")


@pytest.mark.long
def test_delayed_messages_are_a_part_of_the_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not see them calls their tasks lost, if nothing else is asked."""
    faults = fault_class("delay", "aws")
    depth = SqsQueue.depth

    async def without_delayed(self: SqsQueue) -> Depth:
        return msgspec.structs.replace(await depth(self), delayed=0)

    spans = msgspec.structs.replace(BASE.spans, delay_s=800.0)
    slow = msgspec.structs.replace(BASE, tasks=3, workers=1, spans=spans)

    def lost() -> bool:
        return any(play_seed(slow, Plugin("none"), faults, seed).broken for seed in range(6))

    assert not lost()
    monkeypatch.setattr(SqsQueue, "depth", without_delayed)
    assert lost()


# --- the model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO \"t\" VALUE {'pk': ?, 'sk': 0",
        "INSERT INTO t VALUE {'pk': ?}",
        'UPDATE "t" SET "a"=?',
        'UPDATE "t" SET "a"=? WHERE "pk"=? OR "sk"=0',
        'DELETE FROM "t" WHERE "pk"=?',
    ],
)
def test_a_statement_that_is_none_is_refused(statement: str) -> None:
    with pytest.raises(Refused):
        parsed(statement)


def test_parameters_stand_in_their_places() -> None:
    statement = parsed('UPDATE "t" SET "a"=? SET "n"=7 REMOVE "b" WHERE "pk"=? AND "sk"=0')
    assert statement.bound([{"S": "x"}, {"S": "k"}]) == (
        {"a": {"S": "x"}, "n": {"N": "7"}},
        {"pk": {"S": "k"}, "sk": {"N": "0"}},
    )
    with pytest.raises(Refused):
        statement.bound([{"S": "x"}, {"S": "k"}, {"S": "one too many"}])


@pytest.mark.long
def test_the_command() -> None:
    found = invoke("prove", "lease", "--backend", "aws", "--seeds", "3", "--jobs", "1", "-q")
    assert found.exit_code == 0, found.stderr
    assert "transaction_conflict" in found.stdout
    assert "TLS, proxies" in found.stdout
    assert invoke("prove", "--backend", "aws", "--exhaustive").exit_code == 2
    assert invoke("prove", "lease", "--backend", "aws", "--fault", "busy").exit_code == 2
