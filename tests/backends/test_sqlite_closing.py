"""Closing a connection: what was cancelled is undone first, nothing is left, and nobody is told in vain."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kon.backends.sqlite import SqliteBackend, schema
from kon.backends.sqlite.connection import Connection, Work
from kon.core.errors import StoreError
from kon.core.queue import Message
from tests.backends.connections import Held, connected, ignore, our_threads
from tests.backends.given import LONG, RUN, database, opened


async def cancelled(connection: Connection, undo: Work[Any]) -> None:
    """Leaves a call under way that is done, and undone as nobody waits for it any more."""
    begun, free = threading.Event(), threading.Event()

    def work(db: sqlite3.Connection) -> bool:
        begun.set()
        return free.wait(10.0)

    calling = asyncio.create_task(connection.write_or_undo(work, lambda reply: undo))
    await asyncio.to_thread(begun.wait, 10.0)
    calling.cancel()
    await asyncio.wait({calling})
    asyncio.get_running_loop().call_later(0.05, free.set)


def test_closing_undoes_the_only_call_there_was_and_keeps_no_loop_waiting(tmp_path: Path) -> None:
    async def use() -> None:
        connection = await connected(tmp_path)
        free, undone = threading.Event(), list[bool]()
        await cancelled(connection, lambda db: undone.append(free.wait(10.0)))
        asyncio.get_running_loop().call_later(0.2, free.set)
        await connection.close()
        assert undone == [True]

    asyncio.run(use())


def test_nobody_is_told_of_what_can_not_be_given_back(tmp_path: Path) -> None:
    """It comes back by itself, only later."""

    async def use() -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        connection = await connected(tmp_path)
        await cancelled(connection, lambda db: db.execute("SELECT 1 FROM nowhere"))
        await connection.close()
        gc.collect()
        assert complaints == []

    asyncio.run(use())


def test_nobody_is_told_of_what_comes_too_late_to_be_given_back(tmp_path: Path) -> None:
    async def use() -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        connection = await connected(tmp_path)
        await cancelled(connection, lambda db: None)
        connection._stop()
        await asyncio.shield(connection._ended)
        await connection.close()
        assert complaints == []

    asyncio.run(use())


def test_closing_what_could_not_be_opened_raises_nothing_more(tmp_path: Path) -> None:
    def refuse() -> sqlite3.Connection:
        raise StoreError("no run here")

    async def use() -> None:
        connection = Connection(tmp_path / "kon.db", refuse, 5.0, ignore)
        with pytest.raises(StoreError, match="no run here"):
            await connection.read(lambda db: None)
        await connection.close()
        assert our_threads() == []

    asyncio.run(use())


def test_a_connection_may_be_closed_twice_at_once(tmp_path: Path) -> None:
    """By who uses it, and with its backend."""

    async def use() -> None:
        connection = await connected(tmp_path)
        held = Held(connection)
        first = asyncio.create_task(connection.close())
        await asyncio.sleep(0)
        connection._stop()
        asyncio.get_running_loop().call_later(0.05, held.let_go)
        await asyncio.gather(first, connection.close())
        assert our_threads() == []

    asyncio.run(use())


def test_closing_after_the_loop_has_ended_waits_for_the_thread(tmp_path: Path) -> None:
    async def leave() -> tuple[Connection, Held]:
        connection = await connected(tmp_path)
        return connection, Held(connection)

    connection, held = asyncio.run(leave())
    threading.Timer(0.05, held.let_go).start()
    asyncio.run(connection.close())
    assert our_threads() == []


def test_the_end_waits_for_the_writes_before_it(tmp_path: Path) -> None:
    """They share a transaction, and the end comes while it is gathered."""

    async def use() -> None:
        connection = await connected(tmp_path)
        held, done = Held(connection), list[int]()
        writes = [connection.write(lambda db, n=n: done.append(n)) for n in range(2)]  # type: ignore[misc]
        connection._stop()
        held.let_go()
        async with asyncio.timeout(10.0):
            await asyncio.gather(*writes)
            await asyncio.shield(connection._ended)
        assert done == [0, 1]
        await connection.close()

    asyncio.run(use())


def descriptors(file: Path) -> list[int]:
    """Those of this process that are of this file."""
    found = []
    for each in Path("/dev/fd").iterdir():
        with suppress(OSError):  # the folder's own is no more
            if os.path.samestat(os.fstat(int(each.name)), file.stat()):
                found.append(int(each.name))
    return found


def test_closing_closes_the_lock_file(tmp_path: Path) -> None:
    async def use() -> None:
        connection = await connected(tmp_path)
        await connection.write(lambda db: None)
        lock = tmp_path / RUN / "kon.db-turn"
        assert len(descriptors(lock)) == 1
        await connection.close()
        assert descriptors(lock) == []

    asyncio.run(use())


def test_nothing_is_looked_for_where_nobody_watches_any_more(tmp_path: Path) -> None:
    async def use() -> None:
        await SqliteBackend({"path": str(tmp_path)}).create(RUN, LONG)
        file, changes = database(tmp_path), list[None]()
        connection = Connection(
            file, lambda: schema.connect(file, "normal", None), 5.0, lambda: changes.append(None)
        )
        with connection.watch():
            await connection.read(lambda db: None)
        await connection.read(lambda db: None)
        changes.clear()
        async with opened(tmp_path) as channel:
            await channel.tasks.send([Message(b"a")])
        await asyncio.sleep(0.1)  # a look every 25 ms
        assert changes == []
        await connection.close()

    asyncio.run(use())
