"""What a program gives and gets: its folders, and values and errors of outcomes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from kon.core.errors import ConfigurationError, StoreError, TaskFailed
from kon.core.task import Outcome, State
from kon.kinds.capture import STREAMS, kept_file

_SHOWN = 5


def folder_of(place: str | os.PathLike[str], caller: str) -> Path:
    """The folder that a program names. Raises ConfigurationError for an empty name: it would be the current
    folder, which is not what an unset variable meant."""
    if not os.fspath(place):
        raise ConfigurationError(f"{caller}: the name of the folder is empty; nothing was done")
    return Path(place).expanduser().absolute()


_OF_FILE = ("file", "bytes")


def whole(outcome: Outcome, run: Path) -> Outcome:
    """The outcome of a command with all of its output, byte for byte.

    Bytes that are not UTF-8 stand there as in names of files: `os.fsencode` gives them back.

    run: the folder of the run's records. Raises StoreError where output can't be read.
    """
    result = outcome.result
    if not isinstance(result, dict):
        return outcome
    files = {stream: file for stream in STREAMS if (file := kept_file(result, stream, run)) is not None}
    if not files:
        return outcome
    left_out = {
        "truncated",
        "encoding_errors",
        *(f"{stream}_{what}" for stream in files for what in _OF_FILE),
    }
    value = {name: each for name, each in result.items() if name not in left_out}
    for stream, file in files.items():
        try:
            value[stream] = file.read_bytes().decode(errors="surrogateescape")
        except OSError as error:
            raise StoreError(
                f"task {outcome.index}: its {stream} was kept in {file}, "
                f"which can't be read: {error.strerror}"
            ) from error
    return msgspec.structs.replace(outcome, result=value)


_ENDED = {
    State.FAILED: "failed",
    State.DEAD: "is dead",
    State.LOST: "is lost",
    State.CANCELLED: "was cancelled",
}


def failure_of(outcome: Outcome) -> TaskFailed:
    """The error that stands for a task that is not done."""
    said = f": {outcome.error}" if outcome.error else ""
    return TaskFailed(
        f"task {outcome.index} {_ENDED[outcome.state]}{said}",
        index=outcome.index,
        state=outcome.state,
        result=outcome.result,
    )


def raise_failures(run: str, values: Sequence[Any], records: str) -> None:
    """Raise TaskFailed when any value is one, naming the first; all are in its `failures`."""
    failures = [value for value in values if type(value) is TaskFailed]
    if not failures:
        return
    first = failures[0]
    others = ", ".join(str(each.index) for each in failures[1 : _SHOWN + 1])
    more = f" (the others: {others}{', ...' if len(failures) > _SHOWN + 1 else ''})" if others else ""
    error = TaskFailed(
        f"{len(failures)} of {len(values)} tasks of run {run} are not done{more}; "
        f"the first: {first}{records}",
        index=first.index,
        state=first.state,
        result=first.result,
        failures=failures,
    )
    if isinstance(first.result, dict) and "traceback" in first.result:
        error.add_note(f"In the worker:\n{first.result['traceback']}")
    raise error
