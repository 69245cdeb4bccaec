"""What a queue asks its file for, and what it says of the answers."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from kon.backends.sqlite import SqliteBackend, connection
from kon.backends.sqlite.failures import explain
from kon.backends.sqlite.spans import Due, Spans
from kon.backends.sqlite.turn import Turn
from kon.core.errors import StoreError
from tests.backends.given import LONG, RUN, opened


def test_a_receive_that_waits_does_not_look_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    look = Spans.look

    def noted(spans: Spans, db: sqlite3.Connection, now_ms: int) -> Due:
        looks.append(now_ms)
        return look(spans, db, now_ms)

    monkeypatch.setattr(Spans, "look", noted)
    versions: list[int | None] = []
    version = connection._version

    def read(db: sqlite3.Connection) -> int | None:
        versions.append(version(db))
        return versions[-1]

    monkeypatch.setattr(connection, "_version", read)

    async def use() -> None:
        async with opened(tmp_path) as channel:
            assert await channel.tasks.receive(1, 0.5) == []

    asyncio.run(use())
    assert 1 <= len(looks) <= 5
    assert 2 <= len(versions) < 100, "soon at first, and then less often"


def test_a_depth_is_a_request(tmp_path: Path) -> None:
    async def use() -> None:
        backend = SqliteBackend({"path": str(tmp_path)})
        await backend.create(RUN, LONG)
        channel = await backend.open(RUN)
        before = backend.requests
        await channel.tasks.depth()
        assert backend.requests == before + 1
        await backend.close()

    asyncio.run(use())


def test_only_what_sqlite_or_the_disk_says_is_explained() -> None:
    path = Path("kon.db")
    assert isinstance(explain(OSError("read-only"), path), StoreError)
    for error in (ValueError("kon's own"), sqlite3.OperationalError("no such table: nowhere")):
        assert explain(error, path) is error
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    explained = explain(full, path)
    assert isinstance(explained, StoreError)
    assert explained.__cause__ is full


def test_a_turn_that_is_closed_leaves_no_open_file(tmp_path: Path) -> None:
    turn = Turn(tmp_path / "turn")
    turn.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(turn._descriptor)
