"""Pool processes: each makes one call of a Python function at a time, and can be killed alone.

They are plain `python` processes, started afresh (nothing is forked, so threads and event loops do
no harm), and talk over a socket pair in frames of JSON. concurrent.futures has no way to end one
call: a time-out would leave the function running, and a dead process breaks the whole pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from typing import Final

import msgspec

from kon.core.errors import KindError
from kon.kinds import callee
from kon.kinds.spawn import Child, ending
from kon.kinds.start import let_go

_LEAVE_S: Final = 2.0
"""How long a process may take to end once it is no longer needed."""


class Start(msgspec.Struct, frozen=True):
    """What a pool process is told first. file: None for a module that is found by its name.

    argv: the `sys.argv` that its function finds; None for what stands for no program.
    """

    module: str
    file: str | None
    qualname: str
    sys_path: list[str]
    argv: list[str] | None = None

    @property
    def label(self) -> str:
        return f"{self.file or self.module}:{self.qualname}"


class Pool:
    """Up to `size` processes, started when they are first needed, and again when they have died."""

    def __init__(self, size: int, start: Start, output: tuple[int, int] = (2, 2)) -> None:
        """`output`: the file descriptors for what functions write to stdout and to stderr. By default both go
        to this process's stderr: its stdout is not theirs to write to."""
        self._start = start
        self._output = output
        self._free = asyncio.Semaphore(size)
        self._idle: list[_Process] = []
        self._starting: list[asyncio.Task[_Process]] = []
        """Started for calls that were cancelled meanwhile. A module that takes longer to import than
        a task may take is so imported all the same, and the next attempt finds it there."""

    async def call(self, request: bytes) -> bytes:
        """The reply to one call. Cancelled, it kills the process. Raises KindError when that dies."""
        async with self._free:
            process = await self._idle_process() or await self._new_process()
            try:
                reply = await process.call(request)
            except asyncio.CancelledError:
                await process.kill()
                raise
            except _Died as death:
                raise KindError(f"its process ended during the call: {death}") from None
            self._idle.append(process)
            return reply

    async def close(self) -> None:
        for task in self._starting:
            task.cancel()
        started = await asyncio.gather(*self._starting, return_exceptions=True)
        self._idle += [process for process in started if isinstance(process, _Process)]
        await asyncio.gather(*(process.leave() for process in self._idle))
        self._starting.clear()
        self._idle.clear()

    async def _idle_process(self) -> _Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            await process.kill()  # it ended while nobody called it
        return None

    async def _new_process(self) -> _Process:
        task = (
            self._starting.pop()
            if self._starting
            else asyncio.create_task(_Process.started(self._start, self._output))
        )
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                self._starting.append(task)
            elif not task.cancelled() and task.exception() is None:
                self._idle.append(task.result())
            raise


class _Died(Exception):
    """The process ended in the middle of a call."""


class _Process:
    """One pool process, and the connection to it."""

    def __init__(
        self, child: Child, lifeline: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._child = child
        self._lifeline: int | None = lifeline
        self._reader = reader
        self._writer = writer

    @classmethod
    async def started(cls, start: Start, output: tuple[int, int]) -> _Process:
        """A process that has loaded its function. Raises KindError when it can't."""
        child, lifeline, connection = _spawn(output)
        try:
            process = cls(child, lifeline, *await asyncio.open_unix_connection(sock=connection))
        except BaseException:
            await child.kill()
            os.close(lifeline)
            connection.close()
            raise
        try:
            reply = msgspec.json.decode(await process.call(msgspec.json.encode(start)))
        except asyncio.CancelledError:
            await process.kill()
            raise
        except _Died as death:
            raise KindError(f"its process ended while it loaded {start.label}: {death}") from None
        if "error" in reply:
            await process.leave()
            result = {"traceback": reply["traceback"]}
            raise KindError(f"can't load {start.label}: {reply['error']}", result)
        return process

    @property
    def alive(self) -> bool:
        return not self._child.ended

    async def call(self, request: bytes) -> bytes:
        """Send a frame and wait for the next. Raises _Died."""
        try:
            self._writer.write(callee.HEADER.pack(len(request)) + request)
            await self._writer.drain()
            header = await self._reader.readexactly(callee.HEADER.size)
            return await self._reader.readexactly(callee.HEADER.unpack(header)[0])
        except (asyncio.IncompleteReadError, ConnectionError):
            ended = await self.leave()
            raise _Died(ending(self._child.code) if ended else "it closed its connection to kon") from None

    async def leave(self) -> bool:
        """Let it end by itself, as a program that has nothing more to do, or kill it. Whether it did."""
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self._child.wait()
        ended = self._child.ended
        await self.kill()
        return ended

    async def kill(self) -> None:
        try:
            await self._child.kill()
        finally:
            self._writer.close()
            if self._lifeline is not None:
                os.close(self._lifeline)
                self._lifeline = None


def _spawn(output: tuple[int, int]) -> tuple[Child, int, socket.socket]:
    """A new process, this end of its lifeline, and this end of the connection to it."""
    with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as ends_of_child:
        ours, theirs = socket.socketpair()
        on_failure.callback(ours.close)
        ends_of_child.callback(theirs.close)
        lifeline_end, lifeline = os.pipe()
        on_failure.callback(os.close, lifeline)
        ends_of_child.callback(os.close, lifeline_end)
        # -P: the folder of the program does not become a place to import from
        argv = [sys.executable, "-P", callee.__file__, str(theirs.fileno())]
        process = subprocess.Popen(
            argv,
            stdin=lifeline_end,
            stdout=output[0],
            stderr=output[1],
            pass_fds=[theirs.fileno()],
            process_group=0,
        )
        child = Child(let_go(process))
        on_failure.pop_all()
        return child, lifeline, ours
