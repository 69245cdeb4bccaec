"""Throttles, errors and lost replies of DynamoDB: each safeguard of the ledger, met on purpose."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest

from kon.backends.aws.dynamodb import EXPIRY_ATTRIBUTE, KEEP_S
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.pace import TRIES
from kon.backends.aws.rows import RowLayout
from kon.backends.emulator import Emulator
from kon.core.clock import Clock
from kon.core.errors import BackendUnavailable, MessageTooLarge, StoreError
from kon.core.ledger import Record, missing
from kon.core.strategy import Claim
from kon.core.task import Task
from kon.engine.patience import Patience, PatientLedger
from kon.strategies.lease import Lease
from tests.backends.aws.given import Fault, Make, Reply, Table, once, table

Body = Callable[[Table], Coroutine[Any, Any, None]]

BATCH: Final = "BatchExecuteStatement"


def on_a_table(body: Body) -> Callable[[Emulator], None]:
    """Makes a test of a coroutine function: on a table of its own."""

    def test(on_ministack: Emulator) -> None:
        async def whole() -> None:
            async with table() as place:
                await body(place)

        asyncio.run(whole())

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test


def rows(*keys: int, token: str = "t") -> list[Record]:
    return [Record(key, token) for key in keys]


async def reply_lost(_operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
    await make()
    raise BackendUnavailable("the reply was lost")


def turned_down(at: Callable[[int], bool], code: str, written: bool = False) -> Fault:
    """Some statements of a batch are answered with an error. written: they take place all the same."""

    async def fault(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        if operation != BATCH:
            return await make()
        statements = parameters["Statements"]
        parameters["Statements"] = [each for n, each in enumerate(statements) if written or not at(n)]
        answers = iter((await make())["Responses"] if parameters["Statements"] else [])
        down = {"Error": {"Code": code, "Message": "not now"}}
        responses = []
        for n in range(len(statements)):
            answer = next(answers) if written or not at(n) else None
            responses.append(down if at(n) or answer is None else answer)
        return {"Responses": responses}

    return fault


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


# --- the row that stands there ------------------------------------------------------------------------


async def without_items(operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
    reply = await make()
    if operation == BATCH:
        for answer in reply["Responses"]:
            answer.get("Error", {}).pop("Item", None)
    return reply


@on_a_table
async def test_a_row_that_the_reply_leaves_out_is_read_back(place: Table) -> None:
    ledger = place.ledger()
    await ledger.insert_new(rows(1, 2, token="a"))
    place.calls.fault = without_items
    assert await ledger.insert_new(rows(1, 5, token="b")) == [*rows(1, token="a"), None]
    assert await ledger.replace(rows(1, 2, 3, token="b"), ["a", "x", "a"]) == [
        None,
        *rows(2, token="a"),
        missing(3),
    ]


@on_a_table
async def test_a_row_in_the_reply_is_not_read_again(place: Table) -> None:
    ledger = place.ledger()
    await ledger.insert_new(rows(1, token="a"))
    place.calls.operations.clear()
    assert await ledger.replace(rows(1, token="b"), ["x"]) == rows(1, token="a")
    assert place.calls.operations == [BATCH]


@on_a_table
async def test_what_is_read_back_is_read_strongly_whatever_the_option(place: Table) -> None:
    ledger = place.ledger(reads="eventual")
    await ledger.insert_new(rows(1, token="a"))
    place.calls.parameters.clear()
    await ledger.insert_new(rows(1, token="b"))
    await ledger.read([1])
    asked = [call["RequestItems"][place.name] for call in place.calls.parameters if "RequestItems" in call]
    assert [each["ConsistentRead"] for each in asked] == [True, False]
    assert ledger.stale_reads
    assert not place.ledger().stale_reads


@on_a_table
async def test_an_insert_that_met_a_row_which_then_went_is_sent_again(place: Table) -> None:
    ledger = place.ledger()
    await ledger.insert_new(rows(1, token="a"))

    async def gone(_operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
        reply = await make()
        place.calls.fault = None
        assert await ledger.delete([1], ["a"]) == [True]
        return reply

    place.calls.fault = once(BATCH, gone)
    assert await ledger.insert_new(rows(1, token="b")) == [None]
    assert await ledger.scan(0, 2) == rows(1, token="b")


@on_a_table
async def test_a_replacement_that_was_late_and_then_in_time_is_sent_again(place: Table) -> None:
    ledger = place.ledger()
    await ledger.insert_new(rows(1, token="other"))

    async def back(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        reply = await without_items(operation, parameters, make)
        place.calls.fault = None
        await ledger.put(rows(1, token="a"))
        return reply

    place.calls.fault = once(BATCH, back)
    assert await ledger.replace(rows(1, token="b"), ["a"]) == [None]


@on_a_table
async def test_rows_that_come_and_go_for_ever_end_the_call(place: Table) -> None:
    async def nothing_there(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        return {"Responses": {}} if operation == "BatchGetItem" else await make()

    ledger = place.ledger()
    await ledger.insert_new(rows(1, token="a"))
    place.calls.fault = nothing_there
    with pytest.raises(BackendUnavailable, match="made and removed them meanwhile"):
        await ledger.insert_new(rows(1, token="b"))


def refused(code: str) -> Fault:
    async def fault(_operation: str, _parameters: dict[str, Any], _make: Make) -> Reply:
        raise CallRefused("in words", code, 400, {})

    return fault


@pytest.mark.parametrize("operation", ["PutItem", "DeleteItem"])
def test_a_row_written_or_deleted_alone_is_turned_down_for_now_or_for_good(
    on_ministack: Emulator, operation: str
) -> None:
    async def body(place: Table) -> None:
        ledger = place.ledger(claims="single")
        await ledger.put(rows(1, token="a"))

        async def made() -> bool:
            if operation == "PutItem":
                return await ledger.replace(rows(1, token="b"), ["a"]) == [None]
            return await ledger.delete([1], ["a"]) == [True]

        place.calls.fault = once(operation, refused("AccessDeniedException"))
        with pytest.raises(CallRefused, match="in words"):
            await made()
        assert await ledger.read([1]) == rows(1, token="a")
        place.calls.fault = once(operation, refused("TransactionConflictException"))
        assert await made()
        assert len(place.pauses.all_s) == 1

    on_a_table(body)(on_ministack)


@on_a_table
async def test_a_row_that_the_reply_to_a_single_write_leaves_out_is_read_back(place: Table) -> None:
    ledger = place.ledger(claims="single")
    await ledger.insert_new(rows(1, token="a"))
    place.calls.fault = once("PutItem", refused("ConditionalCheckFailedException"))
    assert await ledger.insert_new(rows(1, token="b")) == rows(1, token="a")


@on_a_table
async def test_a_scan_of_the_control_rows_asks_for_no_more_than_it_returns(place: Table) -> None:
    ledger = place.ledger("control")
    await ledger.put(rows(*range(5)))
    place.calls.operations.clear()
    assert await ledger.scan(1, 2) == rows(1, 2)
    assert place.calls.operations == ["Query"]
    assert await ledger.scan(1, 9) == rows(1, 2, 3, 4)


@pytest.mark.parametrize("name", ["ledger", "control"])
def test_nothing_to_do_is_no_call(on_ministack: Emulator, name: str) -> None:
    async def body(place: Table) -> None:
        ledger = place.ledger(name)
        await ledger.put(rows(1, 2))
        place.calls.operations.clear()
        await ledger.put([])
        assert await ledger.insert_new([]) == await ledger.read([]) == await ledger.scan(0, 0) == []
        assert place.calls.operations == []
        assert await ledger.scan(0, 1) == rows(1)

    on_a_table(body)(on_ministack)


@pytest.mark.parametrize("claims", ["batch", "single"])
def test_outcomes_come_back_as_they_were(on_ministack: Emulator, claims: str) -> None:
    async def body(place: Table) -> None:
        ledger = place.ledger(claims=claims)
        first, second = Record(1, "a", outcome=b"\0one"), Record(1, "b", outcome=b"\xfftwo")
        assert await ledger.insert_new([first]) == [None]
        assert await ledger.read([1]) == [first]
        assert await ledger.replace([second], ["a"]) == [None]
        assert await ledger.read([1]) == [second]
        assert await ledger.replace(rows(1, token="c"), ["b"]) == [None]
        assert await ledger.read([1]) == rows(1, token="c")

    on_a_table(body)(on_ministack)


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


# --- what is billed -----------------------------------------------------------------------------------


def units(place: Table) -> tuple[float, float]:
    """Write and read units so far."""
    billed = place.calls.count.billed
    return billed.get("dynamodb.write_units", 0.0), billed.get("dynamodb.read_units", 0.0)


@pytest.mark.parametrize(("claims", "requests"), [("batch", 2), ("single", 30)])
def test_a_claim_is_one_write_unit_and_a_fraction_of_a_request(
    on_ministack: Emulator, claims: str, requests: int
) -> None:
    async def body(place: Table) -> None:
        ledger = place.ledger(claims=claims)
        before = place.calls.count.made
        await ledger.insert_new(rows(*range(30)))
        assert place.calls.count.made - before == requests
        assert units(place) == (30.0, 0.0)
        await ledger.replace(rows(1, token="b"), ["x"])  # a condition that fails is billed too
        assert units(place) == (31.0, 0.0)

    on_a_table(body)(on_ministack)


@pytest.mark.parametrize(("reads", "unit"), [("strong", 1.0), ("eventual", 0.5)])
def test_an_eventual_read_costs_half(on_ministack: Emulator, reads: str, unit: float) -> None:
    async def body(place: Table) -> None:
        ledger = place.ledger(reads=reads)
        await ledger.put(rows(*range(10)))
        await ledger.read(range(10))
        assert units(place) == (10.0, 10 * unit)

    on_a_table(body)(on_ministack)


@pytest.mark.parametrize(("table", "name"), [("t'", "ledger"), ("t", "led#ger"), ("t", "")])
def test_names_that_a_statement_would_read_otherwise_are_refused(table: str, name: str) -> None:
    with pytest.raises(ValueError, match="can't be named"):
        RowLayout(table, name, spread=True)
