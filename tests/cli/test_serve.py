"""`kon serve`, `kon run --live` and `kon top`."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import kon.report.live
from kon.core.distribution import install
from kon.core.task import State
from kon.engine.records.events import Event
from tests.cli.given import KON, SLEEPS, invoke, process, write
from tests.report.live.given import HOSTILE, Moving

SHORT = """\
name: moving
backend: memory
workload: {kind: sleep, count: 40, seconds: 0.05}
slots: 1
"""


@contextmanager
def started(*args: str | Path, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [*KON, *map(str, args)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


def body(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        return str(response.read().decode())


def moving(tmp_path: Path) -> Moving:
    records = Moving(tmp_path / "results", 10, slots=2)
    records.begin()
    records.end_tasks(range(3))
    records.end_tasks(range(3, 4), State.FAILED, error="exit 4", result={"stderr": f"{HOSTILE}\x1b[2J[bold]"})
    return records


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    moving(tmp_path)
    with started("serve", "r", cwd=tmp_path) as running:
        assert running.stdout is not None
        link = running.stdout.readline().strip()
        assert re.fullmatch(r"http://localhost:\d+/\?token=[\w-]{43}", link), "which acting on runs needs"
        assert '<script type="module" src="/live.js">' in body(link.partition("?")[0])
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
        assert (running.returncode, out) == (0, "")
        assert (
            err == "for this machine alone; docs/live.md says how to reach it from another. Ctrl-C ends it\n"
        )


def test_beyond_this_machine_the_link_has_a_token(tmp_path: Path) -> None:
    moving(tmp_path)
    with started("serve", "--host", "0.0.0.0", cwd=tmp_path) as running:
        assert running.stdout is not None
        link = running.stdout.readline().strip()
        assert re.fullmatch(rf"http://{re.escape(socket.gethostname())}:\d+/\?token=[\w-]{{43}}", link)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
        assert "whoever has this link can see, cancel and retry these runs" in err


def test_the_page_is_opened_where_that_is_asked_for(tmp_path: Path) -> None:
    moving(tmp_path)
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    os.mkfifo(tmp_path / "opened")
    environment = {**os.environ, "BROWSER": f"{browser} %s"}
    running = subprocess.Popen(
        [*KON, "serve", "--open"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment
    )
    with running:
        try:
            assert running.stdout is not None
            assert (tmp_path / "opened").read_text() == running.stdout.readline()
        finally:
            running.send_signal(signal.SIGINT)
    assert running.returncode == 0


def test_what_can_not_be_served(tmp_path: Path) -> None:
    records = moving(tmp_path)
    (tmp_path / "other").mkdir()
    for args, words in (
        (("serve", "nobody"), 'no run "nobody" below results'),
        (("serve", "other"), "other: is a folder, but not that of a run; it has no run.json"),
        (("serve", "--root", "other"), "there is no run below other; `kon run` makes one"),
        (("top", "nobody"), 'no run "nobody" below results'),
        (("top", "other"), "other: is a folder, but not that of a run"),
        (("top", "--root", "other"), "there is no run below other"),
    ):
        result = invoke(*args)
        assert (result.exit_code, words in result.stderr) == (2, True), result.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = invoke("serve", "--port", port)
        assert (result.exit_code, f"port {port} of 127.0.0.1 is taken" in result.stderr) == (2, True)
    result = invoke("serve", "--host", "192.0.2.1")
    assert (result.exit_code, "is not an address of this machine" in result.stderr) == (2, True)
    records.folder.run_file.write_text('{"schema": 99}')
    for command in ("serve", "top"):
        result = invoke(command, "r")
        assert (result.exit_code, "written by a newer kon" in result.stderr) == (2, True)


def test_without_its_server_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving(tmp_path)
    monkeypatch.setattr(kon.report.live, "find_spec", lambda name: None)
    for args in (("serve",), ("run", write(tmp_path), "--live", "--out", "out")):
        result = invoke(*args)
        assert result.exit_code == 2
        assert "the live page needs aiohttp, which this Python lacks" in result.stderr
        assert install("live") in result.stderr
    assert not Path("out").exists(), "nothing was begun"


def test_a_run_serves_its_page_and_ends_with_it(tmp_path: Path) -> None:
    file = write(tmp_path, SHORT)
    with started("run", file, "--live", "--json", "--quiet", "--out", "out", cwd=tmp_path) as running:
        assert running.stderr is not None
        link = running.stderr.readline().removeprefix("live at ").partition("?")[0].strip()
        seen: list[dict[str, object]] = []
        why = ""
        with urllib.request.urlopen(f"{link}events", timeout=60) as overview:
            while not seen:
                line = overview.readline().decode()
                if line.startswith("data: [{"):
                    seen = json.loads(line.removeprefix("data: "))
        url = f"{link}events?run={seen[0]['id']}"
        states = []
        with urllib.request.urlopen(url, timeout=60) as stream:
            event = ""
            for line in stream:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                event = value if name == "event" else event
                if name == "data" and event == "run":
                    states.append(json.loads(value))
                elif name == "data" and event == "end":
                    why = json.loads(value)["why"]
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert json.loads(out)["runs"][0]["done"] == 40, "stdout is one object, whatever is served"
    assert (states[-1]["state"], states[-1]["done"], states[-1]["left"]) == ("finished", 40, 0)
    assert "kon run has ended" in why
    with pytest.raises(OSError, match="refused"):
        body(link)


def test_a_page_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    file = write(tmp_path, SHORT.replace("0.05", "600"))
    with started("run", file, "--live", "--out", "out", cwd=tmp_path) as running:
        assert running.stderr is not None
        link = running.stderr.readline().removeprefix("live at ").partition("?")[0].strip()
        with urllib.request.urlopen(f"{link}events", timeout=60) as stream:
            running.kill()
            assert b"event: end" in stream.read(), "it waits for as long as the stream goes on"


def test_nothing_is_served_of_a_dry_run(tmp_path: Path) -> None:
    result = invoke("run", write(tmp_path, SLEEPS), "--live", "--dry-run")
    assert (result.exit_code, "live at" in result.output) == (0, False)


def test_top_off_a_terminal_is_one_look(tmp_path: Path) -> None:
    moving(tmp_path)
    result = process("top", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["r: stopped", "10 x sleep, lease on memory, 1 worker, 2 slots each"]
    assert "3 done, 1 failed, 6 left, 0 attempts tried again" in lines
    assert "worker w1.aaaaaa: killed, slots 0/2, tasks 4, failed 1" in lines
    assert "\x1b" not in result.stdout
    assert f"task 3: failed in attempt 1 on w1.aaaaaa: exit 4 | {HOSTILE}\\x1b[2J[bold]" in lines


def test_top_as_an_object(tmp_path: Path) -> None:
    moving(tmp_path)
    result = invoke("top", "r", "--json")
    found = json.loads(result.stdout)
    assert (found["name"], found["done"], found["failures"][0]["task"]) == ("r", 3, 3)


def test_top_takes_the_run_that_goes_on(tmp_path: Path) -> None:
    moving(tmp_path)
    over = Moving(tmp_path / "results" / "other", 99)
    over.folder.write_summary({"done": 99})
    os.utime(over.folder.run_file, (2e9, 2e9))
    assert invoke("top").stdout.startswith("r: stopped\n10 x sleep")


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_top_on_a_terminal_moves_until_somebody_leaves(tmp_path: Path, key: str) -> None:
    records = moving(tmp_path)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    running = subprocess.Popen(
        [*KON, "top", "r"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        screen = _until(ours, "4 of 10 tasks")
        assert HOSTILE[:20] in screen
        assert "\x1b[2J[bold]" not in screen, "what a task prints is not obeyed"
        records.life("w1.aaaaaa").tasks(Event.START, [8])
        records.end_tasks(range(4, 8))
        _until(ours, "8 of 10 tasks")
        os.write(ours, key.encode())
        assert running.wait(60) == 0
    finally:
        running.kill()
        running.wait()
        os.close(ours)


def _until(fd: int, text: str) -> str:
    seen = ""
    while text not in seen:
        ready, _, _ = select.select([fd], [], [], 60)
        assert ready, seen
        seen += os.read(fd, 65_536).decode(errors="replace")
    return seen
