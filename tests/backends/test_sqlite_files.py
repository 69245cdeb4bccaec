"""Files that can't be used as they are: each is named, with what mends it, and left as it was."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from kon.backends.sqlite import SqliteBackend, connection, schema
from kon.core.errors import ConfigurationError, StoreError, StoreVersionError
from kon.core.ledger import Record
from kon.core.queue import Depth, Message
from tests.backends.given import LONG, RUN, database, opened
from tests.backends.span_rules import check_file


def open_and_create(folder: Path, match: str, error: type[StoreError] = StoreError) -> None:
    """Both refuse it, naming the file, and leave every byte of it."""
    backend = SqliteBackend({"path": str(folder)})
    file = database(folder)
    before = file.read_bytes()
    with pytest.raises(error, match=match) as opening:
        asyncio.run(backend.open(RUN))
    with pytest.raises(error, match=match) as creating:
        asyncio.run(backend.create(RUN, LONG))
    assert str(file) in str(opening.value)
    assert str(file) in str(creating.value)
    assert file.read_bytes() == before


def make(folder: Path) -> None:
    async def send() -> None:
        async with opened(folder) as channel:
            await channel.tasks.send([Message(b"kept")])

    asyncio.run(send())


def change(folder: Path, *statements: str) -> None:
    db = sqlite3.connect(database(folder))
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


@pytest.mark.parametrize(("version", "age"), [(schema.VERSION + 1, "a newer"), (0, "an older")])
def test_another_version_is_refused_by_its_number(tmp_path: Path, version: int, age: str) -> None:
    make(tmp_path)
    change(tmp_path, f"PRAGMA user_version = {version}")
    open_and_create(
        tmp_path, f"{age} kon.*version {version}.*reads version {schema.VERSION}", StoreVersionError
    )


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    database(tmp_path).parent.mkdir()
    change(tmp_path, "CREATE TABLE photos (id)", "PRAGMA application_id = 77")
    open_and_create(tmp_path, "another program.*0x4d")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    database(tmp_path).parent.mkdir()
    database(tmp_path).write_bytes(b"These are my notes, and not a database.\n" * 100)
    open_and_create(tmp_path, "not a database")


def test_an_unfinished_file_is_refused_until_it_is_made(tmp_path: Path) -> None:
    """Whoever made it was killed before the first byte."""
    database(tmp_path).parent.mkdir()
    database(tmp_path).touch()
    with pytest.raises(StoreError, match="submit it again"):
        asyncio.run(SqliteBackend({"path": str(tmp_path)}).open(RUN))
    make(tmp_path)
    check_file(database(tmp_path))


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    async def fill() -> None:
        async with opened(tmp_path) as channel:
            for _ in range(20):
                await channel.tasks.send([Message(b"x" * 200)] * 100)

    async def use() -> None:
        async with opened(tmp_path) as channel:
            while deliveries := await channel.tasks.receive(1_000, 0.0):
                await channel.tasks.ack(deliveries)

    asyncio.run(fill())
    content = bytearray(database(tmp_path).read_bytes())
    content[8 * 4096 :] = b"\xa5" * (len(content) - 8 * 4096)
    database(tmp_path).write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged.*\.recover") as caught:
        asyncio.run(use())
    assert str(database(tmp_path)) in str(caught.value)


def test_a_locked_file_is_waited_for_and_then_reported(tmp_path: Path) -> None:
    make(tmp_path)
    other = sqlite3.connect(database(tmp_path), isolation_level=None)

    async def use() -> None:
        async with opened(tmp_path, busy_timeout_s=0.2) as channel:
            other.execute("BEGIN IMMEDIATE")
            now_s = asyncio.get_running_loop().time
            began_s = now_s()
            with pytest.raises(
                StoreError, match=r"locked by another process for 0.2 s.*busy_timeout_s"
            ) as caught:
                await channel.tasks.send([Message(b"a")])
            assert str(database(tmp_path)) in str(caught.value)
            assert now_s() - began_s >= 0.2
            assert await channel.tasks.depth() == Depth(1, 0, 0)  # readers go on
            other.execute("COMMIT")
            await channel.tasks.send([Message(b"a")])
            assert await channel.tasks.depth() == Depth(2, 0, 0)

    asyncio.run(use())
    other.close()


def test_a_lock_that_is_let_go_in_time_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_CLOSING_TIMEOUT_S", 0.0)
    make(tmp_path)
    other = sqlite3.connect(database(tmp_path), isolation_level=None)

    async def use() -> None:
        async with opened(tmp_path) as channel:
            other.execute("BEGIN IMMEDIATE")
            sending = asyncio.create_task(channel.tasks.send([Message(b"a")]))
            await asyncio.sleep(0.05)
            assert not sending.done()
            other.execute("COMMIT")
            await sending
            assert await channel.tasks.depth() == Depth(2, 0, 0)

    asyncio.run(use())
    other.close()


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls wait together and would share a transaction, which the large one breaks."""
    make(tmp_path)
    monkeypatch.setitem(schema.PRAGMAS, "max_page_count", 60)

    async def use() -> None:
        async with opened(tmp_path) as channel:
            small, large, claim = await asyncio.gather(
                channel.tasks.send([Message(b"small")]),
                channel.tasks.send([Message(b"x" * 1_000_000)]),
                channel.ledger.insert_new([Record(1, "t")]),
                return_exceptions=True,
            )
            assert small is None
            assert claim == [None]
            assert isinstance(large, StoreError)
            assert "disk is full" in str(large)
            assert str(database(tmp_path)) in str(large)
            assert "Nothing that was confirmed is lost" in str(large)
            bodies = {delivery.body for delivery in await channel.tasks.receive(10, 0.0)}
            assert bodies == {b"kept", b"small"}
            assert await channel.ledger.read([1]) == [Record(1, "t")]

    asyncio.run(use())
    check_file(database(tmp_path))


