"""The ledger of S3 objects: conflicts, lost replies, and which requests it makes."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from kon.backends.aws import s3_ledger
from kon.backends.aws.failures import CallRefused
from kon.backends.aws.pace import TRIES
from kon.backends.emulator import Emulator
from kon.core.errors import BackendUnavailable, StoreError
from kon.core.ledger import missing
from tests.backends.aws.given import Bucket, Make, Reply, at, bucket, once, rows

PUT: Final = "PutObject"


on_a_bucket: Final = at(bucket, "conditional-writes-meet")
"""Where no writes meet but the test's."""


async def conflict(_operation: str, _parameters: dict[str, Any], _make: Make) -> Reply:
    raise CallRefused("at the same time", "ConditionalRequestConflict", 409, {})


async def sent_twice(_operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
    """As botocore does when the first answer does not come."""
    await make()
    return await make()


@on_a_bucket
async def test_a_conflict_is_sent_again_after_a_pause(place: Bucket) -> None:
    ledger = place.ledger()
    place.calls.fault = once(PUT, conflict)
    assert await ledger.insert_new(rows(1, token="a")) == [None]
    place.calls.fault = once(PUT, conflict)
    assert await ledger.replace(rows(1, token="b"), ["a"]) == [None]
    place.calls.fault = once("DeleteObject", conflict)
    assert await ledger.delete([1], ["b"]) == [True]
    assert len(place.pauses.all_s) == 3


@on_a_bucket
async def test_conflicts_without_end_are_given_back_to_patience(place: Bucket) -> None:
    place.calls.fault = conflict
    with pytest.raises(BackendUnavailable, match="turned down"):
        await place.ledger().insert_new(rows(1))
    assert len(place.pauses.all_s) == TRIES


@on_a_bucket
async def test_an_insert_whose_reply_was_lost_meets_its_own_row(place: Bucket) -> None:
    place.calls.fault = once(PUT, sent_twice)
    found = await place.ledger().insert_new(rows(1, 2, token="mine"))
    # both are on their way at once: which of them it happens to is not said
    assert found in ([*rows(1, token="mine"), None], [None, *rows(2, token="mine")])


@on_a_bucket
async def test_a_replacement_whose_reply_was_lost_meets_its_own_row(place: Bucket) -> None:
    ledger = place.ledger()
    await ledger.insert_new(rows(1, token="a"))
    place.calls.fault = once(PUT, sent_twice)
    assert await ledger.replace(rows(1, token="b"), ["a"]) == rows(1, token="b")


@on_a_bucket
async def test_an_insert_that_met_a_row_which_then_went_is_sent_again(place: Bucket) -> None:
    ledger = place.ledger()
    await ledger.insert_new(rows(1, token="a"))

    async def gone(_operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
        place.calls.fault = None
        try:
            return await make()
        except CallRefused:
            assert await ledger.delete([1], ["a"]) == [True]
            raise

    place.calls.fault = once(PUT, gone)
    assert await ledger.insert_new(rows(1, token="b")) == [None]
    assert await ledger.read([1]) == rows(1, token="b")


@on_a_bucket
async def test_its_own_row_is_replaced_by_one_request(place: Bucket) -> None:
    ledger = place.ledger()
    await ledger.insert_new(rows(1, token="a"))
    place.calls.operations.clear()
    assert await ledger.replace(rows(1, token="b"), ["a"]) == [None]
    assert await ledger.replace(rows(1, token="c"), ["b"]) == [None]
    once_more = [PUT, "run"]  # where a write met another, which is read first: every fifth, in these tests
    assert place.calls.operations in ([PUT, PUT], [*once_more, PUT, PUT], [PUT, *once_more, PUT])


@on_a_bucket
async def test_a_row_that_another_replaced_meanwhile_is_not_overwritten(place: Bucket) -> None:
    ours, theirs = place.ledger(), place.ledger()
    await ours.insert_new(rows(1, token="a"))
    assert await theirs.replace(rows(1, token="theirs"), ["a"]) == [None]
    assert await ours.replace(rows(1, token="ours"), ["a"]) == rows(1, token="theirs")
    assert await ours.delete([1], ["a"]) == [False]
    assert await ours.read([1]) == rows(1, token="theirs")


@on_a_bucket
async def test_a_row_that_changes_between_look_and_write_is_looked_at_again(place: Bucket) -> None:
    ours, theirs = place.ledger(), place.ledger()
    await theirs.insert_new(rows(1, token="a"))

    async def late(_operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
        place.calls.fault = None
        assert await theirs.replace(rows(1, token="theirs"), ["a"]) == [None]
        return await make()

    place.calls.fault = once(PUT, late)
    assert await ours.replace(rows(1, token="ours"), ["a"]) == rows(1, token="theirs")
    await theirs.put(rows(1, token="a"))
    place.calls.fault = once("DeleteObject", late)
    assert await ours.delete([1], ["a"]) == [False]
    assert await ours.read([1]) == rows(1, token="theirs")


@pytest.mark.parametrize("operation", [PUT, "DeleteObject"])
def test_a_row_that_goes_between_look_and_write_is_looked_at_again(
    on_ministack: Emulator, operation: str
) -> None:
    """Amazon says NoSuchKey to a condition on what is not there."""

    async def body(place: Bucket) -> None:
        ours, theirs = place.ledger(), place.ledger()
        await ours.insert_new(rows(1, token="a"))

        async def gone(_operation: str, _parameters: dict[str, Any], _make: Make) -> Reply:
            place.calls.fault = None
            assert await theirs.delete([1], ["a"]) == [True]
            raise CallRefused("gone", "NoSuchKey", 404, {})

        place.calls.fault = once(operation, gone)
        if operation == PUT:
            assert await ours.replace(rows(1, token="b"), ["a"]) == [missing(1)]
        else:
            assert await ours.delete([1], ["a"]) == [False]

    on_a_bucket(body)(on_ministack)


@on_a_bucket
async def test_rows_lie_under_several_prefixes(place: Bucket) -> None:
    await place.ledger(shards=4).insert_new(rows(*range(8)))
    assert {name.split("/")[1] for name in await place.names()} == {"00", "01", "02", "03"}


def test_a_scan_goes_through_as_many_lists_as_it_takes(
    on_ministack: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_ledger, "_LIST_KEYS", 2)

    @on_a_bucket
    async def test(place: Bucket) -> None:
        ledger = place.ledger(shards=2)
        await ledger.insert_new(rows(*range(13)))
        assert await ledger.scan(1, 9) == rows(*range(1, 10))

    test(on_ministack)


@on_a_bucket
async def test_a_row_that_goes_during_a_scan_is_none_of_its_rows(place: Bucket) -> None:
    ledger = place.ledger()
    await ledger.insert_new(rows(1, 2, token="a"))

    async def gone(_operation: str, _parameters: dict[str, Any], make: Make) -> Reply:
        reply = await make()
        place.calls.fault = None
        assert await ledger.delete([1], ["a"]) == [True]
        return reply

    place.calls.fault = once("ListObjectsV2", gone)
    assert await ledger.scan(0, 9) == rows(2, token="a")


def test_no_more_etags_are_kept_than_a_worker_needs(
    on_ministack: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_ledger, "KNOWN_ETAGS", 2)

    @on_a_bucket
    async def test(place: Bucket) -> None:
        ledger = place.ledger()
        for key in range(5):
            await ledger.insert_new(rows(key, token="a"))
        place.calls.operations.clear()
        assert await ledger.replace(rows(4, 0, token="b"), ["a", "a"]) == [None, None]
        # row 0, whose ETag was forgotten, is looked at first
        assert sorted(place.calls.operations) == [PUT, PUT, "run"]

    test(on_ministack)


@on_a_bucket
async def test_an_object_that_kon_did_not_write_is_an_error_that_names_it(place: Bucket) -> None:
    name = "ledger/01/00000000000001"
    await place.calls.call("s3", "PutObject", Bucket=place.name, Key=name, Body=b"{}")
    with pytest.raises(StoreError, match=f"{name} of {place.name} is no row that kon wrote"):
        await place.ledger().read([1])


@on_a_bucket
async def test_a_bucket_that_is_not_there_is_an_error(place: Bucket) -> None:
    place.name = "kon-test-nowhere"
    for work in (place.ledger().insert_new(rows(1)), place.ledger().read([1])):
        with pytest.raises(CallRefused, match="no such bucket"):
            await work


@on_a_bucket
async def test_a_scan_lists_no_more_than_it_returns(place: Bucket) -> None:
    ledger = place.ledger(shards=1)
    await ledger.put(rows(*range(5)))
    place.calls.operations.clear()
    assert await ledger.scan(0, 0) == []
    assert place.calls.operations == []
    assert await ledger.scan(1, 1) == rows(1)
    assert await ledger.scan(1, 2) == rows(1, 2)
    assert place.calls.operations == ["ListObjectsV2", "run", "ListObjectsV2", "run", "run"]
    assert await ledger.scan(3, 9) == rows(3, 4)


@on_a_bucket
async def test_what_is_not_there_is_neither_deleted_nor_replaced(place: Bucket) -> None:
    assert await place.ledger().delete([9], ["t"]) == [False]
    assert await place.ledger().replace(rows(9), ["t"]) == [missing(9)]


@on_a_bucket
async def test_a_write_that_is_refused_for_good_is_an_error(place: Bucket) -> None:
    async def denied(_operation: str, _parameters: dict[str, Any], _make: Make) -> Reply:
        raise CallRefused("may not", "AccessDenied", 403, {})

    ledger = place.ledger()
    await ledger.insert_new(rows(1, token="a"))
    place.calls.fault = denied
    for write in (ledger.insert_new(rows(2)), ledger.replace(rows(1), ["a"]), ledger.put(rows(3))):
        with pytest.raises(CallRefused, match="may not"):
            async with asyncio.timeout(10.0):
                await write
    place.calls.fault = conflict
    with pytest.raises(CallRefused, match="at the same time"):
        await ledger.put(rows(3))
