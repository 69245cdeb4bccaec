"""SQLite under the search: the backend's own queue and ledger, in virtual time.

Each host has a connection of its own to a database on this machine's disk. What a connection's thread does
in earnest, the simulated loop does here, a transaction in one step. A process may be killed before any
statement, and the disk may refuse any.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any, Final, cast

import msgspec

from kon.backends.sim.faults import FaultRates, Faults
from kon.backends.sim.loop import current_host
from kon.backends.sqlite.backend import SqliteBackend
from kon.backends.sqlite.connection import LONGEST_LOOK_S, Connection, Work
from kon.backends.sqlite.turn import Pauses, Turn
from kon.core.backend import Channel, ChannelOptions
from kon.core.scratch import temporary_place
from kon.trials.prove.services import Services


class SqliteRates(FaultRates, frozen=True, forbid_unknown_fields=True):
    """The chance of each fault of a machine, and of each fault of SQLite on it."""

    statement_kill: float = 0.0
    """A process ends by SIGKILL before any statement, in the midst of a transaction as well."""
    statement_failed: float = 0.0
    """The disk is full or fails at any statement; SQLite undoes the transaction, or leaves that to kon."""
    busy: float = 0.0
    """Another process has the database locked, for a while or for longer than anybody waits."""


MACHINE_FAULTS: Final = (
    "crash",
    "pause",
    "client_crash",
    "client_pause",
    "second_client",
    "stop",
    "late",
    "cancel",
    "statement_kill",
    "statement_failed",
    "busy",
)
"""Faults that the search has for SQLite: its hosts are processes of one machine, with one clock."""

RATES: Final = {"statement_kill": (0.01, 0.003), "statement_failed": (0.02, 0.005), "busy": (0.05, 0.01)}
"""Rates at each statement, by itself and together with others, as those in `classes`."""

_LARGE: Final = 20
"""How many times as many statements a schedule of more than a thousand tasks has."""


def for_large(rates: FaultRates) -> FaultRates:
    """As many faults in all where there are many more statements; else no process would get anywhere."""
    if not isinstance(rates, SqliteRates):
        return rates
    return msgspec.structs.replace(rates, **{name: getattr(rates, name) / _LARGE for name in RATES})


_EPOCH_S: Final = 1_000_000_000.0
"""What clocks show when a schedule begins: 0 has a meaning of its own in the database."""

_PAUSE_S: Final = 10.0
"""How long a look at a locked database takes: a third of the patience that a connection has."""

_MOST_BUSY: Final = 6
"""Looks that find the database locked, at most: more than patience lasts for."""


class _Killed(BaseException):
    """The process ends here. No code of kon's may see it."""


class SqliteServices(Services):
    """One database, and each host's connection to it."""

    def __init__(self, faults: Faults, seed: int) -> None:
        super().__init__()
        self.faults = faults
        self.seed = seed
        self.folder = Path(tempfile.mkdtemp(prefix="kon-prove-", dir=temporary_place()))
        self._connections: list[_SteppedConnection] = []

    async def create(self, run: str, options: ChannelOptions, tasks_per_row: int) -> None:
        await _HostBackend(self, "").create(run, options)

    async def open(self, run: str, host: str) -> Channel:
        channel = await _HostBackend(self, host).open(run)
        for connection in self._connections:
            connection.is_in_danger = connection.is_in_danger or connection.host == host
        return channel

    async def messages_left(self, channel: Channel) -> int:
        return (await channel.tasks.depth()).total

    def close(self) -> None:
        for connection in self._connections:
            connection.abandon()
        shutil.rmtree(self.folder)

    def joined(self, connection: _SteppedConnection) -> None:
        self._connections.append(connection)

    def changed(self, by: _SteppedConnection) -> None:
        """Tell every other connection, as late as its own look at the file would."""
        for connection in self._connections:
            if connection is not by:
                connection.tell_of_change()


class _HostBackend(SqliteBackend):
    """The backend as one process has it."""

    def __init__(self, services: SqliteServices, host: str) -> None:
        super().__init__({"path": services.folder})
        self._services = services
        self._host = host

    def _clock_ms(self) -> Callable[[], int]:
        loop = asyncio.get_running_loop()
        return lambda: int((loop.time() + _EPOCH_S) * 1000)

    def _connection(
        self, file: Path, connect: Callable[[], sqlite3.Connection], on_change: Callable[[], None]
    ) -> Connection:
        return _SteppedConnection(file, connect, self._busy_timeout_s, on_change, self._services, self._host)


