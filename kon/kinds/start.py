"""How processes are started: posix_spawn where it can do it, subprocess where it can't.

subprocess can do everything. posix_spawn knows neither working folders nor PATH. It takes 0.05 ms
less CPU time for a command, of the 0.27 ms that subprocess, pipes and event loop take together. So a
tenth more commands run in a second; on macOS, where subprocess has to fork, it saves more.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

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
