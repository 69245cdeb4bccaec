"""Rows in pages: what the conformance suite does not see, and each safeguard switched off."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections import Counter
from collections.abc import Sequence

import pytest

from kon.backends.sim.faults import FaultRates, Faults
from kon.backends.sim.ledger import SimLedger
from kon.backends.sim.loop import SimLoop, simulate
from kon.backends.sim.network import Network
from kon.backends.sim.schedule import Seeded
from kon.core.errors import BackendUnavailable, StoreError
from kon.core.ledger import Ledger, Record, missing
from kon.engine import page as pages
from kon.engine import paged_ledger
from kon.engine.layout import FixedPages
from kon.engine.paged_ledger import PagedLedger
from kon.engine.patience import Patience, PatientLedger
from tests.engine.counted import Counted, claims, result

FAULTS = FaultRates(write_reply_lost=0.1, stale_read=0.3, throttle=0.2, error_after=0.05, error_before=0.05)


def run(case: object) -> None:
    asyncio.run(case)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rows", "size_bytes"), [(1, 0), (20, 100), (100, 500)])
def test_a_page_of_any_size_is_read_back_and_is_as_small_as_zlib_makes_it(rows: int, size_bytes: int) -> None:
    below = Counted()
    records = [result(key, "a", size_bytes) for key in range(rows)]

    async def case() -> list[Record | None]:
        await PagedLedger(below, "w", FixedPages(100)).insert_new(records)
        return await PagedLedger(below, "v", FixedPages(100)).read([record.key for record in records])

    assert asyncio.run(case()) == records
    (page,) = asyncio.run(below.scan(0, 10))
    assert page.outcome is not None
    plain = zlib.decompress(page.outcome)
    assert (len(plain) > pages._SMALL_BYTES) is (rows == 100)
    assert len(page.outcome) <= 1.1 * len(zlib.compress(plain, 1))


def test_a_small_page_is_compressed_in_a_small_window() -> None:
    """The window is in the head of the bytes; a large one has to be cleared before each page."""
    windows = {size: 8 + (pages._compressed(b"." * size)[0] >> 4) for size in (10, 4_096, 4_097)}
    assert windows == {10: 12, 4_096: 12, 4_097: 15}


# --- what it costs -----------------------------------------------------------------------------------


def test_a_bundle_is_claimed_and_committed_by_two_writes_and_no_read() -> None:
    async def case() -> None:
        below = Counted()
        ledger = PagedLedger(below, "w", FixedPages(100))
        assert not any(await ledger.insert_new(claims(range(200), "a")))
        done = [result(key, "a!", 40) for key in range(200)]
        assert not any(await ledger.replace(done, ["a"] * 200))
        assert below.calls == {"insert_new": 1, "replace": 1}
        assert below.written == {"insert_new": 2, "replace": 2}
        assert await PagedLedger(below, "v", FixedPages(100)).insert_new(claims(range(200), "b")) == done

    run(case())


def test_a_page_is_small_as_its_rows_differ_in_little() -> None:
    async def case() -> None:
        below = Counted()
        await PagedLedger(below, "w", FixedPages(100)).insert_new(
            claims(range(100), "host-1.example:w1-0:17")
        )
        [page] = await below.scan(0, 10)
        assert page.outcome is not None
        assert len(page.outcome) < 1_024  # one write unit of DynamoDB's

    run(case())


def test_a_refusal_costs_no_second_write() -> None:
    """The page that a write was refused for is as it was found: what it says needs no proof."""

    async def case() -> None:
        below = Counted()
        await PagedLedger(below, "w", FixedPages(100)).insert_new(claims(range(100), "a"))
        below.calls.clear()
        assert await PagedLedger(below, "v", FixedPages(100)).insert_new(claims(range(100), "b")) == claims(
            range(100), "a"
        )
        assert below.calls == {"insert_new": 1}

    run(case())


# --- others at the same page -------------------------------------------------------------------------


def test_what_another_gave_back_is_not_refused_from_memory() -> None:
    async def case() -> None:
        below = Counted()
        mine, other = PagedLedger(below, "w", FixedPages(10)), PagedLedger(below, "v", FixedPages(10))
        assert await mine.insert_new(claims([0, 1], "a")) == [None, None]
        assert await other.insert_new(claims([2], "b")) == [None]
        assert await mine.insert_new(claims([2, 3], "c")) == [*claims([2], "b"), None]
        assert await other.delete([2], ["b"]) == [True]
        assert await mine.insert_new(claims([2], "d")) == [None]

    run(case())


def test_a_row_that_another_replaced_is_not_replaced_from_memory() -> None:
    async def case() -> None:
        below = Counted()
        mine, other = PagedLedger(below, "w", FixedPages(10)), PagedLedger(below, "v", FixedPages(10))
        await mine.insert_new(claims([0], "a"))
        assert await other.replace(claims([0], "b"), ["a"]) == [None]
        assert await mine.replace(claims([0], "a2"), ["a"]) == claims([0], "b")
        assert await mine.replace(claims([9], "a2"), ["a"]) == [missing(9)]
        assert await mine.delete([0, 9], ["a", "a"]) == [False, False]

    run(case())


@pytest.mark.parametrize("seed", range(40))
def test_of_writers_of_the_same_rows_each_row_has_one_winner(seed: int) -> None:
    """Each claims all rows, commits what it has won, and meets lost replies, throttles and outages."""
    loop = SimLoop(Seeded(seed), limit_s=10_000.0)
    network = Network(Faults(FAULTS, seed), None, None)
    below = SimLedger("ledger", network)
    won: Counter[int] = Counter()
    kept: dict[int, list[str]] = {}

    async def worker(name: str) -> None:
        rng = random.Random(f"{seed}:{name}")
        paged = PagedLedger(below, name, FixedPages(3 + seed % 5), inline_bytes=seed % 2 * 30)
        ledger = PatientLedger(paged, Patience(5_000.0, rng, lambda error, pause_s: None))
        keys = list(range(12))
        rng.shuffle(keys)
        for part in (keys[:5], keys[5:9], keys[9:]):
            rows = claims(part, name)
            found = await ledger.insert_new(rows)
            ours = [row.key for row, there in zip(rows, found, strict=True) if there in (None, row)]
            won.update(ours)
            outcomes = [result(key, f"{name}!", 20 + key) for key in ours]
            stands = await ledger.replace(outcomes, [name] * len(ours))
            for outcome, there in zip(outcomes, stands, strict=True):
                if there in (None, outcome):
                    kept.setdefault(outcome.key, []).append(name)

    async def case() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(worker(f"w{number}"))
        quiet = Counted()
        await quiet.put(list(below.rows.values()))
        rows = await PagedLedger(quiet, "reader", FixedPages(3 + seed % 5)).read(range(12))
        assert rows == [result(key, f"{kept[key][0]}!", 20 + key) for key in range(12)]

    simulate(case(), loop)
    assert won == dict.fromkeys(range(12), 1)
    assert {key: len(names) for key, names in kept.items()} == dict.fromkeys(range(12), 1)


def test_calls_of_one_worker_at_one_page_wait_for_each_other() -> None:
    """They would only refuse each other: with a page's writes in turn, none is in vain."""

    async def case() -> None:
        below = SimLedger("ledger", Network(None, None, None))
        writes = 0
        plain = below.replace

        async def counted(records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
            nonlocal writes
            writes += 1
            found = await plain(records, if_tokens)
            assert not any(found)
            return found

        below.replace = counted  # type: ignore[method-assign]
        ledger = PagedLedger(below, "w", FixedPages(50))
        await ledger.insert_new(claims(range(50), "a"))
        await asyncio.gather(
            *(ledger.replace([result(key, "a!", 10)], ["a"]) for key in range(50)),
        )
        assert writes == 50

    simulate(case(), SimLoop(Seeded(1)))


# --- lost replies ------------------------------------------------------------------------------------


def test_a_write_whose_reply_was_lost_is_known_again() -> None:
    async def case() -> None:
        below = Counted()
        ledger = PagedLedger(below, "w", FixedPages(10))
        rows = claims(range(3), "a")
        below.fails_after_next_write = True
        with pytest.raises(BackendUnavailable):
            await ledger.insert_new(rows)
        assert await ledger.insert_new(rows) == rows  # its own, by their tokens
        done = [result(key, "a!", 10) for key in range(3)]
        below.fails_after_next_write = True
        with pytest.raises(BackendUnavailable):
            await ledger.replace(done, ["a"] * 3)
        assert await ledger.replace(done, ["a"] * 3) == done

    run(case())


class MeetsItself(Counted):
    """Its client has lost a reply and tried again by itself: it finds what it wrote."""

    async def replace(self, records: Sequence[Record], if_tokens: Sequence[str]) -> list[Record | None]:
        found = await super().replace(records, if_tokens)
        return [record if there is None else there for record, there in zip(records, found, strict=True)]


def test_a_deletion_that_meets_its_own_write_is_one() -> None:
    async def case() -> None:
        ledger = PagedLedger(MeetsItself(), "w", FixedPages(10))
        await ledger.insert_new(claims(range(3), "a"))
        assert await ledger.delete([1], ["a"]) == [True]
        assert await ledger.read([0, 1]) == [claims([0], "a")[0], None]

    run(case())


# --- what is remembered, and what is refused ---------------------------------------------------------


def test_a_worker_that_has_forgotten_a_page_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paged_ledger, "KEPT_PAGES", 2)

    async def case() -> None:
        below = Counted()
        ledger = PagedLedger(below, "w", FixedPages(10))
        for number in range(4):
            await ledger.insert_new(claims([number * 10], "a"))
        for number in range(4):
            assert await ledger.replace([result(number * 10, "a!", 5)], ["a"]) == [None]
        assert below.calls["read"] == 4
        assert below.written["replace"] == 4
        assert len(ledger._seen) == 2

    run(case())


