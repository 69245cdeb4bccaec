"""`kon.map` in a program of its own: what it prints, and how Ctrl-C ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

import kon
from kon.engine.records.records import RunFolder

pytestmark = pytest.mark.usefixtures("temporary")

SCRIPT = """
import sys, time, kon

def slow(path):
    open(path, "w").close()
    time.sleep(60)

if __name__ == "__main__":
    run = dict(workers=2, out={out!r})
    if {background}:
        kon.gather(kon.submit(slow, {items!r}, **run))
    else:
        kon.map(slow, {items!r}, **run)
"""


def interrupted(
    tmp_path: Path, out: str | None, background: bool
) -> tuple[subprocess.CompletedProcess[str], float]:
    """A program that is told to stop, as by Ctrl-C, once its tasks run; and how long its end took."""
    begun = [tmp_path / name for name in ("begun-1", "begun-2")]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(items=[str(path) for path in begun], out=out, background=background))
    environment = {"TMPDIR": tempfile.gettempdir(), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        while not all(path.exists() for path in begun):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        told_s = time.monotonic()
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    ended = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    return ended, time.monotonic() - told_s


class TestInterrupt:
    @pytest.mark.parametrize("background", [False, True])
    def test_without_records_all_ends(self, tmp_path: Path, temporary: Path, background: bool) -> None:
        ended, took_s = interrupted(tmp_path, None, background)
        assert "KeyboardInterrupt" in ended.stderr
        assert took_s < 10  # nor is the time waited for in which a worker that was killed may come back
        assert list(temporary.iterdir()) == []

    def test_with_records_the_workers_go_on(self, tmp_path: Path) -> None:
        ended, took_s = interrupted(tmp_path, str(tmp_path / "out"), background=False)
        assert "kon: run slow goes on" in ended.stderr
        assert took_s < 30
        run = kon.open_run(tmp_path / "out")
        assert run.status().left == 2
        run.cancel()
        assert run.status().state == "finished"
        assert not RunFolder(run.path).events.with_name("kon.db").exists()


PROGRAM = """
import logging, sys
import kon

def says(item):
    print("out", item)
    print("err", item, file=sys.stderr)
    logging.warning("logged %s", item)
    return item

def words(item):
    return sys.argv[1:]

def doubled(item):
    return 2 * item

def with_a_run_of_its_own(item):
    return sum(kon.map(doubled, range(item), workers=1))

def a_set(item):
    print("called")
    return {item}

def no_number(item):
    print("called")
    return float("nan")

if __name__ == "__main__":
    print(kon.map(globals()[sys.argv[1]], [3], workers=1, **eval(sys.argv[2])))
"""


class TestProgram:
    """What a program of its own sees."""

    def run(self, tmp_path: Path, function: str, **options: Any) -> subprocess.CompletedProcess[str]:
        (tmp_path / "p.py").write_text(PROGRAM)
        line = [sys.executable, "p.py", function, repr(options)]
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False)

    @pytest.mark.parametrize(
        "options",
        [{}, {"backend": "memory"}, {"options": {"pool": "threads"}}, {"options": {"pool": "inline"}}],
    )
    def test_what_functions_write_is_shown(self, tmp_path: Path, options: dict[str, Any]) -> None:
        ran = self.run(tmp_path, "says", **options)
        assert ran.stdout == "out 3\n[3]\n"
        assert ran.stderr == "err 3\nWARNING:root:logged 3\n"

    def test_the_words_of_the_program(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "words").stdout == "[['words', '{}']]\n"

    def test_a_run_inside_a_run(self, tmp_path: Path) -> None:
        ran = self.run(tmp_path, "with_a_run_of_its_own", attempts=1)
        assert (ran.stdout, ran.stderr) == ("[6]\n", "")

    @pytest.mark.parametrize(
        ("function", "said"), [("a_set", "a set, is not a JSON value"), ("no_number", "is not a JSON value")]
    )
    def test_a_result_that_can_not_travel_is_not_made_again(
        self, tmp_path: Path, function: str, said: str
    ) -> None:
        ran = self.run(tmp_path, function, attempts=3)
        assert ran.stdout == "called\n"
        assert said in ran.stderr
