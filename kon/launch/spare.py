"""Spares: processes forked ahead of a run. They become workers without a start of Python.

A worker that is started as a program takes as long to import what it needs as its client took. A spare has
all that from the client. It is forked before the client has threads, an event loop, a database or a lock: a
fork copies one thread, and every lock that another one held stays locked. It keeps the client's modules
alone, and lets go of whatever else it inherits (see `_forget_client`).

It waits on a pipe for the command line that a worker would be started with (see kon.launch.process). It ends
where none comes, as its client has no use for it or is gone.

Linux shows a command line of each process (`ps`, /proc/PID/cmdline). kon and people know workers by theirs
(see kon.launch.liveness). A spare has its client's. The worker's is written over that, and is cut where it is
longer: what follows in memory is the environment.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import msgspec

PROGRAM: Final = "kon.launch.process"
"""What the system calls a spare, as it calls a worker that was started as a program."""


class Spare:
    """A process that was forked ahead, as its client sees it. It has what kon uses of `subprocess.Popen`."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self._pipe: int | None = pipe
        self._lock = threading.Lock()
        self._code: int | None = None

    def work(self, words: Sequence[str], log: Path) -> None:
        """Become the worker of this command line, with its output at the end of this file."""
        with suppress(BrokenPipeError):  # it was killed, which `wait` tells
            os.write(self._end_of_pipe(), msgspec.json.encode([str(log), *words]))
        self._close()

    def dismiss(self) -> None:
        """End it, where it was not told to work."""
        if self._pipe is not None:
            self._close()
            self.wait()

    def poll(self) -> int | None:
        """Its exit code, or minus the signal; None while it runs."""
        with self._lock:  # a number that is free again may be another process's
            if self._code is None:
                self._code = self._reaped()
            return self._code

    def wait(self) -> int:
        """Its exit code, or minus the signal, once it has ended."""
        while (code := self.poll()) is None:
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        return code

    def send_signal(self, number: int) -> None:
        with self._lock:
            if self._code is None:
                self._code = self._reaped()
            if self._code is None:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)

    def _reaped(self) -> int | None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # SIGCHLD is ignored, and nobody knows how it ended
            return 0
        return os.waitstatus_to_exitcode(status) if pid else None

    def _end_of_pipe(self) -> int:
        assert self._pipe is not None, "a spare becomes one worker"
        return self._pipe

    def _close(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def fork(count: int, keep: Iterable[int] = ()) -> list[Spare]:
    """As many spares as asked for, or fewer; none where a fork is not safe. Their workers are then started.

    keep: files that stay open in them.
    """
    if not _is_safe():
        return []
    spares: list[Spare] = []
    with suppress(OSError):  # no process to be had: so say those who start the workers
        for _ in range(count):
            spares.append(_fork([*keep]))
    return spares


def _is_safe() -> bool:
    """Whether this program has one thread, and nothing else that a copy can't do with."""
    if sys.platform != "linux":
        return False
    try:
        if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208 - numbers, not paths
            return False  # a library's own threads count too
        for number in range(3):  # with one of these closed, any other file may have got its number
            os.fstat(number)
    except OSError:
        return False
    return can_be_called(PROGRAM)


def _fork(keep: Sequence[int]) -> Spare:
    reads, writes = os.pipe()
    # a signal that comes before the copy has a session and handlers of its own waits until then
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _be_spare(reads, keep, mask)
    except OSError:
        os.close(writes)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(reads)
    return Spare(pid, writes)


# --- in the copy -----------------------------------------------------------------------------------


def _be_spare(reads: int, keep: Sequence[int], mask: Iterable[int]) -> NoReturn:
    """Nothing comes out of here: the stack above is the client's."""
    code = 1
    try:
        gc.freeze()  # nothing of the client's is ever collected here: its finalizers are the client's
        os.setsid()
        _forget_client({reads, *keep})
        take_pythons_name()
        take_command_line([PROGRAM])
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = _wait_and_work(reads)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # as at the end of a program
    finally:
        try:
            _end()
        except BaseException:
            traceback.print_exc()
        os._exit(code)


def _forget_client(keep: set[int]) -> None:
    """Let go of whatever is the client's, so that this is as a program that was just started.

    Files, locks among them, are closed without a word to the objects that hold them: to let go of a lock
    (flock) would let go of the client's, and to flush a buffer would write the client's text a second time.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        if int(name) > 2 and int(name) not in keep:
            with suppress(OSError):  # the listing's own is closed already
                os.close(int(name))
    # what the client's streams still hold goes to the null device with them
    sys.stdin = sys.__stdin__ = _stream(0, "r", sys.stdin)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w", sys.stdout)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", sys.stderr, "backslashreplace", 1)  # type: ignore[misc]
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    atexit._clear()
    sys.excepthook, warnings.showwarning = sys.__excepthook__, _show_warning
    tempfile.tempdir = None
    if not sys.flags.safe_path and sys.path:
        del sys.path[0]  # the folder of the client's script, or the current one


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: IO[str] | None = None,
    line: str | None = None,
) -> None:
    """Python's own way; the client may have another."""
    (file or sys.stderr).write(warnings.formatwarning(message, category, filename, lineno, line))


def _stream(number: int, mode: str, before: Any, errors: str = "strict", buffering: int = -1) -> Any:
    encoding = getattr(before, "encoding", None)
    return open(number, mode, buffering, encoding=encoding, errors=errors, closefd=False)


def _wait_and_work(reads: int) -> int:
    from kon.launch.process import main

    with open(reads, "rb") as pipe:
        told = pipe.read()
    if not told:
        return 0
    log, *words = msgspec.json.decode(told, type=list[str])
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    sys.argv = [PROGRAM, *words]
    take_command_line([PROGRAM, *words])
    return main(words)


def _end() -> None:
    """What Python does at the end of a program, for what has been begun here."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


_MEMORY: Final = Path("/proc/self/mem")


def can_be_called(word: str) -> bool:
    """Whether this process can be given a command line that begins with this word."""
    try:
        begin, end = _place()
        with _MEMORY.open("r+b", buffering=0) as memory:
            memory.seek(begin)
            first = memory.read(1)
            memory.seek(begin)
            memory.write(first)
    except (OSError, ValueError, IndexError):
        return False
    return end - begin > len(word)


def take_command_line(words: Sequence[str]) -> None:
    """Give this process this command line. Does nothing where that can't be."""
    with suppress(OSError, ValueError, IndexError):
        begin, end = _place()
        text = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - begin - 1]
        with _MEMORY.open("r+b", buffering=0) as memory:
            memory.seek(begin)
            memory.write(text.ljust(end - begin, b"\0"))


def take_pythons_name() -> None:
    """Give this process the short name of one that Python was started for (`ps -o comm`, `killall`)."""
    with suppress(OSError):
        Path("/proc/self/comm").write_bytes(os.fsencode(Path(sys.executable).name))


def _place() -> tuple[int, int]:
    """Where in this process's memory its command line begins and ends."""
    # pid (name) state ...; the name may hold anything. See proc(5), arg_start and arg_end.
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[45]), int(fields[46])