def test_the_page_that_was_used_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paged_ledger, "KEPT_PAGES", 2)

    async def case() -> None:
        below = Counted()
        ledger = PagedLedger(below, "w", FixedPages(10))
        for key in (0, 10, 1, 20):
            await ledger.insert_new(claims([key], "a"))
        for key, reads in ((0, 0), (10, 1)):
            assert await ledger.replace([result(key, "a!", 5)], ["a"]) == [None]
            assert below.calls["read"] == reads

    run(case())


def test_a_page_that_is_gone_has_no_rows() -> None:
    """Whoever cleans a run up deletes its pages, which a worker still knows."""

    async def case() -> None:
        below = Counted()
        ledger = PagedLedger(below, "w", FixedPages(10))
        await ledger.insert_new(claims([0, 1], "a"))
        [page] = await below.scan(0, 10)
        assert await below.delete([page.key], [page.token]) == [True]
        assert await ledger.replace([result(0, "a!", 5)], ["a"]) == [missing(0)]
        assert await ledger.insert_new(claims([1], "b")) == [None]
        assert await ledger.read([0, 1]) == [None, *claims([1], "b")]

    run(case())


@pytest.mark.parametrize(
    ("outcome", "says"),
    [(None, "not a page"), (b"[1,2]", "not a page"), (zlib.compress(b"\x93"), "not a page")],
)
def test_a_row_that_is_no_page_is_refused(outcome: bytes | None, says: str) -> None:
    async def case() -> None:
        below = Counted()
        await below.put([Record(0, "t", outcome=outcome)])
        with pytest.raises(StoreError, match=says):
            await PagedLedger(below, "w", FixedPages(10)).insert_new(claims([3], "a"))

    run(case())


