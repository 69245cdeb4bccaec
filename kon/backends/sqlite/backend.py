"""The backend object of `sqlite`: a folder of runs, a database in each."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import msgspec

from kon.backends.folder import FolderObjects
from kon.backends.sqlite import schema
from kon.backends.sqlite.connection import Connection
from kon.backends.sqlite.ledger import Rows, SqliteLedger
from kon.backends.sqlite.queue import LIMITS, News, SqliteQueue
from kon.backends.sqlite.spans import Spans
from kon.core.backend import (
    Backend,
    Channel,
    ChannelOptions,
    RequestCount,
    check_channel,
    check_same,
)
from kon.core.clock import Clock, suspended_s
from kon.core.errors import StoreError
from kon.core.objects import check_run
from kon.core.options import read_options

_DATABASE: Final = "kon.db"
_OBJECTS: Final = "objects"


class _Open(msgspec.Struct, frozen=True):
    """What one open channel holds."""

    run: str
    connection: Connection
    objects: FolderObjects


_Folder = Annotated[str, msgspec.Meta(min_length=1, extra={"expected": "the name of a folder"})]
_DURABILITY: Final = '"normal" (survives kill -9) or "full" (survives a power cut too)'


class SqliteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `sqlite`.

    path: the folder of the runs; a run's database is `<path>/<run>/kon.db`. It must be on a disk of
        this machine: SQLite's write-ahead log does not work over a network.
    durability: `normal` survives the end of any process at any moment, `kill -9` included; `full`
        waits for the disk at each commit, and so survives a power cut as well.
    busy_timeout_s: how long a call waits for other processes before it fails, in seconds.
    objects: a folder for what kinds store, which runs may share; it is never deleted. null for one of the
        run's own.
    """

    path: _Folder
    durability: Annotated[schema.Durability, msgspec.Meta(extra={"expected": _DURABILITY})] = "normal"
    busy_timeout_s: Annotated[float, msgspec.Meta(ge=0, extra={"expected": "seconds, 0 or more"})] = 30.0
    objects: _Folder | None = None


class SqliteBackend(Backend):
    """Keeps a run in a database on this machine's disk."""

    name: ClassVar[str] = "sqlite"
    takes = SqliteOptions
    processes: ClassVar[bool] = True
    keeps_files: ClassVar[bool] = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        given = read_options("backend sqlite", plain, SqliteOptions)
        self._path = _absolute(given.path)
        self._durability = given.durability
        self._busy_timeout_s = given.busy_timeout_s
        self._objects = None if given.objects is None else _absolute(given.objects)
        self._requests = RequestCount()
        self._open: list[_Open] = []
        self._news: defaultdict[str, dict[str, News]] = defaultdict(_news_of_run)

    @property
    def durable(self) -> bool:
        return self._durability == "full"

    async def create(self, run: str, options: ChannelOptions) -> None:
        """Raises ConfigurationError where the run is there with other options, StoreError where its
        file can't be made or is something else."""
        check_channel(options, LIMITS)
        made, connection = await self._connect(run, options)
        await connection.close()
        check_same(run, made, options)

    async def open(self, run: str) -> Channel:
        options, connection = await self._connect(run, None)
        now_ms = self._clock_ms()

        def queue(spans: Spans) -> SqliteQueue:
            return SqliteQueue(
                connection,
                spans,
                options.visibility_s,
                now_ms,
                news[spans.name],
                news["dead"],
                self._requests,
            )

        news = self._news[run]

        dead = Spans("dead")
        stored = self._objects or self._file(run).parent / _OBJECTS
        objects = FolderObjects(stored, durable=self._durability == "full")
        self._open.append(_Open(run, connection, objects))
        return Channel(
            tasks=queue(Spans("tasks", options.max_receives, dead)),
            answers=queue(Spans("answers")),
            dead=queue(dead),
            ledger=SqliteLedger(connection, Rows("ledger"), self._requests),
            control=SqliteLedger(connection, Rows("control"), self._requests),
            objects=objects,
        )

    async def delete(self, run: str, keep_objects: bool = False) -> None:
        """Channels of the run that this object opened are closed; what else is in its folder stays."""
        file = self._file(run)
        await self._close(lambda each: each.run == run)
        # not on a thread: a program that is ending can start none, and would leave the file
        _delete(file, keep_objects)

    async def close(self) -> None:
        await self._close(lambda each: True)

    @property
    def requests(self) -> int:
        return self._requests.made

    def _clock_ms(self) -> Callable[[], int]:
        """Milliseconds since the epoch, as they stand in the file; for any thread.

        The connection's thread needs the time too, and no loop runs there. Loops in real time all
        read one monotonic clock, so that theirs does for every thread.
        """
        loop = asyncio.get_running_loop()
        offset_s = Clock.of_this_host().now_s() - loop.time() - suspended_s()
        return lambda: int((loop.time() + offset_s + suspended_s()) * 1000)

    async def _connect(self, run: str, options: ChannelOptions | None) -> tuple[ChannelOptions, Connection]:
        """A new connection; with `options` the file is made where it is not there yet."""
        file = self._file(run)

        def connect() -> sqlite3.Connection:
            return schema.connect(file, self._durability, options)

        def on_change() -> None:
            for news in self._news[run].values():
                news.spread()

        connection = self._connection(file, connect, on_change)
        try:
            return await connection.read(schema.stored_options), connection
        except BaseException:
            await connection.close()
            raise

    def _connection(
        self, file: Path, connect: Callable[[], sqlite3.Connection], on_change: Callable[[], None]
    ) -> Connection:
        return Connection(file, connect, self._busy_timeout_s, on_change)

    async def _close(self, which: Callable[[_Open], bool]) -> None:
        """Close all of them, whatever happens: a cancelled close ends its thread all the same."""
        async with AsyncExitStack() as stack:
            for each in [each for each in self._open if which(each)]:
                self._open.remove(each)
                stack.push_async_callback(each.connection.close)
                stack.push_async_callback(each.objects.close)

    def _file(self, run: str) -> Path:
        return self._path / check_run(run) / _DATABASE


def _news_of_run() -> dict[str, News]:
    return {name: News() for name in schema.QUEUES}


def _delete(file: Path, keep_objects: bool) -> None:
    try:
        # The database first: SQLite ignores a log without its database, and would take a database
        # without its log for whole.
        for name in (file.name, f"{file.name}-wal", f"{file.name}-shm", f"{file.name}-turn"):
            file.with_name(name).unlink(missing_ok=True)
        if (objects := file.with_name(_OBJECTS)).is_dir() and not keep_objects:
            shutil.rmtree(objects)
        if file.parent.is_dir() and not any(file.parent.iterdir()):
            file.parent.rmdir()
    except OSError as error:
        raise StoreError(
            f"{file.parent} can't be deleted wholly: {error}. Mend the permissions and delete it again"
        ) from error


def _absolute(folder: str) -> Path:
    return Path(folder).expanduser().absolute()
