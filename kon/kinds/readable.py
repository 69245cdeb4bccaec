"""Readable files: whom to call when a pipe has something, or a process has ended.

A command has three of them. asyncio takes 30 us to begin and end watching one; an epoll that watches all,
and is watched by asyncio itself, takes a few.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import weakref
from collections.abc import Callable
from typing import Final, Protocol

from kon.kinds.capture import Capture


class Readable(Protocol):
    """Calls back, in the event loop, for as long as a file can be read."""

    def add(self, fd: int, call: Callable[[], None]) -> None: ...

    def remove(self, fd: int) -> None:
        """Call it before the file is closed."""


def readable(loop: asyncio.AbstractEventLoop) -> Readable:
    """The one of this loop. Raises OSError where there are no file descriptors left."""
    if not hasattr(select, "epoll"):
        return _ByLoop(loop)
    known = _OF_LOOP.get(loop)
    made = None if known is None else known()
    if made is None:
        made = _ByEpoll(loop)
        _OF_LOOP[loop] = weakref.ref(made)
    return made


class _ByEpoll:
    """An epoll in the loop's own selector, which alone keeps it: it is closed with the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._come)

    def add(self, fd: int, call: Callable[[], None]) -> None:
        self._epoll.register(fd, select.EPOLLIN)
        self._calls[fd] = call

    def remove(self, fd: int) -> None:
        del self._calls[fd]
        self._epoll.unregister(fd)

    def _come(self) -> None:
        for fd, _ in self._epoll.poll(0):
            call = self._calls.get(fd)
            if call is not None:  # another call has just removed it
                call()


class _ByLoop:
    """What every loop can do, where the system has no epoll."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, fd: int, call: Callable[[], None]) -> None:
        self._loop.add_reader(fd, call)

    def remove(self, fd: int) -> None:
        self._loop.remove_reader(fd)


_OF_LOOP: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_ByEpoll]]] = (
    weakref.WeakKeyDictionary()
)


_MUCH_BYTES: Final = 4_096
"""As much as C programs write at once to what is no terminal, where they write more than that in all."""

_PAUSE_S: Final = 0.001
"""A pipe of `_PIPE_BYTES` that is emptied as often takes half a gigabyte a second."""

_PIPE_BYTES: Final = 1 << 20
_MOST_BYTES: Final = 2 * _PIPE_BYTES
"""More than a pipe of the largest size that Linux allows by default holds."""


class Stream:
    """The reading end of a pipe that a command writes to, read as long as it is open.

    It is read when there is something. Where a command writes much at once, its pipe becomes larger and is
    read every `_PAUSE_S`: else the two processes would take turns with each few kilobytes.
    """

    __slots__ = ("_ended", "_fd", "_pause", "_readable", "capture", "open")

    def __init__(self, fd: int, capture: Capture, watch: Readable) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._readable = watch
        watch.add(fd, self._come)
        self._pause: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] | None = None
        self.capture = capture
        self.open = True

    def read_rest(self) -> int:
        """Read what is in the pipe; how many bytes. Not forever: somebody may still be writing."""
        size_bytes = 0
        while size_bytes < _MOST_BYTES and (more := self._read()):
            size_bytes += more
        return size_bytes

    async def end(self) -> None:
        if self.open:
            self._ended = asyncio.get_running_loop().create_future()
            await self._ended

    def close(self) -> None:
        if not self.open:
            return
        self.open = False
        if self._pause is None:
            self._readable.remove(self._fd)
        else:
            self._pause.cancel()
        os.close(self._fd)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _come(self) -> None:
        if self._read() >= _MUCH_BYTES:
            self._readable.remove(self._fd)
            _widen(self._fd)
            self._pause = asyncio.get_running_loop().call_later(_PAUSE_S, self._look)

    def _look(self) -> None:
        size_bytes = self.read_rest()
        if not self.open:
            return
        if size_bytes:
            self._pause = asyncio.get_running_loop().call_later(_PAUSE_S, self._look)
        else:
            self._pause = None
            self._readable.add(self._fd, self._come)

    def _read(self) -> int:
        """Read once; 0 where there was nothing to be had for now, or ever."""
        if not self.open:
            return 0
        try:
            size_bytes = self.capture.read(self._fd)
        except BlockingIOError:
            return 0
        if not size_bytes:
            self.close()
        return size_bytes


def _widen(pipe: int) -> None:
    """Let a pipe hold more, as far as this system and this user's share allow it."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
