"""How processes are started: posix_spawn where it can do it, subprocess where it can't.

subprocess can do everything. posix_spawn knows neither working folders nor PATH. It takes 0.05 ms
less CPU time for a command, of the 0.27 ms that subprocess, pipes and event loop take together. So a
tenth more commands run in a second; on macOS, where subprocess has to fork, it saves more.

A process may run out of what it needs to start others: file descriptors, processes, memory for them. That is
no fault of the task which happens to be next, so its start waits until there is room again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from kon.core.errors import ConfigurationError

Environment = Mapping[bytes, bytes | str]
"""Variables of a program. Values that are text are encoded as names of files are."""

_MOST_PROGRAMS: Final = 1_000
"""Programs whose place is remembered, as shells do: one that is put in its way later is not seen."""

_IGNORED_BY_PYTHON: Final = [
    getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)
]
"""Signals that Python ignores and that a program expects to die of."""


class Starter:
    """Starts programs, each in a process group of its own."""

    def __init__(self, cwd: str | None = None, use_posix_spawn: bool | None = None) -> None:
        """`use_posix_spawn`: None for "where it is fit for use"."""
        self._cwd = cwd
        self._fast = cwd is None and (
            posix_spawn_tells_errors() if use_posix_spawn is None else use_posix_spawn
        )
        self._places: dict[tuple[str, bytes | str], str] = {}
        self._inherited: list[tuple[int, int]] | None = None

    def start(self, argv: Sequence[str], env: Environment, stdin: int, stdout: int, stderr: int) -> int:
        """The process number of the program, which runs. Raises OSError as subprocess does."""
        # With one of the first three files closed, a pipe may have got its number, and be in the way.
        if self._fast and min(stdin, stdout, stderr) > 2:
            place = self._place(argv[0], env)
            if place is not None:
                try:
                    return self._spawn(place, argv, env, (stdin, stdout, stderr))
                except OSError:
                    # Moved away since, or nothing that runs: subprocess looks again, and says it best.
                    self._places.clear()
                    self._inherited = None
        process = subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=self._cwd, process_group=0
        )
        return let_go(process)

    def _spawn(self, place: str, argv: Sequence[str], env: Environment, files: tuple[int, int, int]) -> int:
        if self._inherited is None:
            self._inherited = [(os.POSIX_SPAWN_CLOSE, number) for number in _inheritable()]
        stdin, stdout, stderr = files
        dup2 = os.POSIX_SPAWN_DUP2
        duplicates = [(dup2, stdin, 0), (dup2, stdout, 1), (dup2, stderr, 2)]
        return os.posix_spawn(
            place,
            list(argv),
            env,
            file_actions=[*duplicates, *self._inherited],
            setpgroup=0,
            setsigdef=_IGNORED_BY_PYTHON,
        )

    def _place(self, program: str, env: Environment) -> str | None:
        """Where the program is; None where that is for subprocess to find out."""
        if "/" in program:
            return program
        path = env.get(b"PATH", b"")
        place = self._places.get((program, path))
        if place is None:
            place = shutil.which(program, path=os.fsdecode(path))
            if place is None:
                return None
            if len(self._places) >= _MOST_PROGRAMS:
                self._places.clear()
            self._places[program, path] = place
        return place


def let_go(process: subprocess.Popen[bytes]) -> int:
    """Its number. From here on somebody else waits for the process, and subprocess does not mind."""
    process.returncode = 0
    return process.pid


def _inheritable() -> list[int]:
    """The files that this process was started with, or made so, that programs would find open.

    Python's own are closed when a program starts; these were left open by whoever started kon.
    """
    found = []
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - numbers, not paths
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # the one that the listing itself used
            continue
    return found


@functools.cache
def posix_spawn_tells_errors() -> bool:
    """Whether posix_spawn fails when the program can't be run; glibc before 2.24 says exit 127 later."""
    if sys.platform == "darwin":
        return True
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return name == "glibc" and tuple(map(int, version.split("."))) >= (2, 24)
    except (ValueError, OSError):
        return False


_log = logging.getLogger("kon")

PER_COMMAND: Final = 5
"""Descriptors of a running command at most: two pipes, two files that keep long output, and its pidfd."""

OTHERS: Final = 64
"""Descriptors for everything else in a worker: the queue, records, logs, what it was started with, and what
the command that starts right now reads and writes to."""

FEWEST: Final = 32
"""Descriptors without which not even one command may start: 22 do on Linux, of those 3 its caller's."""

PATIENCE_S: Final = 60.0
"""How long a start is tried again while no command of this worker ends: then others hold what is short."""

ALONE_S: Final = 1.0
"""How long it is where this process is out of file descriptors, and runs no command to give any back."""

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
    """How many commands one worker process of this program's limits could run at once, of those wanted.

    Raises ConfigurationError where it could run none.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        return slots
    if hard < FEWEST:
        raise ConfigurationError(
            f"this system allows {hard} open files (ulimit -Hn), and kon needs {FEWEST} for one command; "
            "nothing was started. Raise that limit, or a container's"
        )
    return max(1, min(slots, (hard - OTHERS) // PER_COMMAND))


_Started = TypeVar("_Started")


class Shortage:
    """Tries starts again that failed because something was short."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._told: set[int] = set()
        self._ended = asyncio.Event()
        self._running = 0

    def ended(self) -> None:
        """A command that was started has ended, so that what it held is free."""
        self._running -= 1
        if self._told:  # or nothing was ever waited for
            self._ended.set()

    async def start(self, start: Callable[[], _Started], final: type[OSError]) -> _Started:
        """The result of `start`. Raises its OSError where it is another one, or lasts, or is `final`."""
        now_s = asyncio.get_running_loop().time
        since_s: float | None = None
        while True:
            try:
                started = start()
            except OSError as error:
                number = error.errno
                since_s = now_s() if since_s is None else since_s
                lasts = now_s() - since_s >= self._patience(number)
                if isinstance(error, final) or number not in _SHORT_OF or lasts:
                    raise
                self._tell(number)
            else:
                self._running += 1
                return started
            self._ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_S):
                    await self._ended.wait()
                    since_s = now_s()

    def _patience(self, number: int | None) -> float:
        alone = number == errno.EMFILE and not self._running
        return min(self._patience_s, ALONE_S) if alone else self._patience_s

    def _tell(self, number: int) -> None:
        if number not in self._told:
            self._told.add(number)
            _log.warning(
                "out of %s: fewer commands run at once; those that can't start yet wait", _SHORT_OF[number]
            )
