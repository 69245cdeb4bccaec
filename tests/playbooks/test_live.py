"""What shows a run's lines as they come, and what becomes of it when the play is interrupted."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

import pytest

from tests.playbooks.plays import PROJECT

PLUGIN = PROJECT / "playbooks/roles/client/action_plugins/live.py"

LOADED = f"""\
import importlib.util, os, signal, sys, threading, time
spec = importlib.util.spec_from_file_location("live", {str(PLUGIN)!r})
live = importlib.util.module_from_spec(spec)
spec.loader.exec_module(live)
CHILD = "import os, time; print(os.getpid(), file=sys.stderr, flush=True); time.sleep(600)"
ARGV = [sys.executable, "-c", "import sys;" + CHILD]
def follow(show=lambda line: print(line, flush=True)):
    return live.follow(ARGV, "/", show)
"""

# POSIX has the kernel give a signal to any thread that does not block it.
ELSEWHERE = f"""{LOADED}
signal.signal(signal.SIGINT, lambda *_: (os.killpg(0, signal.SIGKILL)))
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
follow()
"""

ORPHAN = f"""{LOADED}
if os.fork() == 0:
    os.setsid()
    follow()
os.wait()
"""


@contextmanager
def _started(code: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that follows another, in a group of its own, and the other's id, which is its first line."""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        try:
            yield process, pid
        finally:
            for each in (process.pid, pid):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait(come: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30.0
    while not come():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@pytest.fixture
def live() -> ModuleType:
    spec = importlib.util.spec_from_file_location("live", PLUGIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lines_come_whole_and_one_at_a_time(live: ModuleType) -> None:
    code = r"""
import os, sys, time
os.write(2, "größer\nhal".encode()[:4]); time.sleep(0.1)
os.write(2, "größer\nhal".encode()[4:]); os.write(1, b"{}\n"); time.sleep(0.1)
os.write(2, b"f\n\n\xff!\nlast"); sys.exit(3)
"""
    shown: list[str] = []
    ended = live.follow([sys.executable, "-c", code], "/", shown.append)
    assert shown == ["größer", "half", "", "\\xff!", "last"] == ended["stderr_lines"]
    assert (ended["rc"], ended["stdout"], ended["stdout_lines"]) == (3, "{}\n", ["{}"])


def test_more_than_a_pipe_holds_is_read(live: ModuleType) -> None:
    code = "import sys; sys.stdout.write('x' * 300000); sys.stderr.write('y\\n' * 100000)"
    ended = live.follow([sys.executable, "-c", code], "/", lambda line: None)
    assert (len(ended["stdout"]), len(ended["stderr_lines"])) == (300000, 100000)


def test_a_signal_that_another_thread_gets_is_seen() -> None:
    with _started(ELSEWHERE) as (process, pid):
        process.send_signal(signal.SIGINT)
        assert process.wait(30.0) == -signal.SIGKILL
        _wait(lambda: not _is_alive(pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["a second Ctrl-C", "SIGKILL"])
def test_nothing_runs_on_when_ansible_was_not_able_to_say_so(number: signal.Signals) -> None:
    with _started(ORPHAN) as (process, pid):
        process.send_signal(number)
        process.wait(30.0)
        _wait(lambda: not _is_alive(pid))
