"""Throttles, errors and lost replies of DynamoDB: each safeguard of the ledger, met on purpose."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kon.backends.aws.dynamodb import EXPIRY_ATTRIBUTE, KEEP_S
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.pace import TRIES
from kon.backends.emulator import Emulator
from kon.core.clock import Clock
from kon.core.errors import BackendUnavailable, MessageTooLarge, StoreError
from kon.core.ledger import Record
from kon.core.strategy import Claim
from kon.core.task import Task
from kon.engine.patience import Patience, PatientLedger
from kon.strategies.lease import Lease
from tests.backends.aws.given import Make, Reply, Table, once, rows
from tests.backends.aws.table_bed import BATCH, on_a_table, reply_lost, turned_down

# --- what is turned down for now ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "RequestLimitExceeded",
        "TransactionConflict",
        "InternalServerError",
    ],
)
def test_throttled_statements_are_sent_again_alone(on_ministack: Emulator, code: str) -> None:
    async def body(place: Table) -> None:
        ledger = place.ledger()
        await ledger.insert_new(rows(3, token="old"))
        place.calls.parameters.clear()
        place.calls.fault = once(BATCH, turned_down(lambda n: n % 2 == 0, code))
        assert await ledger.insert_new(rows(*range(6))) == [
            None,
            None,
            None,
            rows(3, token="old")[0],
            None,
            None,
        ]
        sent = [len(call["Statements"]) for call in place.calls.parameters if "Statements" in call]
        assert sent == [3, 3]  # the fault leaves the first three out
        assert len(place.pauses.all_s) == 1
        assert [row.token for row in await ledger.scan(0, 9)] == ["t", "t", "t", "old", "t", "t"]

    on_a_table(body)(on_ministack)


@on_a_table
async def test_a_throttle_of_everything_is_ridden_out(place: Table) -> None:
    ledger, refusals = place.ledger(), TRIES - 1

    async def fault(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        nonlocal refusals
        if refusals == 0:
            return await make()
        refusals -= 1
        return await turned_down(lambda n: True, "ThrottlingError")(operation, parameters, make)

    place.calls.fault = fault
    assert await ledger.insert_new(rows(*range(5))) == [None] * 5
    assert len(place.pauses.all_s) == TRIES - 1


@on_a_table
async def test_what_is_throttled_for_long_is_given_back_to_patience(place: Table) -> None:
    ledger = place.ledger()
    place.calls.fault = turned_down(lambda n: n == 0, "ThrottlingError")
    with pytest.raises(BackendUnavailable, match=r"1 of the rows .* turned down 10 times"):
        await ledger.insert_new(rows(*range(3)))
    assert len(place.pauses.all_s) == TRIES - 1
    place.calls.fault = None
    assert [row.key for row in await ledger.scan(0, 9)] == [1, 2]


@on_a_table
async def test_as_long_as_some_go_through_nothing_is_given_up(place: Table) -> None:
    ledger = place.ledger()
    place.calls.fault = turned_down(lambda n: n > 0, "ProvisionedThroughputExceeded")
    assert await ledger.insert_new(rows(*range(TRIES + 5))) == [None] * (TRIES + 5)


@on_a_table
async def test_a_throttle_slows_all_ledgers_of_the_table(place: Table) -> None:
    place.calls.fault = once(BATCH, turned_down(lambda n: n == 0, "ThrottlingError"))
    before = place.pace.limit
    await place.ledger().insert_new(rows(1, 2))
    assert place.pace.limit < before


@on_a_table
async def test_plain_writes_left_undone_are_sent_again(place: Table) -> None:
    ledger = place.ledger()

    async def half(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        (requests,) = parameters["RequestItems"].values()
        left = requests[::2]
        parameters["RequestItems"] = {place.name: requests[1::2]}
        await make()
        return {"UnprocessedItems": {place.name: left}}

    place.calls.fault = once("BatchWriteItem", half)
    await ledger.put(rows(*range(7)))
    assert await ledger.scan(0, 9) == rows(*range(7))
    assert len(place.pauses.all_s) == 1
    asked = [each["RequestItems"][place.name] for each in place.calls.parameters if "RequestItems" in each]
    assert [len(each) for each in asked] == [3, 4], "no more than what was left"


@on_a_table
async def test_keys_left_unread_are_read_again(place: Table) -> None:
    ledger = place.ledger()
    await ledger.put(rows(*range(7)))

    async def half(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        wanted = parameters["RequestItems"][place.name]
        left = {**wanted, "Keys": wanted["Keys"][::2]}
        parameters["RequestItems"] = {place.name: {**wanted, "Keys": wanted["Keys"][1::2]}}
        return {**await make(), "UnprocessedKeys": {place.name: left}}

    place.calls.fault = once("BatchGetItem", half)
    assert await ledger.read(range(7)) == rows(*range(7))


# --- replies that are lost ------------------------------------------------------------------------------


@pytest.mark.parametrize("claims", ["batch", "single"])
def test_a_claim_whose_reply_was_lost_is_known_by_its_token(on_ministack: Emulator, claims: str) -> None:
    async def body(place: Table) -> None:
        ledger = place.ledger(claims=claims)
        patience = Patience(60.0, random.Random(1), lambda error, pause_s: None)
        strategy = Lease(PatientLedger(ledger, patience), "w", Clock.of_this_host())
        place.calls.fault = once(BATCH if claims == "batch" else "PutItem", reply_lost)
        verdicts = await strategy.admit([Task(1), Task(2)])
        assert all(isinstance(verdict, Claim) for verdict in verdicts)

    on_a_table(body)(on_ministack)


@on_a_table
async def test_an_insert_that_took_place_unseen_is_answered_with_its_own_row(place: Table) -> None:
    """An InternalServerError says nothing of whether the statement took place."""
    ledger = place.ledger()
    place.calls.fault = once(BATCH, turned_down(lambda n: n == 1, "InternalServerError", written=True))
    assert await ledger.insert_new(rows(1, 2, 3)) == [None, *rows(2), None]


@on_a_table
async def test_a_replacement_that_took_place_unseen_is_answered_with_its_own_row(place: Table) -> None:
    ledger = place.ledger()
    await ledger.insert_new(rows(1, 2, token="a"))
    place.calls.fault = once(BATCH, turned_down(lambda n: n == 0, "InternalServerError", written=True))
    assert await ledger.replace(rows(1, 2, token="b"), ["a", "a"]) == [*rows(1, token="b"), None]


# --- errors that will stay ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "may not call"),
        ("ResourceNotFound", "no such table"),
        ("ValidationError", "ValidationError not now"),
    ],
)
def test_a_statement_that_is_refused_for_good_is_an_error(
    on_ministack: Emulator, code: str, words: str
) -> None:
    async def body(place: Table) -> None:
        place.calls.fault = turned_down(lambda n: n == 1, code)
        with pytest.raises(CallRefused, match=words):
            await place.ledger().insert_new(rows(1, 2, 3))
        assert place.pauses.all_s == []

    on_a_table(body)(on_ministack)


@on_a_table
async def test_an_error_of_one_request_is_raised_when_the_others_are_through(place: Table) -> None:
    place.calls.fault = once(BATCH, reply_lost)
    ledger = place.ledger()
    with pytest.raises(BackendUnavailable, match="lost"):
        await ledger.insert_new(rows(*range(60)))
    assert place.calls.operations.count(BATCH) == 3
    assert place.pace.in_flight == 0
    place.calls.fault = None
    assert len(await ledger.scan(0, 100)) == 60


@on_a_table
async def test_a_row_that_kon_did_not_write_is_an_error_that_names_it(place: Table) -> None:
    item = {"pk": {"S": "control"}, "sk": {"N": "1"}, "fence": {"S": "t"}, "claim": {"S": "{}"}}
    await place.calls.call("dynamodb", "PutItem", TableName=place.name, Item=item)
    with pytest.raises(StoreError, match=f"{place.name} has a row that kon did not write"):
        await place.ledger("control").read([1])


@on_a_table
async def test_an_outcome_that_no_row_can_hold_is_refused_before_anything_is_sent(place: Table) -> None:
    ledger = place.ledger()
    place.calls.operations.clear()
    assert ledger.max_outcome_bytes is not None
    large = Record(8, "t", owner="w" * 500, outcome=bytes(ledger.max_outcome_bytes + 4_096))
    for write in (ledger.insert_new([*rows(7), large]), ledger.put([*rows(7), large])):
        with pytest.raises(MessageTooLarge, match=r"task 8 makes a row of 41\d,\d\d\d bytes"):
            await write
    assert place.calls.operations == []


@on_a_table
async def test_an_outcome_of_the_size_declared_is_kept(place: Table) -> None:
    ledger = place.ledger()
    assert ledger.max_outcome_bytes is not None
    largest = Record(9, "t" * 200, owner="w" * 200, outcome=bytes(ledger.max_outcome_bytes))
    assert await ledger.insert_new([largest]) == [None]
    assert await ledger.read([9]) == [largest]


@on_a_table
async def test_large_rows_go_in_more_requests(place: Table) -> None:
    ledger = place.ledger()
    place.calls.operations.clear()
    records = [Record(key, "t", outcome=bytes(390_000)) for key in range(12)]
    assert await ledger.insert_new(records) == [None] * 12
    assert place.calls.operations == [BATCH] * 2


@pytest.mark.parametrize("claims", ["batch", "single"])
def test_rows_tell_when_they_may_be_cleaned_away(on_ministack: Emulator, claims: str) -> None:
    async def body(place: Table) -> None:
        now_s = begin_s = 1_700_000_000.0
        ledger = place.ledger(claims=claims, now_s=lambda: now_s)
        await ledger.insert_new(rows(1, token="a"))
        await ledger.put(rows(2))
        now_s += 5 * 86_400
        await ledger.replace(rows(1, token="b"), ["a"])
        reply = await place.calls.call("dynamodb", "Scan", TableName=place.name)
        expiries = {item["pk"]["S"]: float(item[EXPIRY_ATTRIBUTE]["N"]) for item in reply["Items"]}
        assert 0 <= expiries["ledger#1"] - now_s - KEEP_S <= 86_400
        assert 0 <= expiries["ledger#2"] - begin_s - KEEP_S <= 86_400

    on_a_table(body)(on_ministack)


@on_a_table
async def test_a_row_past_its_expiry_counts_like_any_other(place: Table) -> None:
    """Amazon cleans rows away within days of it; what kon decides may not hang on when."""
    await place.ledger(now_s=lambda: 0.0, keep_s=1.0).insert_new(rows(1, token="a"))
    assert await place.ledger().insert_new(rows(1, token="b")) == rows(1, token="a")
