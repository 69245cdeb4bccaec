"""`kon join` and `kon run --join` as processes: killed, stopped, alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kon.core.lock import client_lock, host_lock
from kon.engine.records.records import RunFolder

SLOW = "name: s\nworkload: {kind: sleep, count: 100, seconds: 0.05}\nvisibility_s: 2\n"
KON = [sys.executable, "-m", "kon"]


class Place:
    """A folder with an experiment and its records."""

    def __init__(self, path: Path) -> None:
        self.file = path / "s.yml"
        self.file.write_text(SLOW)
        self.out = path / "out"
        self.folder = RunFolder(self.out / "s-lease-w1-r1")
        self.plan = path / "plan.json"
        self.plan.write_text(self.ended("run", "--dry-run", "--json").stdout)

    def words(self, command: str, *options: str) -> list[str]:
        what = self.plan if command == "join" else self.file
        return [*KON, command, str(what), "--out", str(self.out), *options]

    @contextmanager
    def started(self, command: str, *options: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(self.words(command, *options), stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def ended(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(command, *options), capture_output=True, text=True, check=False)

    def answered(self) -> bool:
        return self.folder.results.exists() and self.folder.results.stat().st_size > 0

    def lives(self) -> int:
        return sum(line["e"] == "up" for _, line in self.folder.event_lines())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_host_that_is_killed_leaves_its_worker_working_and_another_takes_over(place: Place) -> None:
    with place.started("run", "--join") as client:
        with place.started("join", "--number", "1") as host:
            _wait(place.answered)
            os.kill(host.pid, signal.SIGKILL)
        _wait(lambda: not host_lock(place.out, 1).is_held())
        again = place.ended("join", "--number", "1")
        assert (again.returncode, client.wait()) == (0, 0), again.stderr
    assert place.folder.read_summary()["done"] == 100
    assert place.folder.read_summary()["duplicate_starts"] == 0
    assert place.lives() == 1, "the worker that was left did the rest, and no second one under its name"


@pytest.mark.long
def test_a_host_that_is_terminated_drains_its_workers(place: Place) -> None:
    with place.started("run", "--join") as client:
        with place.started("join", "--number", "1") as host:
            _wait(place.answered)
            host.terminate()
            assert host.wait() == 0
            assert host.stderr is not None
            assert "host 1: told to stop: its workers have ended" in host.stderr.read()
        done = sum(len(packet.outcomes) for packet in place.folder.packets())
        assert done < 100, "it did not wait for the end of the run"
        again = place.ended("join", "--number", "1")
        assert (again.returncode, client.wait()) == (0, 0), again.stderr
    assert place.folder.read_summary()["done"] == 100
    assert place.folder.read_summary()["duplicate_starts"] == 0
    assert place.lives() == 2


def test_a_second_client_is_refused(place: Place) -> None:
    with place.started("run", "--join") as client:
        _wait(client_lock(place.out).is_held)
        second = place.ended("run")
        assert second.returncode == 2
        assert f"has a client at work already (process {client.pid})" in second.stderr
        client.send_signal(signal.SIGINT)
        assert client.wait() == 130


def test_what_a_host_says_when_there_is_nothing_for_it(place: Place) -> None:
    alone = place.ended("join", "--number", "1", "--patience", "0")
    assert alone.returncode == 1
    assert alone.stderr == (
        "kon: no client came within 0 s: start one with `kon run --join`, the experiment of the plan and "
        f"--out {place.out}\n"
    )
    second = place.ended("join", "--number", "2")
    assert (second.returncode, second.stderr) == (
        0,
        "host 2: nothing to do: no run has work for more than 1 host\n",
    )


@pytest.mark.long
def test_a_plan_comes_from_stdin_and_of_it_what_is_recorded_is_left(place: Place) -> None:
    def host() -> subprocess.CompletedProcess[str]:
        plan = place.ended("run", "--dry-run", "--json").stdout
        words = [*KON, "join", "-", "--number", "1", "--out", str(place.out), "--patience", "60"]
        return subprocess.run(words, input=plan, capture_output=True, text=True, check=False)

    with place.started("run", "--join") as client:
        first = host()
        assert (first.returncode, client.wait()) == (0, 0), first.stderr
    again = host()
    assert (again.returncode, again.stderr) == (
        0,
        "host 1: nothing to do: no run has work for more than 0 hosts\n",
    )


def test_the_former_command_says_what_to_type_now(place: Place) -> None:
    gone = place.ended("host", "--number", "1")
    assert gone.returncode == 2
    assert "kon run FILE --dry-run --json | kon join - --number N --out DIR" in gone.stderr


def _wait(come: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 60.0
    while not come():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)
