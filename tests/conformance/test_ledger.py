"""What every ledger keeps: conditional writes, answered item by item."""

from __future__ import annotations

import asyncio

import pytest

from kon.core.ledger import Ledger, Record, missing
from kon.core.task import State
from tests.conformance.bed import Bed, case


def rows(*keys: int, token: str = "t") -> list[Record]:
    return [Record(key, token) for key in keys]


FULL = Record(
    key=7,
    token="w-1:ü 世界",
    state=State.DONE,
    attempt=3,
    owner="host-1/worker-2",
    expires_s=1_700_000_000.125,
    outcome=b'[7,3,"done","\x00\xff",null,0.0,0.0]',
)


def ledgers(bed: Bed) -> tuple[Ledger, Ledger]:
    return bed.channel.ledger, bed.channel.control


@case()
async def test_a_row_is_read_as_it_was_written(bed: Bed) -> None:
    for ledger in ledgers(bed):
        assert await ledger.insert_new([FULL]) == [None]
        if not ledger.stale_reads:
            assert await ledger.read([7]) == [FULL]
        assert await ledger.insert_new([FULL]) == [FULL]


@case()
async def test_every_state_is_kept(bed: Bed) -> None:
    records = [Record(key, "t", state) for key, state in enumerate(State)]
    await bed.channel.ledger.put(records)
    assert await bed.channel.ledger.insert_new(records) == records


@case()
async def test_reading_answers_in_the_order_of_the_keys(bed: Bed) -> None:
    ledger = bed.channel.ledger
    await ledger.insert_new(rows(5, 1, 3))
    if ledger.stale_reads:
        pytest.skip("declared: reads may be stale")
    found = await ledger.read([3, 4, 1, 5, 0])
    assert [record and record.key for record in found] == [3, None, 1, 5, None]


@case()
async def test_empty_batches_do_nothing(bed: Bed) -> None:
    ledger = bed.channel.ledger
    assert await ledger.read([]) == []
    assert await ledger.insert_new([]) == []
    assert await ledger.replace([], []) == []
    assert await ledger.delete([], []) == []
    await ledger.put([])
    assert await ledger.scan(0, 10) == []


@case()
async def test_the_first_insert_stands(bed: Bed) -> None:
    ledger = bed.channel.ledger
    assert await ledger.insert_new(rows(1, token="first")) == [None]
    assert await ledger.insert_new(rows(1, token="second")) == rows(1, token="first")
    assert await ledger.insert_new(rows(1, token="first")) == rows(1, token="first")


@case()
async def test_a_batch_of_inserts_goes_through_in_part(bed: Bed) -> None:
    ledger = bed.channel.ledger
    await ledger.insert_new(rows(2, 4, token="old"))
    (old_2, old_4) = rows(2, 4, token="old")
    assert await ledger.insert_new(rows(1, 2, 3, 4, 5, token="new")) == [None, old_2, None, old_4, None]
    assert [record.token for record in await ledger.scan(0, 10)] == ["new", "old", "new", "old", "new"]


@case()
async def test_whoever_knows_the_token_replaces(bed: Bed) -> None:
    ledger = bed.channel.ledger
    await ledger.insert_new(rows(1, 2, 3, token="a"))
    found = await ledger.replace(rows(1, 2, 3, 4, token="b"), ["a", "x", "a", "a"])
    assert found == [None, Record(2, "a"), None, missing(4)]
    assert [record.token for record in await ledger.scan(0, 10)] == ["b", "a", "b"]


@case()
async def test_a_replaced_row_is_replaced_whole(bed: Bed) -> None:
    ledger = bed.channel.ledger
    await ledger.insert_new([FULL])
    plain = Record(7, "next")
    assert await ledger.replace([plain], [FULL.token]) == [None]
    assert await ledger.scan(0, 10) == [plain]


@case()
async def test_a_token_that_was_replaced_opens_nothing(bed: Bed) -> None:
    ledger = bed.channel.ledger
    await ledger.insert_new(rows(1, token="a"))
    assert await ledger.replace(rows(1, token="b"), ["a"]) == [None]
    assert await ledger.replace(rows(1, token="c"), ["a"]) == rows(1, token="b")
    assert await ledger.delete([1], ["a"]) == [False]


