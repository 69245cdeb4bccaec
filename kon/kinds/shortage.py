"""What a process may run out of when it starts others: file descriptors, processes, memory for them.

That is no fault of the task which happens to be next, so its start waits until there is room again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
from collections.abc import Callable
from typing import Final, TypeVar

_log = logging.getLogger("kon")

PER_COMMAND: Final = 5
"""Descriptors of a running command at most: two pipes, two files that keep long output, and its pidfd."""

OTHERS: Final = 64
"""Descriptors for everything else in a worker: the queue, records, logs, what it was started with, and what
the command that starts right now reads and writes to."""

PATIENCE_S: Final = 60.0
"""How long a start is tried again while no command of this worker ends: then others hold what is short."""

_PAUSE_S: Final = 0.1
_SHORT_OF: Final = {
    errno.EMFILE: "file descriptors of this process (ulimit -n)",
    errno.ENFILE: "file descriptors of this machine",
    errno.EAGAIN: "processes or threads of this user (ulimit -u)",
    errno.ENOMEM: "memory",
}


def allow(slots: int) -> None:
    """Raise this process's own limit of file descriptors where `slots` commands at once need more than it, as
    far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OTHERS + PER_COMMAND * slots
    if soft != resource.RLIM_INFINITY and soft < wanted:
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses what its kernel does not allow
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))


def possible(slots: int) -> int:
    """How many commands one worker process of this program's limits could run at once, of those wanted."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return slots if hard == resource.RLIM_INFINITY else max(1, min(slots, (hard - OTHERS) // PER_COMMAND))


_Started = TypeVar("_Started")


class Shortage:
    """Tries starts again that failed because something was short."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._told: set[int] = set()
        self._ended = asyncio.Event()

    def ended(self) -> None:
        """A command has ended, so that what it held is free."""
        if self._told:  # or nothing was ever waited for
            self._ended.set()

    async def start(self, start: Callable[[], _Started], final: type[OSError]) -> _Started:
        """The result of `start`. Raises its OSError where it is another one, or lasts, or is `final`."""
        now_s = asyncio.get_running_loop().time
        give_up_s: float | None = None
        while True:
            try:
                return start()
            except OSError as error:
                number = error.errno
                give_up_s = now_s() + self._patience_s if give_up_s is None else give_up_s
                if isinstance(error, final) or number not in _SHORT_OF or now_s() >= give_up_s:
                    raise
                self._tell(number)
            self._ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_S):
                    await self._ended.wait()
                    give_up_s = now_s() + self._patience_s

    def _tell(self, number: int) -> None:
        if number not in self._told:
            self._told.add(number)
            _log.warning(
                "out of %s: fewer commands run at once; those that can't start yet wait", _SHORT_OF[number]
            )
