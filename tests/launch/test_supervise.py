"""What becomes of a crew whose workers do not stay up."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kon.backends.emulator import started
from kon.core.errors import (
    BackendUnavailable,
    ConfigurationError,
    KonError,
    StoreError,
    WorkersCantStart,
    WorkersDenied,
    WorkersFailed,
    first_cause,
)
from kon.engine.records.records import RunFolder
from kon.launch import supervise
from kon.launch.beside import page_of
from kon.launch.holds import WorkerHolds
from kon.launch.process import DENIED
from kon.launch.supervise import QUICK_DEATHS, WorkerProcesses
from tests import house
from tests.cli.given import process, write


@pytest.mark.parametrize(("worker_exit", "exit_code"), [(1, 1), (2, 2), (3, 3), (70, 1)])
def test_a_crew_fails_with_what_its_workers_failed_with(
    worker_exit: int, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that Amazon refuses is the account's matter, one that can't be configured the user's."""
    folder = RunFolder(tmp_path / "r")
    folder.logs.mkdir(parents=True)
    (folder.logs / "w1.log").write_text("kon: access denied\n")
    lives: list[str] = []

    async def fail(self: WorkerProcesses, name: str) -> int:
        lives.append(name)
        return worker_exit

    monkeypatch.setattr(WorkerProcesses, "_one_life", fail)
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(WorkerProcesses(folder, ["w1"]).run())
    cause = first_cause(caught.value)
    assert isinstance(cause, WorkersFailed)
    assert cause.exit_code == exit_code
    assert "worker w1 failed 3 times as soon as it was started: kon: access denied." in str(cause)
    assert len(lives) == QUICK_DEATHS


def test_a_full_disk_is_a_matter_of_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker can't say so itself: it ends with exit code 1, and its log is empty."""
    folder = RunFolder(tmp_path / "r")
    folder.logs.mkdir(parents=True)
    (folder.logs / "w1.log").touch()

    async def fail(self: WorkerProcesses, name: str) -> int:
        return 1

    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    monkeypatch.setattr(WorkerProcesses, "_one_life", fail)
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(WorkerProcesses(folder, ["w1"]).run())
    cause = first_cause(caught.value)
    assert f"the disk of {folder.logs} is full" in str(cause)
    assert isinstance(cause, WorkersFailed)
    assert cause.exit_code == 2


def test_others_drain_where_workers_are_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, they would have received in vain what they hold. A second SIGTERM ends a worker that drains."""
    folder = RunFolder(tmp_path / "r")
    told = tmp_path / "told"
    awaited = {"w1": tmp_path / "ready", "w2": told}
    drains = (
        f"trap 'echo told >>{told}; ended=1' TERM; : >{tmp_path}/ready; "
        f"until test $ended; do sleep 0.02; done; sleep 0.5; echo drained >>{told}"
    )

    def started(self: WorkerProcesses, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        log.write_text("kon: denied\n")
        name = words[1]
        denied = f"trap '' TERM; until test -e {awaited.get(name)}; do sleep 0.02; done; exit {DENIED}"
        script = denied if name in awaited else drains
        return subprocess.Popen(["sh", "-c", script], start_new_session=True)

    monkeypatch.setattr(WorkerProcesses, "_started", started)
    with pytest.raises(WorkersDenied, match="No task counts as tried"):
        asyncio.run(WorkerProcesses(folder, ["w1", "w2", "w3"]).run())
    assert told.read_text().split() == ["told", "drained"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_folder_that_is_removed_under_a_run_is_named(
    begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before workers are started, or while one runs; the next life is not started."""
    folder = RunFolder(tmp_path / "r")

    async def one_life(self: WorkerProcesses, name: str) -> int:
        shutil.rmtree(folder.path)
        folder.path.write_text("")
        monkeypatch.undo()
        return 1

    if begun:
        monkeypatch.setattr(WorkerProcesses, "_one_life", one_life)
    else:
        folder.path.write_text("")  # so that nothing can be made there
    with pytest.raises((StoreError, BaseExceptionGroup)) as caught:
        asyncio.run(WorkerProcesses(folder, ["w1"]).run())
    cause = first_cause(caught.value)
    assert isinstance(cause, StoreError)
    assert "can't be used: Not a directory" in str(cause)


@pytest.mark.parametrize("what", ["worker", "page", "emulator"])
def test_that_no_process_is_to_be_had_is_no_fault_of_kons(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def begin() -> None:
        if what == "worker":
            asyncio.run(WorkerProcesses(RunFolder(tmp_path / "r"), ["w1"]).run())
        elif what == "page":
            with page_of(tmp_path):
                pass
        else:
            with started("moto"):
                pass

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises((KonError, BaseExceptionGroup)) as caught:
        begin()
    cause = first_cause(caught.value)
    assert isinstance(cause, WorkersCantStart if what == "worker" else ConfigurationError)
    assert "can't be started: Resource temporarily unavailable" in str(cause)


@pytest.mark.parametrize("error", [BackendUnavailable("no answer"), StoreError("a full disk")])
def test_what_cant_be_handed_on_ends_no_run(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes again by itself, after its timeouts."""
    folder, lives, tried = RunFolder(tmp_path / "r"), iter([-signal.SIGKILL, 0]), list[str]()
    asked = asyncio.Event()
    folder.logs.mkdir(parents=True)
    (folder.logs / "w1.holds").write_bytes(b'"w1.1"\n')

    async def live(self: WorkerProcesses, name: str) -> int:
        if (code := next(lives)) == 0:
            await asked.wait()
        return code

    async def hand_on(held: WorkerHolds) -> None:
        tried.append(held.life)
        asked.set()
        raise error

    monkeypatch.setattr(supervise, "COMMANDS_END_S", 0.0)
    monkeypatch.setattr(WorkerProcesses, "_one_life", live)
    asyncio.run(WorkerProcesses(folder, ["w1"], on_death=hand_on).run())
    assert tried == ["w1.1"]


def test_no_process_hangs_on_an_event_loop() -> None:
    """asyncio kills what a loop has started once that loop is gone; what kon starts may outlive it."""
    found = [name for name, file in house.modules().items() if "create_subprocess" in file.read_text()]
    assert found == []


@pytest.mark.long
def test_a_run_whose_workers_are_all_stopped_from_outside_ends_and_goes_on_later(tmp_path: Path) -> None:
    """Stopped by SIGTERM, a worker drains and ends well. With the last one gone nobody would ever answer."""
    file = write(
        tmp_path,
        "name: stopped\nbackend: sqlite\nbundle: 1\nvisibility_s: 2\n"
        "workload: {kind: shell, command: 'sleep 0.5; : {}', items: [1, 2, 3, 4]}\n",
    )
    folder = tmp_path / "results/stopped/stopped-lease-w1-r1"
    command = [sys.executable, "-m", "kon", "run", str(file), "-q"]
    client = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not any(b'"start"' in events.read_bytes() for events in folder.glob("events/w*.jsonl")):
        assert client.poll() is None
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"--parent\0{client.pid}\0".encode() in place.read_bytes() + b"\0":
                os.kill(int(place.parent.name), signal.SIGTERM)
    said = client.communicate(timeout=60)[1]
    assert client.returncode == 1, said
    assert "all workers of stopped-lease-w1-r1 were stopped from outside" in said
    again = process("run", file, "-q", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