def test_a_page_of_another_size_is_refused() -> None:
    async def case() -> None:
        below = Counted()
        await PagedLedger(below, "w", FixedPages(10)).insert_new(claims([3], "a"))
        with pytest.raises(StoreError, match="page of 10 tasks, and this worker has tasks_per_row 20"):
            await PagedLedger(below, "v", FixedPages(20)).insert_new(claims([3], "b"))

    run(case())


@pytest.mark.parametrize("tasks_per_row", [1, 101])
def test_pages_of_one_row_or_too_many_are_refused(tasks_per_row: int) -> None:
    with pytest.raises(ValueError, match="a page has 2 to 100 rows"):
        PagedLedger(Counted(), "w", FixedPages(tasks_per_row))


def test_pages_have_the_limits_of_the_ledger_below() -> None:
    below = Counted()
    below.max_batch, below.stale_reads, below.max_outcome_bytes = 7, True, 1_000
    ledger = PagedLedger(below, "w", FixedPages(10))
    assert (ledger.max_batch, ledger.stale_reads, ledger.max_outcome_bytes) == (70, True, 1_000)


def test_every_item_needs_a_token() -> None:
    async def case() -> None:
        ledger: Ledger = PagedLedger(Counted(), "w", FixedPages(2))
        with pytest.raises(ValueError, match="2 records and 1 tokens"):
            await ledger.replace(claims([0, 1], "a"), ["a"])
        with pytest.raises(ValueError, match="1 keys and 2 tokens"):
            await ledger.delete([0], ["a", "b"])

    run(case())


def test_a_scan_goes_on_over_pages_without_rows() -> None:
    async def case() -> None:
        ledger = PagedLedger(Counted(), "w", FixedPages(2))
        rows = claims(range(0, 200, 2), "a")
        await ledger.insert_new(rows)
        await ledger.delete(list(range(0, 160, 2)), ["a"] * 80)
        assert await ledger.scan(0, 3) == rows[80:83]
        assert await ledger.scan(165, 1_000) == rows[83:]

    run(case())
