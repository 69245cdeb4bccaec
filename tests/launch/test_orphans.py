"""What a process of a run leaves when it is killed: nothing runs on for nobody, and TMPDIR is empty again."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from kon.launch import sentry

KON = [sys.executable, "-m", "kon"]
LIMIT_S = 60.0

COMMAND = "echo {} >>%s/log; sleep 600 & sleep 600; wait"
"""A task that outlasts the test, with a child of its own."""

PROGRAM = f"""
import kon, pathlib, sys
kon.map({COMMAND!r} % sys.argv[1], range(40), workers=2, visibility_s=2)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")


class Place:
    """A folder with a temporary folder, and the processes that come from commands started here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tmp = path / "tmp"
        self.tmp.mkdir()
        self._mark = f"KON_TEST_MARK={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self._environment = {**os.environ, "TMPDIR": str(self.tmp), name: value}
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            words,
            env=self._environment,
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._started.append(process)
        return process

    def program(self) -> subprocess.Popen[bytes]:
        return self.start(sys.executable, "-c", PROGRAM, str(self.path))

    def of_a_function(self) -> subprocess.Popen[bytes]:
        words = "import kon, time; kon.map(time.sleep, [600] * 40, workers=2, visibility_s=2)"
        return self.start(sys.executable, "-c", words)

    def kon_map(self, *options: str) -> subprocess.Popen[bytes]:
        items = [str(number) for number in range(40)]
        return self.start(*KON, "map", "-j", "2", *options, COMMAND % self.path, ":::", *items)

    def processes(self) -> dict[int, str]:
        """The command line of each live process that has this place's environment."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if line:  # of one that has ended, and that nobody has waited for, there is none
                        found[int(entry.name)] = line
        return found

    def pids(self, *words: str) -> list[int]:
        return [pid for pid, line in self.processes().items() if all(word in line for word in words)]

    @property
    def workers(self) -> list[int]:
        return self.pids("kon.launch.process")

    @property
    def sleeps(self) -> list[int]:
        return [pid for pid, line in self.processes().items() if line.startswith("sleep 600")]

    def begun(self) -> list[str]:
        log = self.path / "log"
        return log.read_text().split() if log.exists() else []

    def left_in_tmp(self) -> list[str]:
        return sorted(each.name for each in self.tmp.iterdir())

    def end(self) -> None:
        while found := self.processes():
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self._started:
                process.poll()
            time.sleep(0.05)
        for process in self._started:
            process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.end()


def wait(come: Callable[[], object], what: Callable[[], object] = lambda: "") -> None:
    give_up_s = time.monotonic() + LIMIT_S
    while not come():
        assert time.monotonic() < give_up_s, what()
        time.sleep(0.02)


def nothing_is_left(place: Place) -> None:
    wait(lambda: not place.processes(), place.processes)
    wait(lambda: not place.left_in_tmp(), place.left_in_tmp)


STATES: dict[str, Callable[[Place], object]] = {
    "begun": Place.left_in_tmp,
    "workers start": lambda place: place.workers,
    "tasks run": lambda place: len(place.sleeps) == 4,
}


def _cases() -> list[ParameterSet]:
    """Every client, signal and state; the few that tell most are for each `make test`."""
    clients = {"kon.map": Place.program, "kon map": Place.kon_map}
    often = {
        ("kon map", signal.SIGKILL, "tasks run"),
        ("kon.map", signal.SIGTERM, "tasks run"),
        ("kon.map", signal.SIGKILL, "begun"),
    }
    return [
        pytest.param(
            client,
            number,
            state,
            id=f"{name}, {number.name}, {state}",
            marks=[] if (name, number, state) in often else [pytest.mark.slow],
        )
        for (name, client), number, state in itertools.product(
            clients.items(), (signal.SIGTERM, signal.SIGKILL), STATES
        )
    ]


@pytest.mark.parametrize(("client", "number", "state"), _cases())
def test_a_run_of_which_nobody_keeps_records_ends_with_its_client(
    place: Place, client: Callable[[Place], subprocess.Popen[bytes]], number: signal.Signals, state: str
) -> None:
    process = client(place)
    wait(lambda: STATES[state](place))
    process.send_signal(number)
    process.wait()
    nothing_is_left(place)
    assert len(place.begun()) <= 2


ROLES: dict[str, Callable[[str], bool]] = {
    "worker": lambda line: "kon.launch.process" in line,
    "sentry of a worker": lambda line: line.startswith("/bin/sh -c") and "SESSION" in line,
    "sentry of the folder": lambda line: line.startswith("/bin/sh -c") and "{FOLDER:" in line,
    "shell": lambda line: line.startswith("/bin/sh -c echo"),
    "command": lambda line: line.startswith("sleep 600"),
    "process of a function": lambda line: "callee.py" in line,
}
"""The processes of a run that are not its client, by their command lines."""


