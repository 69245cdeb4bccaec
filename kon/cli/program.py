"""The program around a command: its standard files, its warnings, and what it says of faults as it ends."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import IO, Final

import click

from kon.cli.group import CommandFailure, kon
from kon.core.errors import Interrupted, StoreError, first_cause
from kon.engine.watchers import logs

EXIT_FAULT: Final = 70
"""The exit code after a fault of kon's own (EX_SOFTWARE), so that no script takes it for a failed task."""

EXIT_STDOUT: Final = StoreError.exit_code
"""The exit code when standard output is on a full disk, or takes no more for another reason."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})

_log = logging.getLogger("kon.cli")


def main() -> None:
    """What the installed script does. Ends the process."""
    try:
        _take_closed_files()
        _outlive_stderr()
        warnings.showwarning = _say_warning
        _call()
    except (KeyboardInterrupt, click.Abort):  # before or after a command, which has its own way
        CommandFailure(Interrupted("interrupted")).show()
        sys.exit(Interrupted.exit_code)
    finally:
        _forget_full_stderr()


def _call_click() -> None:
    """Ends the process, as click does by itself; but that makes exit code 1 of Ctrl-C."""
    try:
        sys.exit(kon(prog_name="kon", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def _call() -> None:
    try:
        _call_click()
    except click.Abort:
        raise
    except Exception as error:
        if _is_of_stdout(first_cause(error)):
            from kon.cli.output import forget_stdout

            forget_stdout()
            told = f"standard output: can't be written: {getattr(error, 'strerror', error)}"
            if logs.is_json():
                _log.error(told, extra={"exit_code": EXIT_STDOUT})
            else:
                click.echo(f"kon: {told}", err=True)
            sys.exit(EXIT_STDOUT)
        if (short := _short_of(first_cause(error))) is not None:
            if logs.is_json():
                _log.error(short, extra={"exit_code": StoreError.exit_code})
            else:
                click.echo(f"kon: {short}", err=True)
            sys.exit(StoreError.exit_code)
        from kon.cli.fault import told as kept

        if logs.is_json():
            _log.critical(kept(error), exc_info=True, extra={"exit_code": EXIT_FAULT})
        else:
            traceback.print_exc()
            click.echo(f"kon: {kept(error)}", err=True)
        sys.exit(EXIT_FAULT)


def _short_of(error: BaseException) -> str | None:
    """What to say where this process may have no more threads or memory; None for another error."""
    if isinstance(error, MemoryError):
        what, limits = "is out of memory", "ulimit -v, or a container's limit"
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        what, limits = "can start no more threads", "ulimit -u, ulimit -v, or a container's limit"
    else:
        return None
    return f"kon {what}. What is recorded stays: raise the limit ({limits}), then run the same command again"


def _forget_full_stderr() -> None:
    """Where stderr can't be written, its disk is full: Python, which flushes it at its end, must not fail."""
    try:
        sys.stderr.buffer.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _take_closed_files() -> None:
    """Have nothing that is opened later become one of the standard files that kon was started without: a
    database would take what programs say. Without stderr, kon says what it says to nobody. What it would
    print to a stdout that is closed fails, as on a full disk: whoever wants none of it sends it to /dev/null.
    So does what it would read from a stdin that is closed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            mode = (os.O_WRONLY, os.O_RDONLY, os.O_RDWR)[number]
            os.set_inheritable(os.open(os.devnull, mode), True)  # it gets the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process lasts
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - as long as the process lasts
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - as long as the process lasts


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: IO[str] | None = None,
    line: str | None = None,
) -> None:
    """In place of Python's own way, which shows a line of the source as well."""
    from kon.cli.output import warn  # and msgspec, which a list of commands does without

    warn(str(message))


class _Talk(io.TextIOWrapper):
    """Standard error, without errors where its disk is full or its terminal gone."""

    def write(self, text: str) -> int:
        with _lost():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with _lost():
            super().flush()


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise


def _outlive_stderr() -> None:
    """Have work go on where what kon says of it can't be written: a run of a night would end as its log does.
    What commands write to stderr is another matter, and goes past this."""
    said = sys.__stderr__
    if said is not None and sys.stderr is said:  # which stays, and keeps the file open
        sys.stderr = _Talk(said.buffer, said.encoding, said.errors, line_buffering=True, write_through=True)


def _is_of_stdout(error: BaseException) -> bool:
    """Whether it comes of writing to standard output: what kon writes elsewhere has errors of its own."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _FULL
