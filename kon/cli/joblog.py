"""Job logs, as GNU parallel writes them: a line for each task that has ended."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from kon.api import streams
from kon.cli.map_tasks import Commands
from kon.core.errors import ConfigurationError, StoreError
from kon.core.task import Outcome, State

COLUMNS: Final = (
    "Seq",
    "Host",
    "Starttime",
    "JobRuntime",
    "Send",
    "Receive",
    "Exitval",
    "Signal",
    "Command",
)
_HEADER: Final = "\t".join(COLUMNS).encode()

_NO_EXIT: Final = -1
"""The exit value of a task that left none: its command was not there, or took too long."""


class JobLine(NamedTuple):
    """What a job log says of one task. task: its index, from 0; the log has numbers from 1."""

    task: int
    ok: bool


class JobLog:
    """A job log that is written."""

    def __init__(self, path: Path, commands: Commands, *, append: bool) -> None:
        """`append`: to what a run before has logged.

        Raises StoreError where the file can't be written, ConfigurationError where another run is logged in
        it: each would overwrite what the other logs, or run what the other runs.
        """
        self._path = path
        self._commands = commands
        try:
            self._file: BinaryIO = path.open("wb" if _is_pipe(path) else "a+b", buffering=0)
            if not _locked(self._file.fileno()):
                self._file.close()
                raise ConfigurationError(
                    f"--joblog {path}: another `kon map` logs in it; nothing was run. Wait for it, or name "
                    "another file"
                )
            status = os.fstat(self._file.fileno())
            if not append and stat.S_ISREG(status.st_mode):
                self._file.truncate(0)
            size_bytes = status.st_size if append else 0
            if not size_bytes:
                self._file.write(_HEADER + b"\n")
            elif os.pread(self._file.fileno(), 1, size_bytes - 1) != b"\n":
                self._file.write(b"\n")  # a line that a crash has cut short stays a line of its own
        except OSError as error:
            raise StoreError(f"--joblog {path}: can't be written: {error.strerror}") from error

    def add(self, outcome: Outcome) -> None:
        """Log how a task ended. One that was cancelled has not, and is to be run again."""
        if outcome.state is State.CANCELLED:
            return
        try:
            streams.write(self._file, line_of(outcome, self._commands[outcome.index]) + b"\n")
        except OSError as error:
            raise StoreError(
                f"--joblog {self._path}: can't be written: {error.strerror}. Make room, then go on "
                "with --resume"
            ) from error

    def close(self) -> None:
        self._file.close()


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _locked(fd: int) -> bool:
    """Whether this process has the file for itself, to its end. Workers that are copies of it have no part
    in that, as they would with flock: they may outlive it. What can't be locked, as a pipe, counts as had.
    """
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def line_of(outcome: Outcome, command: bytes) -> bytes:
    """One line. As in GNU parallel's, line ends in a command stand there as NUL."""
    result = outcome.result if isinstance(outcome.result, dict) else {}
    exit_code = result.get("exit", 0 if outcome.state is State.DONE else _NO_EXIT)
    number = exit_code - 128 if "signal" in result else 0
    columns = (
        str(outcome.index + 1),
        ":",
        f"{outcome.started_s:.3f}",
        f"{max(0.0, outcome.ended_s - outcome.started_s):10.3f}",
        "0",
        str(result.get("stdout_bytes", len(result.get("stdout", "").encode()))),
        str(0 if number else exit_code),
        str(number),
    )
    return b"\t".join([*(column.encode() for column in columns), command.replace(b"\n", b"\0")])


_LINE: Final = re.compile(
    rb"(?P<seq>\d+)(?:\t[^\t]*){5}\t(?P<exit>-?\d+)\t(?P<signal>\d+)\t(?P<command>.*)", re.DOTALL
)
_HALF_LINE: Final = re.compile(rb"\d+(?:\t[^\t]*){0,7}")


def read_joblog(path: Path, commands: Commands, items: int) -> Iterator[JobLine]:
    """What is in a job log; nothing where there is none. If a task is there twice, the last entry counts.

    Raises ConfigurationError for a log of other commands: its numbers would mean other tasks.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"--joblog {path}: can't be read: {error.strerror}") from error
    entries: dict[int, JobLine] = {}
    for number, line in enumerate(lines, start=1):
        if not line or line == _HEADER:
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            if _HALF_LINE.fullmatch(line):
                continue  # cut short by a crash
            raise ConfigurationError(
                f"{path}:{number}: is not a line of a job log; nothing was run. Name another file with "
                "--joblog"
            )
        index, command = int(found["seq"]) - 1, found["command"]
        expected = commands[index].replace(b"\n", b"\0") if 0 <= index < items else b""
        if command != expected:
            if expected.startswith(command):
                continue  # cut short by a crash
            raise ConfigurationError(
                f'{path}:{number}: logs "{command.decode(errors="replace"):.80}" as task {index + 1}, which '
                "is not what it would be now; nothing was run. Give --resume the same command and items, or "
                "start again without it"
            )
        entries[index] = JobLine(index, int(found["exit"]) == 0 and int(found["signal"]) == 0)
    yield from entries.values()