def _single_kills() -> list[ParameterSet]:
    """Every process that each client has in each state; the few that tell most are for each `make test`."""
    of_commands = [role for role in ROLES if role != "process of a function"]
    of_functions = [role for role in ROLES if role not in ("shell", "command")]
    clients = (
        ("kon map", Place.kon_map, of_commands),
        ("kon.map", Place.program, of_commands),
        ("kon.map of a function", Place.of_a_function, of_functions),
    )
    often = {
        ("kon map", "worker", "tasks run"),
        ("kon map", "sentry of the folder", "begun"),
        ("kon.map of a function", "process of a function", "tasks run"),
    }
    return [
        pytest.param(
            client,
            role,
            state,
            id=f"{name}, {role}, {state}",
            marks=[] if (name, role, state) in often else [pytest.mark.slow],
        )
        for name, client, roles in clients
        for role, state in itertools.product(roles, SINGLE_STATES)
        if state == "tasks run" or "sentry" in role or (role == "worker" and state == "workers start")
    ]


SINGLE_STATES: dict[str, Callable[[Place], object]] = {
    **STATES,
    "tasks run": lambda place: len(place.sleeps) == 4 or len(place.pids("callee.py")) == 2,
}


@pytest.mark.parametrize(("client", "role", "state"), _single_kills())
def test_any_one_process_is_killed_and_the_end_of_the_run_leaves_nothing(
    place: Place, client: Callable[[Place], subprocess.Popen[bytes]], role: str, state: str
) -> None:
    process = client(place)
    wait(lambda: SINGLE_STATES[state](place))
    wait(lambda: [line for line in place.processes().values() if ROLES[role](line)], place.processes)
    for pid in [pid for pid, line in place.processes().items() if ROLES[role](line)][:1]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    assert process.poll() is None, "the run goes on"
    process.send_signal(signal.SIGINT)
    assert process.wait() != 0
    nothing_is_left(place)


@pytest.mark.parametrize("options", [[], ["--out", "kept"]], ids=["not kept", "kept"])
def test_the_command_of_a_killed_worker_ends_and_another_worker_takes_its_task(
    place: Place, options: list[str]
) -> None:
    client = place.kon_map(*options)
    wait(lambda: len(place.sleeps) == 4)
    before = set(place.sleeps)
    for worker in place.workers:
        os.kill(worker, signal.SIGKILL)
    wait(lambda: not before & set(place.sleeps), place.processes)
    wait(lambda: len(place.sleeps) == 4, place.processes)
    assert client.poll() is None


def test_a_kept_run_whose_client_and_worker_are_killed_leaves_no_command(place: Place) -> None:
    client = place.kon_map("--out", "kept")
    wait(lambda: len(place.sleeps) == 4)
    client.kill()
    client.wait()
    time.sleep(1.0)
    assert len(place.sleeps) == 4, "the workers go on, as the records are kept"
    for worker in place.workers:
        os.kill(worker, signal.SIGKILL)
    nothing_is_left(place)


def test_each_process_of_a_run_is_killed_and_what_is_left_ends_with_the_client(place: Place) -> None:
    client = place.program()
    wait(lambda: len(place.sleeps) == 4)
    others = [pid for pid in place.processes() if pid != client.pid]
    assert len(others) > 4
    for pid in others:
        with suppress(ProcessLookupError):  # it ended with one before it
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    wait(lambda: place.workers, place.processes)
    client.kill()
    client.wait()
    wait(lambda: not place.processes(), place.processes)


STAGED = """\
name: s
workload: {kind: shell, items: [a], command: "echo {} >out; sleep 600", outputs: {out: "{}"}}
"""


@pytest.mark.parametrize("name", ["a folder", "it's $HOME"])
def test_a_staged_commands_folder_goes_with_its_worker(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    place = Place(tmp_path / name)
    file = place.path / "e.yml"
    file.write_text(STAGED)
    try:
        client = place.start(*KON, "run", str(file), "--out", "kept", "-q")
        wait(lambda: place.sleeps)
        [folder] = place.left_in_tmp()
        assert folder.startswith("kon-task-")
        client.kill()
        client.wait()
        [worker] = place.workers
        os.kill(worker, signal.SIGKILL)
        nothing_is_left(place)
    finally:
        place.end()


def test_what_a_command_left_running_outlives_its_worker(place: Place) -> None:
    program = "import kon, sys; kon.map('sleep 600 >/dev/null 2>&1 & echo {} >>log', [1], workers=1)"
    ended = place.start(sys.executable, "-c", program)
    assert ended.wait() == 0
    assert len(place.sleeps) == 1, "as a daemon is meant to"


@pytest.mark.parametrize("script", [sentry._OF_WORKER, sentry._OF_FOLDER])
def test_a_sentry_that_is_told_no_place_removes_nothing(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one would stand for the folder that the worker was started in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis.txt").touch()
    on_duty = sentry.Sentry(script, SESSION="none", SCRATCH="", FOLDER="")
    os.close(on_duty.lifeline)
    assert on_duty._process.wait(30) in (0, 1, 2)
    assert (tmp_path / "thesis.txt").exists()
