"""What a fork of the loaded process does is what Python does that is started."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loaded import python
from tests.loaded.process import MODULES

LOOK = "import os, sys; print(sys.argv, sys.path[0], os.getcwd(), os.environ['ITEM'], sys.stdin.read())"


def ended(begin: list[str], *words: str | bytes, to: str, folder: Path) -> tuple[int, bytes, bytes]:
    """Exit code, stdout, and the last line of stderr."""
    found = subprocess.run(
        ["sh", "-c", f'exec "$@" {to}', "sh", *begin, *words],
        cwd=folder, env={**os.environ, "ITEM": "two\nlines"}, input=b"given", capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    return found.returncode, found.stdout, found.stderr.rpartition(b"\n")[0].rpartition(b"\n")[2]


@pytest.mark.parametrize(
    "words",
    [
        ["-c", LOOK, "a b", "", b"caf\xe9", "-c"],
        ["program.py", "a"],
        ["-m", "program"],
        ["-X", "utf8", "-c", LOOK],
        ["-c", "import sys; sys.exit(3)"],
        ["-c", "import sys; sys.exit('no')"],
        ["-c", "import sys; sys.exit(-1)"],
        ["-c", "raise ValueError('no')"],
        ["-c", "import atexit; atexit.register(print, 'last'); print('first')"],
        [
            "-c",
            "import threading, time; threading.Thread(target=lambda: time.sleep(0.1) or print(1)).start()",
        ],
        ["-c", "raise KeyboardInterrupt"],
        ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"],
        ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"],
    ],
    ids=str,
)
def test_it_ends_as_python_does(words: list[str | bytes], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(LOOK)
    started, forked = (ended(begin, *words, to="", folder=tmp_path) for begin in ([sys.executable], python()))
    assert forked == started


@pytest.mark.parametrize("to", [">&-", "2>&-", ">/dev/full", "<&- >&- 2>&-", "<&-"])
@pytest.mark.parametrize("program", ["print(1)", "import sys; print(sys.stdin is None, sys.stdout is None)"])
def test_standard_files_are_handed_over(program: str, to: str, tmp_path: Path) -> None:
    started, forked = (
        ended(begin, "-c", program, to=to, folder=tmp_path)[:2] for begin in ([sys.executable], python())
    )
    assert forked == started


def test_what_runs_here_is_a_fork() -> None:
    """Each was a start of Python, where a shell had set what conftest takes out of the environment."""
    look = "import sys; print('kon.launch.local' in sys.modules)"
    assert subprocess.check_output([*python(), "-c", look], text=True) == "True\n"


def test_what_python_reads_at_its_start_is_as_it_should_be(tmp_path: Path) -> None:
    program = [*python(), "-c", "import sys; print(sys.warnoptions)"]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    assert subprocess.check_output(program, env=environment, cwd=tmp_path, text=True) == "['error']\n"


def test_what_runs_ends_with_who_asked_for_it() -> None:
    program = [*python(), "-c", "import time; print(1, flush=True); time.sleep(600)"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as asks:
        assert asks.stdout is not None
        assert asks.stdout.readline() == b"1\n"
        asks.send_signal(signal.SIGKILL)
        assert asks.stdout.read() == b"", "read once nobody holds the pipe"


def test_what_is_loaded_is_there() -> None:
    assert [name for name in MODULES if importlib.util.find_spec(name) is None] == []
