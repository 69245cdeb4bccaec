"""Job logs, as GNU parallel writes them: a line for each task that has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from kon.cli.map_command import Commands
from kon.errors import ConfigurationError, StoreError
from kon.task import Outcome, State

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


class Entry(NamedTuple):
    """What a job log says of one task. task: its index, from 0; the log has numbers from 1."""

    task: int
    ok: bool


class JobLog:
    """A job log that is written."""

    def __init__(self, path: Path, commands: Commands, *, append: bool) -> None:
        """`append`: to what a run before has logged. Raises StoreError where the file can't be written."""
        self._path = path
        self._commands = commands
        try:
            self._file: BinaryIO = path.open("ab" if append else "wb", buffering=0)
            if not self._file.tell():
                self._file.write(_HEADER + b"\n")
        except OSError as error:
            raise StoreError(f"--joblog {path}: can't be written: {error.strerror}") from error

    def add(self, outcome: Outcome) -> None:
        try:
            self._file.write(line_of(outcome, self._commands[outcome.index]) + b"\n")
        except OSError as error:
            raise StoreError(
                f"--joblog {self._path}: can't be written: {error.strerror}. Make room, then go on "
                "with --resume"
            ) from error

    def close(self) -> None:
        self._file.close()


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


def read_joblog(path: Path, commands: Commands, items: int) -> Iterator[Entry]:
    """What is in a job log; nothing where there is none. Of a task that is there twice, the last stands.

    Raises ConfigurationError for a log of other commands: its numbers would mean other tasks.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"--joblog {path}: can't be read: {error.strerror}") from error
    entries: dict[int, Entry] = {}
    for number, line in enumerate(lines, start=1):
        columns = line.split(b"\t", len(COLUMNS) - 1)
        if not line or line == _HEADER:
            continue
        if len(columns) < len(COLUMNS) and number == len(lines):
            continue  # cut short by a crash
        try:
            index, exit_code, signal_number = int(columns[0]) - 1, int(columns[6]), int(columns[7])
            command = columns[8]
        except (ValueError, IndexError):
            raise ConfigurationError(
                f"{path}:{number}: is not a line of a job log; nothing was run. Name another file with "
                "--joblog"
            ) from None
        if not 0 <= index < items or commands[index].replace(b"\n", b"\0") != command:
            raise ConfigurationError(
                f'{path}:{number}: logs "{command.decode(errors="replace"):.80}" as task {index + 1}, which '
                "is not what it would be now; nothing was run. Give --resume the same command and items, or "
                "begin anew without it"
            )
        entries[index] = Entry(index, exit_code == 0 and signal_number == 0)
    yield from entries.values()
