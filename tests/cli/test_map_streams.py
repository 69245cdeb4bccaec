"""What `kon map` prints: whole, in order, as it comes, on a terminal."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.mapping import KON, kon_map, running

pytestmark = pytest.mark.usefixtures("temporary")


class TestStreams:
    def test_output_is_byte_for_byte(self, tmp_path: Path) -> None:
        """Also where it is long, and where it is not text."""
        data = {"long": b"line of text\n" * 400_000, "bytes": bytes(range(256)) * 10}
        for name, content in data.items():
            (tmp_path / name).write_bytes(content)
            ended = kon_map("--results", "kept", "cat", ":::", name, cwd=tmp_path)
            assert (ended.code, ended.err) == (0, "")
            assert ended.out == content
            assert (tmp_path / "kept/1/stdout").read_bytes() == content

    def test_to_a_file_that_is_appended_to(self, tmp_path: Path) -> None:
        """The kernel doesn't copy to such a one."""
        (tmp_path / "to").write_bytes(b"before\n")
        with (tmp_path / "to").open("ab") as to:
            subprocess.run([*KON, "seq", ":::", "50000"], stdin=subprocess.DEVNULL, stdout=to, check=True)
        expected = b"before\n" + b"".join(b"%d\n" % number for number in range(1, 50_001))
        assert (tmp_path / "to").read_bytes() == expected

    def test_to_a_pipe_that_does_not_wait(self) -> None:
        """One of its other users, such as node, has made it so; then whoever writes too fast is refused."""
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        with running(
            [*KON, "-k", "seq", ":::", "9999", "50000"], stdin=subprocess.DEVNULL, stdout=theirs
        ) as it:
            os.close(theirs)
            time.sleep(1)
            with open(ours, "rb") as pipe:  # noqa: PTH123 - a descriptor
                out = pipe.read()
            assert it.wait(60) == 0
        assert out.split() == [b"%d" % each for last in (9_999, 50_000) for each in range(1, last + 1)]

    def test_limited_where_that_is_asked_for(self) -> None:
        ended = kon_map("--max-output", "20", "seq", ":::", "1000")
        assert b"[kon left out" in ended.out
        assert "longer than --max-output allows" in ended.err

    def test_it_is_kept_with_the_records(self, tmp_path: Path) -> None:
        words = ["--out", "records", "seq", ":::", "100000"]
        assert kon_map(*words, cwd=tmp_path).out == b"".join(b"%d\n" % each for each in range(1, 100_001))
        [kept] = (tmp_path / "records/seq/output").iterdir()
        assert kept.read_bytes().endswith(b"\n100000\n")

    @pytest.mark.parametrize("command", ["echo", "seq"])
    def test_a_disk_that_is_full(self, tmp_path: Path, command: str) -> None:
        ended = subprocess.run(
            ["sh", "-c", 'exec "$@" >/dev/full', "sh", *KON, command, ":::", "100000"],
            capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert ended.returncode == 2
        assert ended.stderr == (
            "kon: standard output: can't be written: No space left on device. What ran was stopped, and "
            "nothing is recorded\n"
        )

    def test_standard_output_closed(self, tmp_path: Path) -> None:
        ended = subprocess.run(
            ["sh", "-c", 'exec "$@" >&-', "sh", *KON, "echo {}; touch ran", ":::", "a"],
            capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL, cwd=tmp_path,
        )  # fmt: skip
        assert ended.returncode == 2
        assert ended.stderr.startswith("kon: standard output is closed")
        assert not (tmp_path / "ran").exists()

    def test_failures_are_counted(self) -> None:
        ended = kon_map("-j2", "echo said >&2; exit 3", ":::", *map(str, range(15)))
        lines = ended.err.splitlines()
        assert lines.count("said") == 15
        assert next(line for line in lines if line.startswith("kon: task")).endswith("): exit 3")
        assert lines[-1] == "kon: of 15 tasks 15 failed; 5 more than are named above"

    def test_output_as_it_comes(self, tmp_path: Path) -> None:
        command = "echo {} begins; until test -e go; do sleep 0.05; done; echo {} ends; printf no-line-end"
        line = [*KON, "-j2", "--line-buffer", "--tag", command, ":::", "a", "b"]
        with running(line, stdout=subprocess.PIPE, cwd=tmp_path) as process:
            assert process.stdout is not None
            begun = sorted(process.stdout.readline() for _ in range(2))
            assert begun == [b"a\ta begins\n", b"b\tb begins\n"]
            (tmp_path / "go").touch()
            rest = process.stdout.read()
            assert process.wait(60) == 0
        assert sorted(rest.replace(b"no-line-end", b"no-line-end\n").split(b"\n")) == [
            b"",
            b"a\ta ends",
            b"a\tno-line-end",
            b"b\tb ends",
            b"b\tno-line-end",
        ]

    @pytest.mark.long
    def test_progress_off_a_terminal(self) -> None:
        ended = kon_map("--eta", "-j1", "sleep {}", ":::", "5.5", "0.1")
        assert ended.code == 0
        assert "kon: " in ended.err


def test_on_a_terminal_progress_is_told_below_the_output(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [*KON, "-j1", "test {} = a || until test -e go; do sleep 0.05; done; echo {}", "a", "b"]
    environment = {**os.environ, "TERM": "xterm"}  # without one there is no line to wipe
    with running(command, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
                if b"\r\x1b[K1/2, " in shown:
                    (tmp_path / "go").touch()
        except OSError:  # the terminal has no writer any more
            pass
        assert process.wait(60) == 0
    os.close(ours)
    # on a quick machine the first one ends before there is any progress to wipe
    assert shown.startswith(b"a\r\n") or b"\r\x1b[Ka\r\n" in shown
    assert b"\r\x1b[Kb\r\n" in shown
    assert b"tasks/s" not in shown.rpartition(b"\r\x1b[K")[2]  # it is wiped at the end


def test_on_a_terminal_unfinished_lines_stay(tmp_path: Path) -> None:
    """The line of progress must not wipe what has no line end yet."""
    ours, theirs = os.openpty()
    command = [*KON, "-k", "-j1", "printf %s {}; sleep 0.4", ":::", "AAA", "BBB", "CCC"]
    environment = {**os.environ, "TERM": "xterm"}
    with running(command, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # the terminal has no writer any more
            pass
        assert process.wait(60) == 0
    os.close(ours)
    assert shown.endswith(b"AAABBBCCC")
