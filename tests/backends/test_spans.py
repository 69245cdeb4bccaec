"""The statements of a queue, at times that the test names to the millisecond."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kon.backends.sqlite import schema
from kon.backends.sqlite.spans import Spans
from kon.core.queue import Message
from tests.backends.given import LONG
from tests.backends.span_rules import check_file


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    db = schema.connect(tmp_path / "kon.db", "normal", LONG)
    yield db
    db.close()


def test_nothing_falls_due_too_soon(db: sqlite3.Connection) -> None:
    """The clock reads 1000 for as long as it is not 1001 yet: ten milliseconds later is 1011."""
    spans = Spans("tasks")
    spans.send(db, [Message(b"a", delay_s=0.010)], now_ms=1_000)
    assert spans.look(db, 1_010).visible is False
    assert spans.take(db, 1, 1_010, 30.0) == ([], False)
    (delivery,), _ = spans.take(db, 1, 1_011, 0.010)
    assert spans.look(db, 1_021) == (False, 1_022)
    assert spans.look(db, 1_022).visible is True
    assert spans.extend(db, [delivery.handle], 1_022, 0.0005) == [True]
    assert spans.look(db, 1_022).visible is False
    assert spans.look(db, 1_023).visible is True


def test_what_is_sent_without_delay_is_visible_to_slow_clocks_too(db: sqlite3.Connection) -> None:
    spans = Spans("tasks")
    spans.send(db, [Message(b"a")], now_ms=1_000)
    (delivery,), _ = spans.take(db, 1, 5, 30.0)
    assert spans.extend(db, [delivery.handle], 1_000, 0.0) == [True]
    assert spans.look(db, 5).visible is True


def test_a_receive_writes_a_row_and_not_one_for_each_message(db: sqlite3.Connection) -> None:
    """What makes batches cheap: however many messages, the same few rows."""
    spans = Spans("tasks")
    spans.send(db, [Message(b"a")] * 1_000, now_ms=1)
    before = db.total_changes
    taken, _ = spans.take(db, 1_000, 1, 30.0)
    assert len(taken) == 1_000
    assert db.total_changes - before == 1
    handles = [delivery.handle for delivery in taken]
    assert spans.extend(db, handles, 1, 30.0) == [True] * 1_000
    assert db.total_changes - before == 2
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    assert spans.ack(db, handles) == [True] * 1_000
    assert len(statements) <= 4


def test_what_comes_back_shares_a_receive_with_the_backlog(db: sqlite3.Connection) -> None:
    """It waits neither for all that is fresh, nor does that wait for it."""
    spans = Spans("tasks")
    spans.send(db, [Message(b"held")] * 20, now_ms=1_000)
    spans.take(db, 20, 1_000, 1.0)
    spans.send(db, [Message(b"fresh")] * 100, now_ms=1_000)
    taken = [spans.take(db, 10, 3_000, 30.0)[0] for _ in range(5)]
    assert [[each.body for each in some].count(b"held") for some in taken] == [5, 5, 5, 5, 0]
    assert [len(some) for some in taken] == [10] * 5


def test_one_at_a_time_what_came_back_goes_first(db: sqlite3.Connection) -> None:
    spans = Spans("tasks")
    spans.send(db, [Message(b"held")], now_ms=1_000)
    spans.take(db, 1, 1_000, 1.0)
    spans.send(db, [Message(b"fresh")] * 3, now_ms=1_000)
    assert [spans.take(db, 1, 3_000, 30.0)[0][0].body for _ in range(3)] == [b"held", b"fresh", b"fresh"]


def test_an_ack_of_every_other_message_leaves_those_between(db: sqlite3.Connection, tmp_path: Path) -> None:
    spans = Spans("tasks")
    spans.send(db, [Message(b"%d" % number) for number in range(5)], now_ms=1_000)
    taken, _ = spans.take(db, 5, 1_000, 1.0)
    assert spans.ack(db, [each.handle for each in taken[::2]]) == [True] * 3
    assert spans.ack(db, [each.handle for each in taken]) == [False, True, False, True, False]
    check_file(tmp_path / "kon.db")


def test_an_ack_tells_what_was_gone_within_a_run_of_messages(db: sqlite3.Connection, tmp_path: Path) -> None:
    spans = Spans("tasks")
    spans.send(db, [Message(b"%d" % number) for number in range(5)], now_ms=1_000)
    taken, _ = spans.take(db, 5, 1_000, 1.0)
    assert spans.ack(db, [taken[1].handle, taken[3].handle]) == [True, True]
    check_file(tmp_path / "kon.db")
    assert [each.body for each in spans.take(db, 5, 3_000, 1.0)[0]] == [b"0", b"2", b"4"]
    again = [(key, receives + 1) for key, receives in (each.handle for each in taken)]
    assert spans.ack(db, again) == [True, False, True, False, True]


def test_what_goes_to_the_dead_letters_leaves_nothing_behind(db: sqlite3.Connection, tmp_path: Path) -> None:
    dead = Spans("dead")
    spans = Spans("tasks", 1, dead)
    spans.send(db, [Message(b"a"), Message(b"b")], now_ms=1_000)
    spans.take(db, 2, 1_000, 1.0)
    assert spans.take(db, 2, 3_000, 1.0) == ([], True)
    check_file(tmp_path / "kon.db")
    assert [each.body for each in dead.take(db, 2, 3_000, 1.0)[0]] == [b"a", b"b"]
