"""Ctrl-C while kon loads, reads its command line, or has come to its end: no traceback, and exit code 130 to
a shell."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

AS_IT_LOADS = """
import signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            signal.raise_signal(signal.SIGINT)
        return None

sys.meta_path.insert(0, Finder())
from kon.cli import main
main()
"""

AT_A_LINE = """
import signal, sys

left = int(sys.argv.pop(1))

def trace(frame, event, arg):
    global left
    files = ("click/core.py", "click/parser.py", "cli/group.py", "cli/program.py")
    if not frame.f_code.co_filename.endswith(files):
        return None
    if event == "line":
        left -= 1
        if not left:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
    return trace

from kon.cli import main
sys.settrace(trace)
main()
"""

AT_ITS_END = """
import signal, threading
from kon.cli import main

threading._register_atexit(signal.raise_signal, signal.SIGINT)  # as Python waits for threads
main()
"""


def ended(program: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_as_it_loads(tmp_path: Path) -> None:
    told = ended(AS_IT_LOADS, "config", cwd=tmp_path)
    assert (told.returncode, told.stdout, told.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    "lines", [range(3, 900, 130), pytest.param(range(3, 900, 11), marks=pytest.mark.slow)], ids=len
)
def test_at_a_line_of_what_reads_the_command_line(lines: range, tmp_path: Path) -> None:
    for line in lines:
        told = ended(AT_A_LINE, str(line), "config", "--json", cwd=tmp_path)
        assert told.returncode == 130, (line, told)
        assert told.stderr.strip() == "kon: interrupted", (line, told)


def test_at_its_end(tmp_path: Path) -> None:
    told = ended(AT_ITS_END, "config", cwd=tmp_path)
    assert told.returncode == -signal.SIGINT
    assert "Traceback" not in told.stderr
