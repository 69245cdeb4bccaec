"""Processes where the system runs out of files or threads, or has no pidfds."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kon.kinds.spawn import Finished, Spawner, have_pidfd
from kon.kinds.start import ALONE_S
from tests.kinds.running import LIMIT_S, open_files
from tests.kinds.spawning import both_ways, run, start


@both_ways
def test_a_command_that_can_not_be_started_leaves_nothing_behind(use_pidfd: bool) -> None:
    async def use(spawner: Spawner) -> None:
        await spawner.run(["/bin/sh", "-c", ":"], {})  # opens what it keeps open
        before = open_files()
        with pytest.raises(FileNotFoundError):
            await spawner.run(["/no/such/program"], {})
        assert open_files() == before

    run(use_pidfd, use)


@contextmanager
def files_limited_to(more: int) -> Iterator[None]:
    """At most `more` file descriptors on top of those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@both_ways
def test_out_of_file_descriptors(use_pidfd: bool) -> None:
    """At whatever point they run out: a failed start or a command that ran, and nothing left behind."""
    outcomes: list[str] = []

    async def use(spawner: Spawner) -> None:
        for more in range(12):
            with files_limited_to(more):
                try:
                    finished = await spawner.run(["/bin/sh", "-c", "echo x"], {})
                    outcomes.append(finished.stdout.text().text)
                except OSError as error:
                    outcomes.append(os.strerror(error.errno or 0))

    run(use_pidfd, use)
    assert set(outcomes) == {"Too many open files", "x\n"}


def test_a_start_waits_for_file_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    """That they have run out is no fault of the command that is next."""

    async def use(spawner: Spawner) -> list[int | None]:
        with files_limited_to(12):
            tasks = [start(spawner, "sleep 0.1") for _ in range(9)]
            return [(await task).code for task in tasks]

    assert run(True, use, patience_s=LIMIT_S) == [0] * 9
    assert caplog.text.count("out of file descriptors") == 1


def test_a_start_that_no_running_command_could_help_waits_for_a_second() -> None:
    """`ulimit -n 20`: each task waited for a minute, in vain."""

    async def use(spawner: Spawner) -> None:
        loop = asyncio.get_running_loop()
        await spawner.run(["/bin/sh", "-c", ":"], {})
        began_s = loop.time()
        with files_limited_to(0), pytest.raises(OSError, match="Too many open files"):
            await spawner.run(["/bin/sh", "-c", ":"], {})
        assert ALONE_S <= loop.time() - began_s < LIMIT_S

    run(True, use, patience_s=2 * LIMIT_S)


def test_without_a_pidfd_for_want_of_file_descriptors_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)

    async def use(spawner: Spawner) -> Finished:
        return await start(spawner, "exit 5")

    assert run(True, use).code == 5


def test_out_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    async def use(spawner: Spawner) -> None:
        with pytest.raises(BlockingIOError, match="can't start new thread"):
            await spawner.run(["sleep", "1000"], {})

    # it had begun, so that it is not tried again, whatever the patience
    run(False, use, patience_s=LIMIT_S)


def test_where_there_are_no_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    have_pidfd.cache_clear()
    with monkeypatch.context() as patch:
        patch.delattr(os, "pidfd_open", raising=False)
        assert not have_pidfd()
    have_pidfd.cache_clear()

    def forbidden(pid: int, flags: int = 0) -> int:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", forbidden, raising=False)
        assert not have_pidfd()
    have_pidfd.cache_clear()
