"""Readable files: whom to call when a pipe has something, or a process has ended.

A command has three of them. asyncio takes 30 us to begin and end watching one; an epoll that watches all,
and is watched by asyncio itself, takes a few.
"""

from __future__ import annotations

import asyncio
import select
import weakref
from collections.abc import Callable
from typing import Final, Protocol


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