@case()
async def test_a_row_that_is_missing_matches_no_token(bed: Bed) -> None:
    ledger = bed.channel.ledger
    assert await ledger.replace(rows(1), [""]) == [missing(1)]
    assert await ledger.delete([1], [""]) == [False]
    assert await ledger.scan(0, 10) == []


@case()
async def test_a_put_asks_nobody(bed: Bed) -> None:
    ledger = bed.channel.ledger
    await ledger.insert_new([FULL])
    await ledger.put([Record(7, "mine"), Record(8, "mine")])
    assert await ledger.scan(0, 10) == [Record(7, "mine"), Record(8, "mine")]


@case()
async def test_whoever_knows_the_token_deletes(bed: Bed) -> None:
    ledger = bed.channel.ledger
    await ledger.insert_new(rows(1, 2, 3, token="a"))
    assert await ledger.delete([1, 2, 3, 4], ["a", "x", "a", "a"]) == [True, False, True, False]
    assert await ledger.scan(0, 10) == rows(2, token="a")
    assert await ledger.insert_new(rows(1, token="b")) == [None]


@case()
async def test_a_scan_goes_in_order_of_keys(bed: Bed) -> None:
    ledger = bed.channel.ledger
    await ledger.insert_new(rows(9, 3, 7, 1, 5))
    assert [record.key for record in await ledger.scan(3, 3)] == [3, 5, 7]
    assert [record.key for record in await ledger.scan(8, 3)] == [9]
    assert await ledger.scan(10, 3) == []


@case()
async def test_the_largest_key(bed: Bed) -> None:
    """attempt_key makes keys below 2**53."""
    ledger = bed.channel.ledger
    (record,) = rows(2**53 - 1)
    assert await ledger.insert_new([record]) == [None]
    assert await ledger.scan(2**53 - 2, 10) == [record]


@case()
async def test_a_call_may_be_longer_than_a_request(bed: Bed) -> None:
    ledger = bed.channel.ledger
    count = 2 * ledger.max_batch + 3
    before = bed.backend.requests
    assert await ledger.insert_new(rows(*range(count), token="a")) == [None] * count
    assert bed.backend.requests >= before + 3
    assert await ledger.insert_new(rows(*range(count, -1, -1), token="b")) == [
        None,
        *rows(*range(count - 1, -1, -1), token="a"),
    ]
    assert await ledger.replace(rows(*range(count), token="c"), ["a"] * count) == [None] * count
    assert await ledger.delete(range(count), ["c"] * count) == [True] * count
    assert await ledger.scan(0, count) == rows(count, token="b")


@case()
async def test_one_of_many_claimers_wins(bed: Bed) -> None:
    backends = [bed.world.make(bed.folder) if bed.backend.processes else bed.backend for _ in range(3)]
    channels = [await backend.open("conformance") for backend in backends]
    keys = range(20)

    async def claim(number: int) -> list[int]:
        ledger = channels[number % len(channels)].ledger
        found = await ledger.insert_new(rows(*keys, token=f"claimer-{number}"))
        return [key for key, record in zip(keys, found, strict=True) if record is None]

    won = [key for keys_won in await asyncio.gather(*map(claim, range(9))) for key in keys_won]
    assert sorted(won) == list(keys)
    for backend in backends:
        await backend.close()


@case()
async def test_one_of_many_replacers_wins(bed: Bed) -> None:
    ledger = bed.channel.ledger
    await ledger.insert_new(rows(1, token="start"))
    found = await asyncio.gather(*[ledger.replace(rows(1, token=f"{n}"), ["start"]) for n in range(9)])
    winners = [number for number, (record,) in enumerate(found) if record is None]
    assert len(winners) == 1
    assert await ledger.scan(0, 2) == rows(1, token=f"{winners[0]}")


@case()
async def test_ledgers_are_apart(bed: Bed) -> None:
    await bed.channel.ledger.insert_new(rows(1, token="ledger"))
    assert await bed.channel.control.insert_new(rows(1, token="control")) == [None]
    assert await bed.channel.ledger.scan(0, 10) == rows(1, token="ledger")