class _SteppedConnection(Connection):
    """A connection without a thread: the loop does its calls, on behalf of its host.

    It stands still with its host, and is no more once the host has crashed.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        busy_timeout_s: float,
        on_change: Callable[[], None],
        services: SqliteServices,
        host: str,
    ) -> None:
        self._services = services
        self.host = host
        self.is_in_danger = False
        """Whether faults strike it: not before its host has opened the run."""
        self._context = contextvars.copy_context()
        self._context.run(current_host.set, host)
        self._db: _Statements | None = None
        self._no_turn = _NoTurn()
        # errors name the file: without a folder that has another name each time
        super().__init__(path.relative_to(services.folder), connect, busy_timeout_s, on_change)

    def tell_of_change(self) -> None:
        if self._watchers:
            self._loop.call_later(LONGEST_LOOK_S, self._on_change, context=self._context)

    def abandon(self) -> None:
        """Let the file go, as the end of a process does: what was not committed is undone."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _start(self) -> None:
        self._rng = random.Random(f"{self._services.seed}:{self.host}")
        self._services.joined(self)

    def _submit(
        self, work: Work[Any], writes: bool, undo: Callable[[Any], Work[Any]] | None
    ) -> asyncio.Future[Any]:
        answer = super()._submit(work, writes, undo)
        self._loop.call_soon(self._step, context=self._context)
        return answer

    def _stop(self) -> None:
        super()._stop()
        self._loop.call_soon(self._step, context=self._context)

    def _step(self) -> None:
        """Do what waits, in one transaction; or nothing, where an earlier step has done it."""
        try:
            call = self._inbox.get_nowait()
        except Empty:
            return
        if call is None:
            self.abandon()
            self._post(_resolve, self._ended)
            return
        try:
            if self._db is None:
                self._db = _Statements(self._patiently(self._connect), self._before, self._committed)
            self._serve_call(cast("sqlite3.Connection", self._db), self._no_turn, call)
        except _Killed:
            self.abandon()
            self._services.kill(self.host)

    def _post(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._loop.call_soon(callback, *arguments, context=self._context)

    def _pauses(self) -> Pauses:
        waited_s = [0.0]

        def sleep(_: float) -> None:
            waited_s[0] += _PAUSE_S

        return Pauses(self._rng, lambda: self._busy_timeout_s, lambda: waited_s[0], sleep)

    def _before(self, statement: str) -> None:
        """Have what is due go wrong before a statement."""
        faults, host = self._services.faults, self.host
        if not self.is_in_danger or statement == "ROLLBACK":
            return
        if faults.fires("statement_kill", host) is not None:
            raise _Killed
        if (far := faults.fires("statement_failed", host)) is not None:
            self._services.away.add(host)
            assert self._db is not None, "it does a statement"
            if far.random() < 0.5:
                self._db.undo()
            code = sqlite3.SQLITE_FULL if far.random() < 0.5 else sqlite3.SQLITE_IOERR
            raise _error("the disk is full" if code == sqlite3.SQLITE_FULL else "disk I/O error", code)
        if statement.startswith("BEGIN"):
            assert self._db is not None, "it does a statement"
            if not self._db.busy and (far := faults.fires("busy", host)) is not None:
                self._services.away.add(host)
                self._db.busy = far.randrange(1, _MOST_BUSY)
            if self._db.busy:
                self._db.busy -= 1
                raise _error("database is locked", sqlite3.SQLITE_BUSY)

    def _committed(self) -> None:
        self._services.changed(self)


class _Statements:
    """A connection of sqlite3 that reports each statement before it is done.

    busy: how many more times it will find the database locked.
    """

    def __init__(
        self, db: sqlite3.Connection, before: Callable[[str], None], committed: Callable[[], None]
    ) -> None:
        self._db = db
        self._before = before
        self._committed = committed
        self._dead = False
        self.busy = 0

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self._look(sql)
        cursor = self._db.execute(sql, *parameters)
        if sql == "COMMIT":
            self._committed()
        return cursor

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
        self._look(sql)
        return self._db.executemany(sql, rows)

    def undo(self) -> None:
        self._db.rollback()

    def close(self) -> None:
        self._db.close()

    def _look(self, sql: str) -> None:
        if self._dead:
            raise _Killed
        try:
            self._before(sql)
        except _Killed:
            self._dead = True
            raise


class _NoTurn(Turn):
    """No lock file: in a simulation, one thread does every transaction from its beginning to its end."""

    def __init__(self) -> None:
        return

    def take(self, pauses: Pauses) -> bool:
        return True

    def give(self) -> None:
        return


def _error(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def _resolve(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
