"""`kon map`, from the command line to what the commands did."""

from __future__ import annotations

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
        for pipe in (process.stdin, process.stdout, process.stderr):
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
        ended = kon_map("-k", "printf '%s|' {} | od -An -c -v | tr -d ' \\n'; echo", ":::", *items)
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
        ended = kon_map("-0", "-a", "names", "--dry-run", "echo", cwd=tmp_path)
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


class TestHabits:
    """Lines that people type who know xargs or GNU parallel."""

    @pytest.mark.parametrize(
        ("words", "stdin", "out"),
        [
            (["echo", "hello"], b"a\nb\n", b"hello a\nhello b\n"),
            (["-n", "2", "echo"], b"1\n2\n3\n", b"1 2\n3\n"),
            (["-N2", "echo {2} {1}"], b"1\n2\n", b"2 1\n"),
            (["-X", "-j2", "echo"], b"1\n2\n3\n4\n", b"1 2\n3 4\n"),
            (["-I", "%", "echo", "a-%-b"], b"1\n", b"a-1-b\n"),
            (["-d", ",", "echo"], b"1,2", b"1\n2\n"),
            (["-C", ",", "echo {2} {1}"], b"a,b\nc,d\n", b"b a\nd c\n"),
            (["-r", "-P", "0", "echo"], b"1\n2\n", b"1\n2\n"),
            (["-P", "50%", "echo"], b"1\n", b"1\n"),
            (["--stdin", "item", "cat; echo {#}"], b"a b\n", b"a b\n1\n"),
            (["--shell", "bash", "[[ {} == a* ]] && echo yes"], b"abc\n", b"yes\n"),
            (["echo", ":::", "A", "B", ":::", "1", "2"], b"", b"A 1\nA 2\nB 1\nB 2\n"),
            (["echo", "{2}", "{1}", ":::", "A", "B", ":::+", "1", "2"], b"", b"1 A\n2 B\n"),
            (["echo", ":::", "x", "::::", "-"], b"1\n2\n", b"x 1\nx 2\n"),
            (["-j1", "echo {} {%}", ":::", "A", "B"], b"", b"A 1\nB 1\n"),
        ],
    )
    def test_do_what_they_mean(self, words: list[str], stdin: bytes, out: bytes) -> None:
        assert kon_map("-k", *words, stdin=stdin) == (0, out, "")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["echo {1} {2}", ":::", "A"], "the command has {2}, and there is one source of items"),
            (["-N2", "echo {2}", ":::", "1", "2", "3"], "item 2: the command has {2}, and the task 1 item"),
            (["-N2", "echo '{}'", ":::", "1", "2"], "{} stands for several items, and has to be a word"),
            (["-n", "echo {}", "a"], "To see the commands and run none: --dry-run"),
            (["--pipe", "wc", ":::", "a"], "kon map does not take --pipe: a command reads a file or its"),
            (["-S", "host", "wc"], "kon map does not take -S: hosts reach one backend"),
            (["-L", "1", "wc"], "kon map does not take -L: items are whole lines"),
            (["--colsep", ",", "-n2", "x", ":::", "a"], "--colsep and --max-args ask for two things"),
            (["-n2", "x", ":::", "a", ":::", "b"], "are for one source of items, and there are several"),
            (["--stdin", "no-file", "x", ":::", "a"], "--stdin no-file: there is no such file"),
            (["--shell", "no-shell", "x", ":::", "a"], "--shell no-shell: there is no such program"),
            (["--workdir", "nowhere", "x", ":::", "a"], "--workdir nowhere: there is no such folder"),
            (["-k", "-u", "x", ":::", "a"], "--keep-order and --line-buffer ask for two things"),
        ],
    )
    def test_or_are_refused(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str], temporary: Path
    ) -> None:
        usage_error(*words)
        assert said in capsys.readouterr().err
        assert list(temporary.iterdir()) == []

    def test_the_option_that_shows_progress_is_not_taken_for_another(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        usage_error("--etc", "x", ":::", "a")
        assert "--out" not in capsys.readouterr().err

    def test_functions_of_bash(self) -> None:
        script = 'f() { echo "f $1"; }; export -f f; exec "$@"'
        line = ["bash", "-c", script, "bash", *KON, "--shell", "bash", "f", ":::", "a"]
        assert (
            subprocess.run(line, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout == b"f a\n"
        )

    def test_where_commands_run(self, tmp_path: Path) -> None:
        (tmp_path / "w").mkdir()
        (tmp_path / "in").write_text("text")
        ended = kon_map("--workdir", "w", "--stdin", "in", "pwd; cat; : {}", ":::", "a", cwd=tmp_path)
        assert ended.out.decode() == f"{tmp_path}/w\ntext"

    def test_the_folder_for_what_waits(self, tmp_path: Path, temporary: Path) -> None:
        (tmp_path / "t").mkdir()
        command = "ls -d t/kon-*; ls -A temporary"
        ended = kon_map("--tmpdir", "t", "sh", "-c", "{}", ":::", command, cwd=tmp_path)
        assert (ended.code, ended.out.count(b"t/kon-")) == (0, 1)
        assert list((tmp_path / "t").iterdir()) == []

    def test_delay(self) -> None:
        ended = kon_map("--delay", "0.3", "-j4", "date +%s.%N;:", ":::", "1", "2", "3")
        first, second, third = sorted(map(float, ended.out.split()))
        assert second - first > 0.25
        assert third - second > 0.25

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

    def test_progress_off_a_terminal(self) -> None:
        ended = kon_map("--eta", "-j1", "sleep {}", ":::", "5.5", "0.1")
        assert ended.code == 0
        assert "kon: " in ended.err


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
            assert b"interrupted with 1 of 1 tasks ended" in process.stderr.read()
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


class TestUsage:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--resume", "true", ":::", "b"], "--resume: with --out or --joblog"),
            (["-j", "many", "true", ":::", "b"], "expected a number, 0 for as many as tasks"),
            (["--halt", "later", "true", ":::", "b"], '"later" is not never, soon, now'),
            ([" ", "b"], "the command is empty"),
            (["--strategy", "leese", "true", ":::", "b"], 'unknown strategy "leese", did you mean "lease"?'),
            (["echo `{}`", "b"], "where kon can't quote it"),
            (["caf\udce9", ":::", "b"], "the command and its options must be UTF-8 text"),
        ],
    )
    def test_what_can_not_be(
        self,
        words: list[str],
        said: str,
        capsys: pytest.CaptureFixture[str],
        temporary: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sys, "stdin", None)
        usage_error(*words)
        assert said in capsys.readouterr().err
        assert list(temporary.iterdir()) == []


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
        assert ended.stderr == "kon: standard output: can't be written: No space left on device\n"

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


