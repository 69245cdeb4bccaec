"""`kon map`, from the command line to what the commands did."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kon.cli.group import kon as command_line

KON = [sys.executable, "-c", "from kon.cli import main; main()", "map"]


class Ended(NamedTuple):
    code: int
    out: bytes
    err: str


def kon_map(*words: str | bytes, stdin: bytes = b"", cwd: Path | None = None) -> Ended:
    """`kon map` in a process of its own."""
    ended = subprocess.run(
        [*KON, *words], input=stdin, capture_output=True, timeout=100, cwd=cwd, check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr.decode(errors="replace"))


def usage_error(*words: str) -> str:
    """What a command line that can't be used is answered, in this process."""
    with pytest.raises(SystemExit) as raised:
        command_line.main(["map", *words], prog_name="kon")
    assert raised.value.code == 2
    return ""


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive a test that fails: to wait for it could take forever."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


class TestItems:
    def test_every_item_arrives_as_it_is(self, temporary: Path) -> None:
        items = [b"a b", b"it's", b'"', b"$HOME", b"-n", b"--", b"two\nlines", b"caf\xe9", b"\\", b"*", b""]
        ended = kon_map("-k", "printf '%s|' {} | od -An -c -v | tr -d ' \\n'; echo", *items)
        expected = [
            subprocess.run(["od", "-An", "-c", "-v"], input=item + b"|", capture_output=True, check=True)
            .stdout.replace(b" ", b"")
            .replace(b"\n", b"")
            for item in items
        ]
        assert ended.out.splitlines() == expected
        assert (ended.code, ended.err) == (0, "")
        assert list(temporary.iterdir()) == []

    def test_lines_of_standard_input(self) -> None:
        assert kon_map("-k", "echo '<{}>'", stdin=b"a b\n\n-c\n").out == b"<a b>\n<-c>\n"

    def test_a_file_of_names_that_end_with_nul(self, tmp_path: Path) -> None:
        (tmp_path / "names").write_bytes(b"two\nlines\0-x\0")
        ended = kon_map("-0", "-a", "names", "-n", "echo", cwd=tmp_path)
        assert ended.out == b"echo 'two\nlines'\necho -x\n"

    def test_no_items(self) -> None:
        ended = kon_map("false")
        assert (ended.code, ended.out) == (0, b"")
        assert ended.err == "kon: there are no items, so there is nothing to do\n"
        assert json.loads(kon_map("--json", "-q", "false").out) == {
            "schema": 1,
            "experiment": "map",
            "runs": [],
        }


class TestUsage:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["-a", "x", "true", "b"], "items on the command line and --arg-file: which of the two?"),
            (["--resume", "true", "b"], "--resume: with --out or --joblog"),
            (["-j", "0", "true", "b"], "0 is not in the range"),
            (["--halt", "later", "true", "b"], "'later' is not one of"),
            ([" ", "b"], "the command is empty"),
            (["--strategy", "leese", "true", "b"], 'unknown strategy "leese", did you mean "lease"?'),
            (["echo `{}`", "b"], "where kon can't quote it"),
            (["caf\udce9", "b"], "the command and its options must be UTF-8 text"),
        ],
    )
    def test_what_can_not_be(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str], temporary: Path
    ) -> None:
        usage_error(*words)
        assert said in capsys.readouterr().err
        assert list(temporary.iterdir()) == []

    def test_a_terminal_is_not_read_from(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)
        usage_error("true")
        assert "no items: name them after COMMAND" in capsys.readouterr().err


