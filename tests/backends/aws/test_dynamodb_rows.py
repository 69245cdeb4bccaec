"""DynamoDB's row that stands in the way of a write comes back, whatever the reply says. What calls cost."""

from __future__ import annotations

from typing import Any

import pytest

from kon.backends.aws.failures import CallRefused
from kon.backends.aws.rows import RowLayout
from kon.backends.emulator import Emulator
from kon.core.errors import BackendUnavailable
from kon.core.ledger import Record, missing
from tests.backends.aws.given import Fault, Make, Reply, Table, once, rows
from tests.backends.aws.table_bed import BATCH, on_a_table


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
def test_a_scan_goes_on_to_the_last_page(on_ministack: Emulator, name: str) -> None:
    """A page ends at 1 MB, whatever it was to hold."""

    async def short(operation: str, parameters: dict[str, Any], make: Make) -> Reply:
        if operation in ("Query", "Scan"):
            parameters["Limit"] = 1
        return await make()

    async def body(place: Table) -> None:
        ledger = place.ledger(name)
        await ledger.put(rows(*range(9)))
        place.calls.fault = short
        assert await ledger.scan(2, 9) == rows(*range(2, 9))
        assert await ledger.scan(2, 3) == rows(2, 3, 4)

    on_a_table(body)(on_ministack)


@on_a_table
async def test_a_row_that_is_another_s_is_not_deleted(place: Table) -> None:
    ledger = place.ledger()
    await ledger.put(rows(1, 2, token="a"))
    assert await ledger.delete([1, 2, 3], ["b", "a", "a"]) == [False, True, False]
    assert await ledger.scan(0, 9) == rows(1, token="a")


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
