"""Threads that calls run in, and that keep no process from ending."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple


class _Job(NamedTuple):
    call: Callable[[], bytes]
    done: asyncio.Future[bytes]


class DaemonThreads:
    """Runs each call in an idle thread, or in a new one.

    Python can't stop a thread. A call that was cancelled goes on in its thread, unheard; unlike the
    threads of concurrent.futures such a one does not hold the process back when that wants to end.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle = 0
        self._threads = 0

    async def run(self, call: Callable[[], bytes]) -> bytes:
        """What `call` returns; it may not raise."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bytes] = loop.create_future()
        if self._idle:
            self._idle -= 1
        else:
            self._threads += 1
            threading.Thread(
                target=self._serve, args=(loop,), name=f"kon-call-{self._threads}", daemon=True
            ).start()
        self._jobs.put(_Job(call, done))
        return await done

    def close(self) -> None:
        for _ in range(self._threads):
            self._jobs.put(None)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            reply = job.call()
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._finish, job.done, reply)

    def _finish(self, done: asyncio.Future[bytes], reply: bytes) -> None:
        self._idle += 1
        if not done.done():
            done.set_result(reply)