def test_a_file_that_can_not_be_written_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.setitem(schema.PRAGMAS, "query_only", "ON")  # root writes whatever its mode says

    async def use() -> None:
        async with opened(tmp_path) as channel:
            with pytest.raises(StoreError, match="writable"):
                await channel.tasks.send([Message(b"a")])
            assert await channel.tasks.depth() == Depth(1, 0, 0)

    asyncio.run(use())


def test_a_folder_that_can_not_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    backend = SqliteBackend({"path": str(tmp_path / "file")})
    with pytest.raises(StoreError, match=r"can't be made.*Choose another `path`"):
        asyncio.run(backend.create(RUN, LONG))


def test_an_old_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 7, 15))
    with pytest.raises(StoreError, match=r"needs 3\.24\.0 or newer"):
        asyncio.run(SqliteBackend({"path": str(tmp_path)}).create(RUN, LONG))


def test_full_durability_waits_for_the_disk(tmp_path: Path) -> None:
    async def synchronous(durability: str) -> int:
        backend = SqliteBackend({"path": str(tmp_path), "durability": durability})
        await backend.create(RUN, LONG)
        _, connection = await backend._connect(RUN, None)
        (mode,) = await connection.read(lambda db: db.execute("PRAGMA synchronous").fetchone())
        await connection.close()
        return int(mode)

    assert asyncio.run(synchronous("normal")) == 1
    assert asyncio.run(synchronous("full")) == 2


def test_deleting_leaves_what_others_put_there(tmp_path: Path) -> None:
    make(tmp_path)
    notes = tmp_path / RUN / "records.jsonl"
    notes.touch()
    asyncio.run(SqliteBackend({"path": str(tmp_path)}).delete(RUN))
    assert list((tmp_path / RUN).iterdir()) == [notes]


def test_deleting_leaves_no_folder_that_is_empty(tmp_path: Path) -> None:
    make(tmp_path)
    asyncio.run(SqliteBackend({"path": str(tmp_path)}).delete(RUN))
    assert list(tmp_path.iterdir()) == []


def test_runs_may_share_a_folder_of_objects_and_none_deletes_it(tmp_path: Path) -> None:
    async def main() -> None:
        backend = SqliteBackend({"path": str(tmp_path / "runs"), "objects": str(tmp_path / "shared")})
        (tmp_path / "given").write_bytes(b"kept")
        for run in ("first", "second"):
            await backend.create(run, LONG)
        await (await backend.open("first")).objects.put("a/b", tmp_path / "given")
        await backend.delete("first")
        await (await backend.open("second")).objects.get("a/b", tmp_path / "got")
        await backend.delete("second")
        await backend.close()

    asyncio.run(main())
    assert (tmp_path / "got").read_bytes() == (tmp_path / "shared" / "a" / "b").read_bytes() == b"kept"
    with pytest.raises(
        ConfigurationError, match='option "objects" of backend sqlite: expected the name of a folder'
    ):
        SqliteBackend({"path": str(tmp_path), "objects": 7})