class TestShortage:
    def test_file_descriptors_are_no_fault_of_the_tasks(self) -> None:
        """Fewer run at once, and that is said."""
        line = 'ulimit -n 200; exec "$@"'
        ended = subprocess.run(
            ["bash", "-c", line, "bash", *KON, "-j100", "sleep 0.2; echo {}", ":::", *map(str, range(100))],
            capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (ended.returncode, len(ended.stdout.split())) == (0, 100), ended.stderr
        assert "need more open files than this system allows (ulimit -Hn)" in ended.stderr

    def test_the_soft_limit_is_raised(self) -> None:
        line = 'ulimit -Sn 128; exec "$@"'
        ended = subprocess.run(
            ["bash", "-c", line, "bash", *KON, "-j100", "sleep 0.2; echo {}", ":::", *map(str, range(100))],
            capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (ended.returncode, len(ended.stdout.split()), ended.stderr) == (0, 100, "")


class TestEnds:
    def test_one_that_fails(self) -> None:
        ended = kon_map("-k", "--attempts", "2", "echo {} $KON_ATTEMPT; exit {}", "0", "3")
        assert (ended.code, ended.out) == (1, b"0 1\n3 2\n")
        assert ended.err == "kon: task 2 (3): exit 3\nkon: of 2 tasks 1 failed\n"

    def test_one_that_takes_too_long(self) -> None:
        ended = kon_map("-q", "--timeout", "0.2", "sleep", ":::", "60")
        assert (ended.code, ended.err) == (1, "kon: task 1 (60): timed out after 0.2 s\n")

    def test_json(self) -> None:
        ended = kon_map("--json", "-j2", "exit", ":::", "0", "1")
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

    def test_what_had_ended_is_in_the_job_log(self, tmp_path: Path) -> None:
        """Only what ran at that moment runs again."""
        line = ["--joblog", "log", "-j2", "echo {} >> ran", ":::", *map(str, range(1_000))]
        with running(
            [*KON, *line], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path
        ) as process:
            while not (tmp_path / "ran").exists() or (tmp_path / "ran").stat().st_size < 400:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert process.returncode == 130
        logged = (tmp_path / "log").read_text().count("\n") - 1
        assert f"interrupted with {logged} of 1,000 tasks ended" in err.decode()
        assert kon_map("--resume", *line, cwd=tmp_path).code == 0
        ran = (tmp_path / "ran").read_text().split()
        assert set(ran) == set(map(str, range(1_000)))
        assert len(ran) <= 1_002

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
