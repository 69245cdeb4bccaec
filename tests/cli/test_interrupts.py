"""Ctrl-C, at a terminal and off it, on real processes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from kon.engine.records.records import RunFolder
from tests.cli.given import KON, process, write

CTRL_C = b"\x03"

LONG = """\
name: long
workload: {kind: sleep, count: 300, seconds: 0.02}
workers: [2]
"""

GATED = """\
name: long
workload:
  kind: shell
  command: 'until test -e {gate}/{{}} -o -e {gate}/all; do sleep 0.02; done'
  items: {items}
workers: [2]
"""
"""No task ends before its test lets it, however long kon takes to start."""

RUN = Path("out") / "long-lease-w2-r1"


class Terminal:
    """kon at a terminal of its own."""

    def __init__(self, cwd: Path, *args: str, **env: str) -> None:
        self._fd, theirs = pty.openpty()
        self.said = b""
        self.process = subprocess.Popen(
            [*KON, *args],
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **env},
            # so that Ctrl-C there reaches this process and no other
            preexec_fn=_own_terminal,
        )
        os.close(theirs)

    def until(self, text: str, timeout_s: float = 30.0) -> None:
        """Read on until this has been said."""
        give_up_s = time.monotonic() + timeout_s
        while text.encode() not in self.said:
            assert time.monotonic() < give_up_s, f"{text!r} was not said: {self.said.decode()}"
            assert self._read(), f"{text!r} was not said: {self.said.decode()}"

    def press(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        os.close(self._fd)
        return self.process.wait(timeout=30)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._fd], [], [], 0.5)
        if not ready:
            return True
        try:
            new = os.read(self._fd, 65_536)
        except OSError:  # how Linux says that nobody has the other end any more
            return False
        self.said += new
        return bool(new)


def _own_terminal() -> None:
    os.setsid()
    os.close(os.open(os.ttyname(0), os.O_RDWR))


def workers_of(folder: Path) -> list[int]:
    """The processes that work on a run, by what the system says of all processes."""
    listed = subprocess.run(["ps", "-Aww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
    lines = [line for line in listed.stdout.splitlines() if f"kon.launch.process {folder} " in line]
    return sorted(int(line.split(maxsplit=1)[0]) for line in lines)


def starts(folder: Path) -> list[int]:
    lines: list[dict[str, Any]] = [
        line for _, line in RunFolder(folder).event_lines() if line["e"] == "start"
    ]
    return [index for line in lines for index in line["i"]]


def test_once_leaves_the_run_to_its_workers_and_the_same_command_takes_it_up(tmp_path: Path) -> None:
    file = write(tmp_path, LONG)
    at = Terminal(tmp_path, "run", str(file), "--out", str(tmp_path / "out"))
    at.until("tasks/s")
    at.press(CTRL_C)
    at.until("Ctrl-C again within 3 s stops the workers.")
    assert workers_of(tmp_path / RUN)
    assert at.end() == 130
    said = at.said.decode()
    assert "the workers go on" in said
    assert f"kon run {file} --out {tmp_path / 'out'}" in said
    assert f"kon collect {tmp_path / RUN}" in said
    assert "detached" in said
    assert len(workers_of(tmp_path / RUN)) == 2, "they outlive the command"

    status = json.loads(process("status", tmp_path / RUN, "--json", cwd=tmp_path).stdout)["runs"][0]
    assert status["state"] == "detached"
    assert status["workers"] == 2

    done = process("run", file, "--json", "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["runs"]
    assert (row["done"], row["lost"], row["duplicate_results"], row["duplicate_starts"]) == (300, 0, 0, 0)
    assert row["worker_lives"] == 2, "those that were left were taken over"
    assert sorted(starts(tmp_path / RUN)) == list(range(300))
    assert not workers_of(tmp_path / RUN)


def test_twice_stops_the_workers_and_collect_takes_the_run_up_from_anywhere(tmp_path: Path) -> None:
    at = Terminal(tmp_path, "run", str(write(tmp_path, LONG)), "--out", str(tmp_path / "out"))
    at.until("tasks/s")
    at.press(CTRL_C)
    at.until("stops the workers")
    at.press(CTRL_C)
    assert at.end() == 130
    assert "the workers have ended" in at.said.decode()
    assert not workers_of(tmp_path / RUN)
    [status] = json.loads(process("status", "--root", "out", "--json", cwd=tmp_path).stdout)["runs"]
    assert (status["state"], status["workers"], status["in_flight"]) == ("stopped", 0, 0)
    assert status["queued"] > 0

    (tmp_path / "elsewhere").mkdir()
    done = process("collect", tmp_path / RUN, "--json", cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["runs"]
    assert (row["done"], row["lost"], row["duplicate_starts"]) == (300, 0, 0)
    assert sorted(starts(tmp_path / RUN)) == list(range(300))


def test_three_times_ends_workers_in_the_middle_of_a_task(tmp_path: Path) -> None:
    text = LONG.replace("seconds: 0.02", "seconds: 60")
    at = Terminal(tmp_path, "run", str(write(tmp_path, text)), "--out", str(tmp_path / "out"))
    at.until("0 done")
    at.press(CTRL_C)
    at.until("stops the workers")
    at.press(CTRL_C)
    at.until("Ctrl-C once more ends them at once")
    began_s = time.monotonic()
    at.press(CTRL_C)
    assert at.end() == 130
    assert time.monotonic() - began_s < 8.0, "the drain of 10 s was cut short"
    assert not workers_of(tmp_path / RUN)


def test_with_the_backend_memory_there_is_nothing_to_leave(tmp_path: Path) -> None:
    at = Terminal(tmp_path, "run", str(write(tmp_path, LONG)), "--set", "backend=memory", NO_COLOR="1")
    at.until("tasks/s")
    at.press(CTRL_C)
    assert at.end() == 130
    said = at.said.decode()
    assert "the backend memory lives in this process" in said
    assert "kon collect" not in said
    assert "\x1b[3" not in said, "NO_COLOR asks for none"
    assert "\x1b[9" not in said


def test_a_signal_of_no_person_detaches_at_once_and_workers_that_end_too_early_are_replaced(
    tmp_path: Path,
) -> None:
    gate, tasks = tmp_path / "go", 40
    gate.mkdir()
    file = write(tmp_path, GATED.format(gate=gate, items=list(range(tasks))))
    command = [*KON, "run", str(file), "--json", "--out", str(tmp_path / "out")]
    try:
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            while len(starts(tmp_path / RUN)) < 2:
                assert running.poll() is None
                time.sleep(0.02)
            running.send_signal(signal.SIGTERM)
            said = running.stderr.read()
            assert running.wait(timeout=20) == 130
        assert "detached; the workers go on" in said
        assert "again within" not in said
        left = workers_of(tmp_path / RUN)
        assert len(left) == 2

        again = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with again as running:
            while (tmp_path / RUN / "events" / "client.jsonl").read_text().count("open") < 2:
                assert running.poll() is None
                time.sleep(0.02)
            for pid in left:
                os.kill(pid, signal.SIGTERM)
            for index in starts(tmp_path / RUN):
                (gate / str(index)).touch()
            while len(starts(tmp_path / RUN)) < 4:  # until those in their place have begun
                assert running.poll() is None
                time.sleep(0.02)
            (gate / "all").touch()
            stdout, stderr = running.communicate(timeout=40)
        assert running.returncode == 0, stderr
        [row] = json.loads(stdout)["runs"]
        assert (row["done"], row["duplicate_starts"], row["worker_lives"]) == (tasks, 0, 4)
    finally:
        for pid in workers_of(tmp_path / RUN):
            os.kill(pid, signal.SIGKILL)
