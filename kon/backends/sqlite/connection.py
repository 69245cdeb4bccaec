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
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from typing import Any, Final, Generic, TypeVar

from kon.backends.sqlite.failures import explain, is_busy, locked
from kon.errors import StoreError

_Reply = TypeVar("_Reply")

Work = Callable[[sqlite3.Connection], _Reply]
"""Statements of one call. May be done more than once, if it was undone before: it changes nothing else."""

MOST_CALLS: Final = 16
"""Calls in one transaction, at most: other processes wait for its lock."""

_FIRST_PAUSE_S: Final = 0.0002
_LONGEST_PAUSE_S: Final = 0.005
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

    Calls raise StoreError. A call whose awaiter is cancelled is left out if it has not begun.
    """

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection], busy_timeout_s: float) -> None:
        self.path = path
        self._connect = connect
        self._busy_timeout_s = busy_timeout_s
        self._rng = Random()  # for the pauses of those who wait for a lock, which should differ
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._inbox: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._under_way = 0
        self._closing = False
        # A daemon, so that a program that ends without `close` does end; the file allows for that.
        self._thread = threading.Thread(target=self._run, name=f"kon-sqlite-{path.parent.name}", daemon=True)
        self._thread.start()

    def read(self, work: Work[_Reply]) -> asyncio.Future[_Reply]:
        """Do statements that change nothing."""
        return self._submit(work, False, None)

    def write(
        self, work: Work[_Reply], undo: Callable[[_Reply], Work[Any]] | None = None
    ) -> asyncio.Future[_Reply]:
        """Do statements in a transaction, and answer once it is committed.

        undo: makes, from the reply, the statements that take it back when nobody waits for it any more.
        """
        return self._submit(work, True, undo)

    async def close(self) -> None:
        """End the thread. Whatever was asked of it is done first; a cancelled `close` still ends it."""
        if self._loop is not asyncio.get_running_loop():
            self._stop()  # the loop that it answered to is gone, and so is everyone who waits
            self._thread.join()
            return
        try:
            if self._under_way and not self._closing:
                await self.read(_nothing)  # a receive that was cancelled has its messages given back
            self._stop()
            await asyncio.shield(self._ended)
        finally:
            self._stop()
            self._thread.join()

    def _stop(self) -> None:
        if not self._closing:
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
                if call.done and call.undo is not None and not self._closing:
                    self._submit(call.undo(call.reply), True, None).add_done_callback(_heed)
            elif call.error is not None:
                call.answer.set_exception(call.error)
            else:
                call.answer.set_result(call.reply)

    # --- on the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        db: sqlite3.Connection | None = None
        broken: BaseException | None = None
        try:
            db = self._patiently(self._connect)
        except Exception as error:
            broken = explain(error, self.path)
        while calls := self._next_calls():
            wanted = [call for call in calls if not call.answer.cancelled()]
            if db is not None:
                self._do(db, wanted)
            else:
                for call in wanted:
                    call.error = broken
            self._post(self._deliver, calls)
            del calls, wanted  # replies are large, and the next call may be long in coming
        if db is not None:
            db.close()
        self._post(_resolve, self._ended)

    def _next_calls(self) -> list[_Call[Any]]:
        """All that waits, but no more than fits into one transaction; nothing at the end."""
        calls: list[_Call[Any]] = []
        try:
            call = self._inbox.get()
            while call is not None:
                calls.append(call)
                if len(calls) == MOST_CALLS:
                    return calls
                call = self._inbox.get_nowait()
        except Empty:
            return calls
        if calls:
            self._inbox.put(None)  # the end is for the next time
        return calls

    def _do(self, db: sqlite3.Connection, calls: Sequence[_Call[Any]]) -> None:
        try:
            self._patiently(lambda: self._transaction(db, calls))
        except Exception as error:
            if len(calls) > 1:
                for call in calls:
                    self._do(db, (call,))
                return
            calls[0].error = explain(error, self.path)
            return
        for call in calls:
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
        """Do the step, again and again while other processes are in the way.

        SQLite's own busy handler sleeps 1 to 100 ms and always longer, so that those who come late
        overtake those who wait. Short pauses of random length treat all alike.
        """
        give_up_s, pause_s = time.monotonic() + self._busy_timeout_s, _FIRST_PAUSE_S
        while True:
            try:
                return step()
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise
                if self._closing:
                    give_up_s = min(give_up_s, time.monotonic() + _CLOSING_TIMEOUT_S)
                if time.monotonic() >= give_up_s:
                    raise locked(self.path, self._busy_timeout_s) from error
            time.sleep(pause_s * self._rng.uniform(0.5, 1.5))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def _post(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop was closed without a word, so nobody waits for this
            pass


def _heed(undone: asyncio.Future[Any]) -> None:
    """Take note of a failure to give messages back: they come back by themselves, only later."""
    if not undone.cancelled():
        undone.exception()


def _nothing(db: sqlite3.Connection) -> None:
    return


def _resolve(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
