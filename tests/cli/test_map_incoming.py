"""Items that come slowly to `kon map`: commands start before all are read."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kon.api.feed import Feed
from kon.cli import map_incoming
from kon.cli.map_incoming import Incoming
from tests.cli.mapping import KON, running

pytestmark = pytest.mark.usefixtures("temporary")


class TestItemsThatComeSlowly:
    """Commands start before all items are read."""

    @contextmanager
    def fed(self, folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        with running(
            [*KON, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder
        ) as process:
            yield process

    def test_the_first_is_done_before_the_last_is_there(self, tmp_path: Path) -> None:
        with self.fed(tmp_path, "-k", "-j2", "echo", "got") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for number in range(3):
                process.stdin.write(b"%d\n" % number)
                process.stdin.flush()
                assert process.stdout.readline() == b"got %d\n" % number
            process.stdin.write(b"last, without a line end")
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out, err) == (0, b"got last, without a line end\n", b"")

    def test_halted(self, tmp_path: Path) -> None:
        with self.fed(tmp_path, "--halt", "soon", "-j1", "echo {}; test {} = 1") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for line in (b"1\n", b"0\n"):
                process.stdin.write(line)
                process.stdin.flush()
                assert process.stdout.readline() == line
            assert process.wait(60) == 1
            assert process.stderr is not None
            assert process.stderr.read().decode().splitlines()[0] == "kon: task 2 (0): exit 1"

    def test_interrupted(self, tmp_path: Path) -> None:
        with self.fed(tmp_path, "--joblog", "log", "-j1", "echo") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"1\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"1\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr is not None
            assert b"interrupted with 1 of 1 task ended" in process.stderr.read()
        assert (tmp_path / "log").read_text().count("echo 1") == 1

    def test_one_that_no_command_can_take(self, tmp_path: Path) -> None:
        with self.fed(tmp_path, "-j1", "echo") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"1\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"1\n"
            _, err = process.communicate(b"x\0y\nz\n", timeout=60)
            assert process.returncode == 2
            assert "kon map: item 2: the item holds a NUL character" in err.decode()

    def test_the_first_that_no_command_can_take(self, tmp_path: Path) -> None:
        """Nothing has begun, and nothing is waited for."""
        with self.fed(tmp_path, "-j1", "echo") as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(b"x\0y\n")
            process.stdin.flush()
            assert process.wait(60) == 2
            told = process.stderr.read().decode()
            assert told.startswith("kon: kon map: item 1: the item holds a NUL character")
            assert told.endswith("Items that end with NUL are read with -0\n")


class TestInputWithoutEnd:
    @pytest.mark.long
    def test_it_is_begun_with_and_ends_with_its_reader(self) -> None:
        """As in `yes | kon map echo | head -3`: it was read for ever, and no command began."""
        line = f"yes | {shlex.join([*KON, 'echo', 'got'])} | head -3"
        ended = subprocess.run(["sh", "-c", line], capture_output=True, timeout=60, check=False)
        assert (ended.stdout, ended.stderr) == (b"got y\n" * 3, b"")

    def test_it_is_read_as_fast_as_it_is_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(map_incoming, "LONGEST_S", 0.1)
        monkeypatch.setattr(map_incoming, "MOST_WAITING", 1_000)
        theirs, ours = os.pipe()
        with running(["yes"], stdout=ours):
            os.close(ours)
            incoming = Incoming(theirs, b"\n")
            assert not incoming.is_over
            feed = Feed(1, lambda call, outcome: None)
            incoming.follow(feed, str)
            while feed.total < 1_000:
                time.sleep(0.01)
            time.sleep(0.2)
            assert feed.total <= 1_002
            feed.close(cancels=True)
            while not incoming.is_over:
                time.sleep(0.01)
