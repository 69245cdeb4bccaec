"""Processes: started in groups of their own, read to the end, stopped as a whole.

A command costs this process 0.2 ms of CPU time; asyncio's own subprocesses cost 0.35 to 0.5 ms. The
least that Python could do, without any care, is 0.17 ms (`python -m benchmarks.shell`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from kon.core.kind import Spent
from kon.kinds.capture import Capture
from kon.kinds.readable import Readable, Stream, readable
from kon.kinds.start import PATIENCE_S, Environment, Shortage, Starter

LINGER_S: Final = 2.0
"""How long the output of a command that has ended is read on while others hold its pipes open."""


class Stopped(BlockingIOError):
    """A process had begun, and was killed as nobody could have waited for it: it may have had effects."""


class Child:
    """A process that leads its own process group, and its end."""

    def __init__(self, pid: int, use_pidfd: bool | None = None, watch: Readable | None = None) -> None:
        """Call it in the running loop, right after the start. `use_pidfd`: None for "where there are any".

        watch: the loop's, where the caller has it.
        """
        self.pid = pid
        self.ended = False
        self.code: int | None = None
        """Once ended: the exit status, or minus the signal; None where someone else has reaped it."""
        self.spent: Spent | None = None
        """Once ended: what it and those that it has waited for have used."""
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._pidfd: int | None = None
        self._watch: Readable | None = None  # where it is used: it is to be gone with the loop
        if have_pidfd() if use_pidfd is None else use_pidfd:
            self._watch_pidfd(watch)
        else:
            self._watch_in_thread()

    async def wait(self) -> int | None:
        """The `code`, once it has ended. For one caller at a time."""
        while not self.ended:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self.code

    def signal(self, number: signal.Signals) -> None:
        """To the whole group, as far as it is there."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM to the group; SIGKILL to what is left of it after `grace_s` seconds, or when cancelled.

        Returns when the process has been reaped; a cancellation is passed on only then.
        """
        self.signal(signal.SIGTERM)
        cancelled = False
        try:
            async with asyncio.timeout(grace_s):
                await self.wait()
                await self._group_gone()
            return
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            cancelled = True
        self.signal(signal.SIGKILL)
        await self.kill()
        if cancelled:
            raise asyncio.CancelledError

    async def kill(self) -> None:
        """SIGKILL to the group, unless the process has been reaped. Cancelled, it still waits for that."""
        cancelled = False
        while not self.ended:
            self.signal(signal.SIGKILL)
            try:
                await self.wait()
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    async def _group_gone(self) -> None:
        """Wait for what the process has started. Nothing reports its end, so this looks now and then."""
        pause_s = 0.005
        while self._group_exists():
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.1)

    def _group_exists(self) -> bool:
        # No new process can get the number of a group that has members. Of one that has none, only after
        # all other process numbers went round, which takes longer than any grace.
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # a member that runs as somebody else
            return True
        return not _all_zombies(self.pid)

    def _watch_pidfd(self, watch: Readable | None) -> None:
        try:
            watch = readable(self._loop) if watch is None else watch
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:  # gone and reaped already: SIGCHLD is ignored in this process
            self._loop.call_soon(self._reap)
            return
        except OSError:  # out of file descriptors
            self._watch_in_thread()
            return
        self._watch = watch
        watch.add(self._pidfd, self._reap)

    def _reap(self) -> None:
        if self._pidfd is not None and self._watch is not None:
            self._watch.remove(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = self._watch = None
        self._finish(*_reaped(self.pid))

    def _watch_in_thread(self) -> None:
        def wait() -> None:
            code, spent = _reaped(self.pid)
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._finish, code, spent)

        try:
            threading.Thread(target=wait, name=f"kon-wait-{self.pid}", daemon=True).start()
        except RuntimeError as error:  # out of threads
            self.signal(signal.SIGKILL)
            self._finish(*_reaped(self.pid))
            raise Stopped(errno.EAGAIN, str(error)) from error

    def _finish(self, code: int | None, spent: Spent | None) -> None:
        self.ended = True
        self.code, self.spent = code, spent
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _reaped(pid: int) -> tuple[int | None, Spent | None]:
    """The exit status of a process that has ended, and what it has used."""
    try:
        _, status, used = os.wait4(pid, 0)
    except ChildProcessError:
        return None, None
    cpu_s = round(used.ru_utime + used.ru_stime, 6)
    return os.waitstatus_to_exitcode(status), Spent(cpu_s, _peak_bytes(used.ru_maxrss))


_RSS_UNIT_BYTES: Final = 1 if sys.platform == "darwin" else 1024
"""The unit of `ru_maxrss`."""


def _peak_bytes(peak: int) -> int | None:
    """The peak of a process; None where that is of the time before it ran its program.

    Until then it is as large as the one that started it.
    """
    global _own_peak
    if peak > _own_peak:  # mostly it is not, which saves the call
        _own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * _RSS_UNIT_BYTES if peak > _own_peak else None


_own_peak = 0
"""The largest that this process was known to have been; it only grows."""


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ending(code: int | None) -> str:
    """For people: how a process with this `Child.code` ended."""
    if code is None:
        return "exit code unknown"
    if code >= 0:
        return f"exit {code}"
    hint = " (perhaps because memory ran out)" if -code == signal.SIGKILL else ""
    return f"killed by {signal_name(-code)}{hint}"


def _all_zombies(group: int) -> bool:
    """Whether every process of the group has ended, as far as this system tells.

    Orphans are reaped by process 1. In many containers that is a program which never does.
    """
    known = False
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent group ...; the name may hold anything
            fields = status.read_bytes().rpartition(b")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[2]) == group:
            if fields[0] != b"Z":
                return False
            known = True
    return known


@functools.cache
def have_pidfd() -> bool:
    """Whether this system has pidfds: Linux since 5.3, unless a sandbox forbids them."""
    if not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


class Finished(msgspec.Struct, frozen=True):
    """A command that has ended.

    code: the exit status, or minus the signal; None where someone else has reaped it.
    output_open: a process that it left behind still held its output after `LINGER_S`.
    """

    code: int | None
    stdout: Capture
    stderr: Capture
    output_open: bool
    spent: Spent | None = None


class Spawner:
    """Runs commands to their end."""

    def __init__(
        self,
        *,
        cwd: str | None = None,
        stdin: bytes | None = None,
        max_output_bytes: int,
        kill_grace_s: float,
        use_pidfd: bool | None = None,
        use_posix_spawn: bool | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`use_pidfd`, `use_posix_spawn`: None for "where this system has them".

        patience_s: how long a start waits for file descriptors and the like.
        """
        self._starter = Starter(cwd, use_posix_spawn)
        self._stdin = stdin
        self._max_output_bytes = max_output_bytes
        self._kill_grace_s = kill_grace_s
        self._use_pidfd = use_pidfd
        self._null: int | None = None
        self._shortage = Shortage(patience_s)

    async def run(
        self,
        argv: Sequence[str],
        env: Environment,
        *,
        captures: tuple[Capture, Capture] | None = None,
        stdin: bytes | Path | None = None,
    ) -> Finished:
        """Run a command. Raises OSError where it can't be started. Cancelled, it stops the whole group.

        captures: what takes its stdout and its stderr. stdin: what this command reads, itself or the file
        of it, in place of what all read.
        """
        if captures is None:
            captures = Capture(self._max_output_bytes), Capture(self._max_output_bytes)
        taken, given = captures, self._stdin if stdin is None else stdin
        child, out, err = await self._shortage.start(lambda: self._start(argv, env, taken, given), Stopped)
        try:
            code = await child.wait()
            if out.open or err.open:  # mostly their ends come before it has ended
                out.read_rest()
                err.read_rest()
            if out.open or err.open:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_S):
                        await out.end()
                        await err.end()
            return Finished(code, out.capture, err.capture, out.open or err.open, child.spent)
        except asyncio.CancelledError:
            await child.stop(self._kill_grace_s)
            raise
        finally:
            if out.open or err.open:
                out.close()
                err.close()
            self._shortage.ended()

    def close(self) -> None:
        if self._null is not None:
            os.close(self._null)
            self._null = None

    def _start(
        self,
        argv: Sequence[str],
        env: Environment,
        captures: tuple[Capture, Capture],
        stdin: bytes | Path | None,
    ) -> tuple[Child, Stream, Stream]:
        watch = readable(asyncio.get_running_loop())  # before there is anything to let go of, should it fail
        streams: list[Stream] = []
        of_child: list[int] = []
        try:
            given = self._input(stdin, of_child)
            for capture in captures:
                ours, theirs = os.pipe()
                of_child.append(theirs)
                streams.append(Stream(ours, capture, watch))
            out_end, err_end = of_child[-2:]
            child = Child(self._starter.start(argv, env, given, out_end, err_end), self._use_pidfd, watch)
        except BaseException:
            for stream in streams:
                stream.close()
            raise
        finally:
            for end in of_child:
                os.close(end)
        out, err = streams
        return child, out, err

    def _input(self, stdin: bytes | Path | None, of_child: list[int]) -> int:
        """The file that a command reads. It is among `of_child` where no other command reads it."""
        if stdin is None:
            if self._null is None:
                self._null = os.open(os.devnull, os.O_RDONLY)
            return self._null
        if isinstance(stdin, Path):
            of_child.append(os.open(os.fspath(stdin), os.O_RDONLY | os.O_CLOEXEC))
        else:
            with tempfile.TemporaryFile(buffering=0) as file:  # a pipe would need feeding, and could break
                file.write(stdin)
                file.seek(0)
                of_child.append(os.dup(file.fileno()))
        return of_child[-1]
