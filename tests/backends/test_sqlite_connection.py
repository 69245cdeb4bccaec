"""The thread of a connection: it ends, it shares transactions, and it loses nothing in either."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kon.backends.sqlite import SqliteBackend
from kon.backends.sqlite.connection import MOST_CALLS, Connection, Work
from kon.core.errors import StoreError
from kon.core.ledger import Record
from kon.core.queue import Depth, Message
from tests.backends.connections import Held, connected, our_threads
from tests.backends.given import LONG, RUN, database, opened


def test_closing_leaves_no_thread(tmp_path: Path) -> None:
    async def use() -> None:
        (tmp_path / "file").touch()
        async with opened(tmp_path) as channel, opened(tmp_path) as other:
            await channel.objects.put("key", tmp_path / "file")
            await other.tasks.receive(1, 0.05)
            assert len(our_threads()) >= 3
        assert our_threads() == []

    asyncio.run(use())


def test_a_cancelled_program_leaves_no_thread(tmp_path: Path) -> None:
    """As Ctrl-C does it: the main task is cancelled, and everything below it closes as it goes."""

    async def use() -> None:
        async with opened(tmp_path) as channel:
            asyncio.get_running_loop().call_later(0.05, asyncio.all_tasks().pop().cancel)
            await channel.tasks.receive(1, 30.0)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(use())
    assert our_threads() == []


def test_a_cancelled_close_leaves_no_thread(tmp_path: Path) -> None:
    async def use() -> None:
        connection = await connected(tmp_path)
        held = Held(connection)
        closing = asyncio.create_task(connection.close())
        await asyncio.sleep(0)
        closing.cancel()
        threading.Timer(0.05, held.let_go).start()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert our_threads() == []

    asyncio.run(use())


def test_a_loop_that_ends_without_a_word_leaves_a_connection_that_can_be_closed(tmp_path: Path) -> None:
    backend = SqliteBackend({"path": str(tmp_path)})
    asyncio.run(backend.create(RUN, LONG))
    channel = asyncio.run(backend.open(RUN))
    asyncio.run(backend.close())
    assert our_threads() == []
    with pytest.raises(StoreError, match="was closed by this program"):
        asyncio.run(channel.tasks.depth())


def test_deleting_a_run_closes_its_channels_and_no_others(tmp_path: Path) -> None:
    async def use() -> None:
        backend = SqliteBackend({"path": str(tmp_path)})
        for run in (RUN, "other"):
            await backend.create(run, LONG)
        channel, other = await backend.open(RUN), await backend.open("other")
        await backend.delete(RUN)
        assert our_threads() == ["kon-sqlite-other"]
        with pytest.raises(StoreError, match="was closed by this program"):
            await channel.tasks.depth()
        assert await other.tasks.depth() == Depth(0, 0, 0)
        await backend.close()

    asyncio.run(use())


def test_a_file_that_can_not_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run at"):
        asyncio.run(SqliteBackend({"path": str(tmp_path)}).open(RUN))
    assert our_threads() == []


def test_closing_waits_no_longer_for_other_processes(tmp_path: Path) -> None:
    async def use() -> None:
        connection = await connected(tmp_path)
        other = sqlite3.connect(database(tmp_path), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writing = connection.write(lambda db: None)
        await asyncio.sleep(0.02)
        connection._stop()
        async with asyncio.timeout(4.0):
            with pytest.raises(StoreError, match="locked"):
                await writing
        other.close()
        await connection.close()

    asyncio.run(use())


def commits(db: sqlite3.Connection) -> Callable[[], int]:
    """Counts the transactions from now on."""
    seen: list[str] = []
    db.set_trace_callback(seen.append)
    return lambda: seen.count("COMMIT")


def test_calls_that_wait_together_share_a_transaction(tmp_path: Path) -> None:
    async def use() -> None:
        connection = await connected(tmp_path)
        count = await connection.read(commits)
        held = Held(connection)
        calls = [connection.write(lambda db: db.total_changes) for _ in range(MOST_CALLS + 1)]
        held.let_go()
        await asyncio.gather(held.call, *calls)
        assert await connection.read(lambda db: count()) == 2
        await connection.close()

    asyncio.run(use())


def insert(db: sqlite3.Connection, key: int) -> None:
    db.execute("INSERT INTO ledger VALUES (?, 't', 'claimed', 1, '', 0, NULL)", (key,))


def keys(db: sqlite3.Connection) -> list[int]:
    return [key for (key,) in db.execute("SELECT key FROM ledger ORDER BY key")]


def test_a_call_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    def fail(db: sqlite3.Connection) -> None:
        insert(db, 100)
        raise ValueError("after it has written")

    async def use() -> None:
        connection = await connected(tmp_path)
        held = Held(connection)
        works: list[Work[None]] = [
            partial(insert, key=1),
            fail,
            partial(insert, key=2),
            fail,
            partial(insert, key=3),
        ]
        calls = [connection.write(work) for work in works]
        held.let_go()
        replies = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(reply, ValueError) for reply in replies] == [False, True, False, True, False]
        assert await connection.read(keys) == [1, 2, 3]
        await connection.close()

    asyncio.run(use())


def test_a_call_cancelled_before_its_turn_is_left_out(tmp_path: Path) -> None:
    async def use() -> None:
        connection = await connected(tmp_path)
        held = Held(connection)
        calls = [connection.write(partial(insert, key=key)) for key in range(3)]
        calls[1].cancel()
        held.let_go()
        await asyncio.gather(calls[0], calls[2])
        assert await connection.read(keys) == [0, 2]
        await connection.close()

    asyncio.run(use())


def test_what_a_cancelled_receive_got_is_given_back(tmp_path: Path) -> None:
    """Its hold would outlast the test: nobody would see the message again."""

    async def use() -> None:
        async with opened(tmp_path) as channel:
            await channel.tasks.send([Message(b"a")])
            other = sqlite3.connect(database(tmp_path), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            receiving = asyncio.create_task(channel.tasks.receive(1, 0.0))
            await asyncio.sleep(0.02)  # it has begun, and waits for the other's lock
            receiving.cancel()
            await asyncio.wait({receiving})
            other.execute("COMMIT")
            other.close()
            (delivery,) = await channel.tasks.receive(1, 10.0)
            assert delivery.body == b"a"

    asyncio.run(use())


def test_a_receive_cancelled_between_its_answer_and_its_turn_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is told to stop in the very pass of its loop in which messages came."""

    async def use() -> None:
        async with opened(tmp_path) as channel:
            await channel.tasks.send([Message(b"a")])
            deliver = Connection._deliver

            def deliver_and_cancel(self: Connection, calls: Any) -> None:
                deliver(self, calls)
                receiving.cancel()

            monkeypatch.setattr(Connection, "_deliver", deliver_and_cancel)
            receiving = asyncio.create_task(channel.tasks.receive(1, 0.0))
            await asyncio.wait({receiving})
            assert receiving.cancelled()
            monkeypatch.undo()
            (delivery,) = await channel.tasks.receive(1, 10.0)
            assert delivery.body == b"a"

    asyncio.run(use())