class TestEnds:
    def test_one_that_fails(self) -> None:
        ended = kon_map("-k", "--attempts", "2", "echo {} $KON_ATTEMPT; exit {}", "0", "3")
        assert (ended.code, ended.out) == (1, b"0 1\n3 2\n")
        assert ended.err == "kon: task 2 (3): exit 3\nkon: of 2 tasks 1 failed\n"

    def test_one_that_takes_too_long(self) -> None:
        ended = kon_map("-q", "--timeout", "0.2", "sleep", "60")
        assert (ended.code, ended.err) == (1, "kon: task 1 (60): timed out after 0.2 s\n")

    def test_json(self) -> None:
        ended = kon_map("--json", "-j2", "exit", "0", "1")
        answer = json.loads(ended.out)
        [row] = answer["runs"]
        assert (answer["schema"], answer["experiment"]) == (1, "exit")
        assert (row["tasks"], row["done"], row["failed"], row["duplicate_starts"]) == (2, 1, 1, 0)
        assert row["workers"] * row["slots"] == 2
        assert ended.code == 1

    def test_slots_are_a_limit(self, tmp_path: Path) -> None:
        command = "mkdir r{#}; set -- r*; test $# -le 3 || touch more; sleep 0.05; rmdir r{#}; test ! -e more"
        assert kon_map("-j3", command, *map(str, range(15)), cwd=tmp_path).code == 0

    @pytest.mark.parametrize("halt", ["soon", "now"])
    def test_halt(self, tmp_path: Path, halt: str) -> None:
        # the first waits for the second to have begun, and fails; the second ends after that
        command = (
            "case {} in 1) until test -e two; do sleep 0.01; done; exit 1;; "
            "2) touch two; sleep 0.7; echo slow;; *) sleep 0.7; echo later;; esac"
        )
        ended = kon_map("--halt", halt, "-j2", command, *map(str, range(1, 20)), cwd=tmp_path)
        assert ended.code == 1
        assert (b"slow" in ended.out) == (halt == "soon")
        assert ended.out.count(b"later") <= 3  # of 17: those begun before the failure was heard of
        assert "cancelled" in ended.err

    def test_nobody_reads_it_any_more(self, tmp_path: Path) -> None:
        command = [*KON, "-j1", "echo {}; echo {} >> ran; sleep 0.5", *map(str, range(1, 50))]
        with running(command, stdout=subprocess.PIPE, cwd=tmp_path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"1\n"
            process.stdout.close()
            assert process.wait(60) == 141
        assert len((tmp_path / "ran").read_text().split()) < 49


class TestResume:
    COMMAND = "echo {}; echo {} >> ran; test -e may || test {} != b"

    def test_records(self, tmp_path: Path) -> None:
        words = ["-k", "--out", "records", self.COMMAND, "a", "b", "c"]
        first = kon_map(*words, cwd=tmp_path)
        assert (first.code, first.out) == (1, b"a\nb\nc\n")
        assert "(kon results" in first.err
        refused = kon_map(*words, cwd=tmp_path)
        assert refused.code == 2
        assert (
            "--out records holds a run echo already; nothing was run. Go on with it by --resume"
            in refused.err
        )
        assert kon_map("--resume", *words, cwd=tmp_path)[:2] == (1, b"")
        (tmp_path / "may").touch()
        assert kon_map("--resume-failed", *words, cwd=tmp_path)[:2] == (0, b"b\n")
        assert sorted((tmp_path / "ran").read_text().split()) == ["a", "b", "b", "c"]
        other = kon_map("--resume", *words[:-1], "d", cwd=tmp_path)
        assert (other.code, "differs in its items" in other.err) == (2, True)

    def test_job_log(self, tmp_path: Path) -> None:
        words = ["-k", "--joblog", "log", self.COMMAND, "a", "b", "c"]
        assert kon_map(*words, cwd=tmp_path).code == 1
        log = (tmp_path / "log").read_text().splitlines()
        lines = sorted(log[1:])
        assert [line.split("\t")[6] for line in lines] == ["0", "1", "0"]
        # as if it had been killed before the third
        (tmp_path / "log").write_text("\n".join([log[0], *lines[:2], ""]))
        resumed = kon_map("--resume", *words, cwd=tmp_path)
        assert resumed[:2] == (1, b"c\n")
        (tmp_path / "may").touch()
        assert kon_map("--resume-failed", *words, cwd=tmp_path)[:2] == (0, b"b\n")
        columns = [line.split("\t") for line in (tmp_path / "log").read_text().splitlines()]
        assert [(line[0], line[6]) for line in columns[1:]] == [
            ("1", "0"),
            ("2", "1"),
            ("3", "0"),
            ("2", "0"),
        ]
        assert sorted((tmp_path / "ran").read_text().split()) == ["a", "b", "b", "c", "c"]


class TestInterrupt:
    def interrupted(self, folder: Path, *words: str, by: int = signal.SIGINT) -> Ended:
        """`kon map` with two commands at once, told to stop once both run."""
        command = "touch {}.begun; until test -e {}.may; do sleep 0.05; done; echo {}"
        line = [*KON, "-k", *words, "-j2", command, "a", "b", "c"]
        with running(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder) as process:
            while not ((folder / "a.begun").exists() and (folder / "b.begun").exists()):
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            process.send_signal(by)
            out, err = process.communicate(timeout=60)
            return Ended(process.returncode, out, err.decode())

    @pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
    def test_without_records_all_is_stopped(self, tmp_path: Path, temporary: Path, by: int) -> None:
        ended = self.interrupted(tmp_path, by=by)
        assert (ended.code, ended.out) == (130, b"")
        assert (
            "interrupted with 0 of 3 tasks ended; those that ran were stopped, and of the others" in ended.err
        )
        assert list(temporary.iterdir()) == []
        running = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True)
        assert "until test -e a.may" not in running.stdout.replace('"$KON_ITEM"', "a")

    def test_with_records_it_goes_on(self, tmp_path: Path) -> None:
        ended = self.interrupted(tmp_path, "--out", "records")
        assert ended.code == 130
        assert "the others go on in the background. To see them end: kon " in ended.err
        for name in "abc":
            (tmp_path / f"{name}.may").touch()
        command = "touch {}.begun; until test -e {}.may; do sleep 0.05; done; echo {}"
        resumed = kon_map("-k", "--resume", "--out", "records", "-j2", command, "a", "b", "c", cwd=tmp_path)
        assert resumed == (0, b"a\nb\nc\n", "")


def test_on_a_terminal_progress_is_told_below_the_output(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [*KON, "-j1", "test {} = a || until test -e go; do sleep 0.05; done; echo {}", "a", "b"]
    with running(command, stdout=theirs, stderr=theirs, cwd=tmp_path) as process:
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
