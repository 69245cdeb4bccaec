"""`kon map`: what its words mean, for hands that know xargs and GNU parallel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.mapping import KON, kon_map, usage_error

pytestmark = pytest.mark.usefixtures("temporary")


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

    def test_delay(self, tmp_path: Path) -> None:
        """By the worker's clock: how late a command itself looks at one says nothing."""
        kon_map("--delay", "0.3", "-j4", "--joblog", "log", "true", ":::", "1", "2", "3", cwd=tmp_path)
        lines = (tmp_path / "log").read_text().splitlines()[1:]
        first, second, third = sorted(float(line.split("\t")[2]) for line in lines)
        assert second - first > 0.25
        assert third - second > 0.25


class TestUsage:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--resume", "true", ":::", "b"], "--resume: with --out or --joblog"),
            (["-j", "many", "true", ":::", "b"], "expected a number below 1000000, 0 for as many as tasks"),
            (["-j", "1000000", "true", ":::", "b"], "expected a number below 1000000"),
            (["--halt", "later", "true", ":::", "b"], '"later" is not never, soon, now'),
            (["--halt", "now,fail=101%", "true", ":::", "b"], "a share is at most 100%"),
            ([" ", "b"], "the command is empty"),
            (["--json", "--tag", "true", ":::", "b"], "--json and --tag ask for two things"),
            (["--json", "--dry-run", "true", ":::", "b"], "--json and --dry-run ask for two things"),
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
        with open(os.devnull, "w") as closed:  # noqa: PTH123 - as it is where kon is started without one
            monkeypatch.setattr(sys, "stdin", closed)
            usage_error(*words)
        assert said in capsys.readouterr().err
        assert list(temporary.iterdir()) == []