def test_a_call_that_fails_as_it_is_cancelled_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> None:
        connection = await connected(tmp_path)
        deliver, undone = Connection._deliver, list[object]()

        def deliver_and_cancel(self: Connection, calls: Any) -> None:
            deliver(self, calls)
            calling.cancel()

        monkeypatch.setattr(Connection, "_deliver", deliver_and_cancel)
        work: Work[object] = lambda db: db.execute("SELECT 1 FROM nowhere")  # noqa: E731
        calling = asyncio.create_task(connection.write_or_undo(work, lambda reply: undone.append))
        await asyncio.wait({calling})
        assert calling.cancelled()
        monkeypatch.undo()
        await connection.close()
        assert undone == []

    asyncio.run(use())


def test_closing_gives_back_what_a_cancelled_receive_got(tmp_path: Path) -> None:
    """As a worker does it that is told to stop: cancel the receive, and close."""

    async def cancel_and_close() -> None:
        async with opened(tmp_path) as channel:
            await channel.tasks.send([Message(b"a")])
            other = sqlite3.connect(database(tmp_path), isolation_level=None, check_same_thread=False)
            other.execute("BEGIN IMMEDIATE")
            receiving = asyncio.create_task(channel.tasks.receive(1, 0.0))
            await asyncio.sleep(0.02)
            receiving.cancel()
            threading.Timer(0.1, other.close).start()

    async def look() -> None:
        async with opened(tmp_path) as channel:
            assert await channel.tasks.depth() == Depth(1, 0, 0)

    asyncio.run(cancel_and_close())
    asyncio.run(look())


def test_a_claim_is_written_before_it_is_answered(tmp_path: Path) -> None:
    async def use() -> None:
        async with opened(tmp_path) as channel:
            assert await channel.ledger.insert_new([Record(1, "t")]) == [None]
            other = sqlite3.connect(database(tmp_path))
            assert other.execute("SELECT token FROM ledger").fetchall() == [("t",)]
            other.close()

    asyncio.run(use())
