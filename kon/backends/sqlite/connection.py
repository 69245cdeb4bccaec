"""The thread that owns one connection.

SQLite's calls block, so that none is made on the event loop. Calls that wait together are done in
one transaction: they share its lock, its commit and, with `durability: full`, its wait for the disk.
When anything goes wrong in it, all of it is undone and each call is done again on its own, so that
one call's failure is never another's.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from typing import Any, Final, Generic, TypeVar

from kon.backends.sqlite.failures import explain, is_busy, locked
from kon.backends.sqlite.turn import Pauses, Turn
from kon.core.errors import StoreError

_Reply = TypeVar("_Reply")

Work = Callable[[sqlite3.Connection], _Reply]
"""Statements of one call. May be done more than once, if it was undone before: it changes nothing else."""

MOST_CALLS: Final = 16
"""Calls in one transaction, at most: other processes wait for its lock."""

_FIRST_LOOK_S: Final = 0.001
LONGEST_LOOK_S: Final = 0.025
"""Between two looks for what other processes have written, at most."""

_CLOSING_TIMEOUT_S: Final = 1.0


class _Call(Generic[_Reply]):
    """One call on its way to the thread and back."""

    __slots__ = ("answer", "done", "error", "reply", "undo", "work", "writes")

    def __init__(
        self,
        work: Work[_Reply],
        writes: bool,
        undo: Callable[[_Reply], Work[Any]] | None,
        answer: asyncio.Future[_Reply],
    ) -> None:
        self.work = work
        self.writes = writes
        self.undo = undo
        self.answer = answer
        self.done = False
        self.reply: Any = None
        self.error: BaseException | None = None


class Connection:
    """A connection and its thread, for the event loop it was made in.

    connect: makes the connection, on the thread; what it raises, every call raises.
    busy_timeout_s: how long one transaction waits for other processes, in seconds.
    on_change: called on the loop, while somebody watches, after another connection has written.

    Calls raise StoreError. A call whose awaiter is cancelled is left out if it has not begun.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        busy_timeout_s: float,
        on_change: Callable[[], None],
    ) -> None:
        self.path = path
        self._connect = connect
        self._busy_timeout_s = busy_timeout_s
        self._on_change = on_change
        self._rng = Random()  # for the pauses of those who wait for a lock, which should differ
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._inbox: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._under_way = 0
        self._closing = False
        self._watchers = 0
        self._version: int | None = None
        self._look_s = _FIRST_LOOK_S
        self._thread: threading.Thread | None = None
        self._start()

    def _start(self) -> None:
        # A daemon, so that a program that ends without `close` does end; the file allows for that.
        name = f"kon-sqlite-{self.path.parent.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def read(self, work: Work[_Reply]) -> asyncio.Future[_Reply]:
        """Do statements that change nothing."""
        return self._submit(work, False, None)

    def write(self, work: Work[_Reply]) -> asyncio.Future[_Reply]:
        """Do statements in a transaction, and answer once it is committed."""
        return self._submit(work, True, None)

    async def write_or_undo(self, work: Work[_Reply], undo: Callable[[_Reply], Work[Any]]) -> _Reply:
        """As `write`, for a reply that must reach somebody.

        undo: makes, from the reply, the statements that take it back when nobody waits for it any more.
        """
        answer = self._submit(work, True, undo)
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.exception() is None:
                # it had its answer already, and was cancelled before its turn to take note of it
                self._take_back(undo(answer.result()))
            raise

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Have `on_change` called, from the next read on.

        Another process can't wake this one, so the thread looks at a counter of the file: soon at
        first, then every 25 ms. That costs a third of a timer of the loop, and 0.5% of a core.
        """
        self._watchers += 1
        self._look_s = _FIRST_LOOK_S
        try:
            yield
        finally:
            self._watchers -= 1

    async def close(self) -> None:
        """End the thread. Whatever was asked of it is done first; a cancelled `close` still ends it."""
        if self._loop is not asyncio.get_running_loop():
            self._stop()  # the loop that it answered to is gone, and so is everyone who waits
            self._join()
            return
        try:
            if self._under_way and not self._closing:
                await self.read(_nothing)  # a receive that was cancelled has its messages given back
            self._stop()
            await asyncio.shield(self._ended)
        finally:
            self._stop()
            self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _stop(self) -> None:
        self._closing = True
        self._inbox.put(None)

    # --- on the event loop -------------------------------------------------------------------------

    def _submit(
        self, work: Work[_Reply], writes: bool, undo: Callable[[_Reply], Work[Any]] | None
    ) -> asyncio.Future[_Reply]:
        if self._closing:
            raise StoreError(f"{self.path} was closed by this program; open the run again")
        answer: asyncio.Future[_Reply] = self._loop.create_future()
        self._under_way += 1
        self._inbox.put(_Call(work, writes, undo, answer))
        return answer

    def _deliver(self, calls: Sequence[_Call[Any]]) -> None:
        self._under_way -= len(calls)
        for call in calls:
            if call.answer.done():  # its awaiter was cancelled
                if call.done and call.undo is not None:
                    self._take_back(call.undo(call.reply))
            elif call.error is not None:
                call.answer.set_exception(call.error)
            else:
                call.answer.set_result(call.reply)

    def _take_back(self, work: Work[Any]) -> None:
        if not self._closing:
            self._submit(work, True, None).add_done_callback(_heed)

    # --- on the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._open_and_serve()
        finally:
            self._post(self._ended.set_result, None)  # `close` waits for it, whatever happened here

    def _open_and_serve(self) -> None:
        with ExitStack() as stack:
            try:
                db = self._patiently(self._connect)
                stack.callback(db.close)
                turn = Turn(self.path.with_name(f"{self.path.name}-turn"))
                stack.callback(turn.close)
            except Exception as error:
                self._refuse(explain(error, self.path))
            else:
                self._serve(db, turn)

    def _refuse(self, error: Exception) -> None:
        while call := self._inbox.get():
            call.error = error
            self._post(self._deliver, [call])

    def _serve(self, db: sqlite3.Connection, turn: Turn) -> None:
        while call := self._next(db):
            self._serve_call(db, turn, call)
            del call  # bodies and replies are large, and the next call may be long in coming

    def _serve_call(self, db: sqlite3.Connection, turn: Turn, call: _Call[Any]) -> None:
        calls = [call]
        try:
            if call.writes:
                self._do_in_turn(db, turn, calls)
            else:
                self._do(db, calls)
        except Exception as error:  # nobody may wait in vain
            _fail(calls, explain(error, self.path))
        self._post(self._deliver, calls)

    def _do_in_turn(self, db: sqlite3.Connection, turn: Turn, calls: list[_Call[Any]]) -> None:
        if not turn.take(self._pauses()):
            raise locked(self.path, self._busy_timeout_s)
        try:
            self._gather(calls)  # all that came meanwhile
            self._do(db, calls)
        finally:
            turn.give()

    def _gather(self, calls: list[_Call[Any]]) -> None:
        """Add what waits, but no more than may share a transaction."""
        while len(calls) < MOST_CALLS:
            try:
                call = self._inbox.get_nowait()
            except Empty:
                return
            if call is None:
                self._inbox.put(None)  # the end, after these
                return
            calls.append(call)

    def _next(self, db: sqlite3.Connection) -> _Call[Any] | None:
        """The next call, or None at the end. Meanwhile, word of changes to those who watch."""
        while self._watchers:
            try:
                return self._inbox.get(timeout=self._look_s)
            except Empty:
                self._look_s = min(2 * self._look_s, LONGEST_LOOK_S)
            version = _version(db)
            if version != self._version:
                self._version = version
                self._post(self._on_change)
        return self._inbox.get()

    def _do(self, db: sqlite3.Connection, calls: Sequence[_Call[Any]]) -> None:
        wanted = [call for call in calls if not call.answer.cancelled()]
        try:
            self._patiently(lambda: self._transaction(db, wanted))
        except StoreError as error:  # locked for so long that no call may wait again
            _fail(wanted, error)
        except Exception as error:
            if len(wanted) == 1:
                wanted[0].error = explain(error, self.path)
                return
            for call in wanted:
                self._do(db, (call,))
        else:
            for call in wanted:
                call.done = True

    def _transaction(self, db: sqlite3.Connection, calls: Sequence[_Call[Any]]) -> None:
        """All of the calls or none. Reads alone need no transaction, and so wait for no other process."""
        if not any(call.writes for call in calls):
            for call in calls:
                call.reply = call.work(db)
            return
        try:
            # IMMEDIATE: a transaction that began as a reader can't become a writer once another wrote
            db.execute("BEGIN IMMEDIATE")
            for call in calls:
                call.reply = call.work(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # SQLite undoes some failures itself, as that of a full disk
                db.execute("ROLLBACK")
            raise

    def _patiently(self, step: Callable[[], _Reply]) -> _Reply:
        """Do the step, again and again while another program is in the way."""
        pauses = self._pauses()
        while True:
            try:
                return step()
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise
                if not pauses.pause():
                    raise locked(self.path, self._busy_timeout_s) from error

    def _pauses(self) -> Pauses:
        return Pauses(self._rng, lambda: _CLOSING_TIMEOUT_S if self._closing else self._busy_timeout_s)

    def _post(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop was closed without a word, so nobody waits for this
            pass


def _heed(undone: asyncio.Future[Any]) -> None:
    """Take note of a failure to give messages back: they come back by themselves, only later."""
    undone.exception()


def _fail(calls: Sequence[_Call[Any]], error: Exception) -> None:
    for call in calls:
        call.error = error


def _version(db: sqlite3.Connection) -> int | None:
    """Another number whenever another connection has written; None when the file can't be read, which
    whoever looks closer will be told."""
    try:
        (version,) = db.execute("PRAGMA data_version").fetchone()
    except sqlite3.Error:
        return None
    return int(version)


def _nothing(db: sqlite3.Connection) -> None:
    return
