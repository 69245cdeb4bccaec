"""What `kon map` is made of: items read, commands shown, output printed, job logs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from kon.cli.joblog import COLUMNS, Entry, JobLog, line_of, read_joblog
from kon.cli.map_command import Commands
from kon.cli.map_items import read_items, split_command
from kon.cli.map_line import ProgressLine
from kon.cli.map_output import MOST_TOLD, Printer
from kon.cli.map_plan import make_plan, share
from kon.core.errors import ConfigurationError, StoreError, WorkloadError
from kon.core.task import Outcome, State
from kon.engine.client import Tally


class TestItems:
    @pytest.mark.parametrize(
        ("words", "command", "items"),
        [
            (["gzip -k {}"], "gzip -k {}", []),
            (["gzip", "-k", "--", "a"], "gzip", ["-k", "--", "a"]),
            (["gzip", "-k", ":::", "a", ":::"], "gzip -k", ["a", ":::"]),
        ],
    )
    def test_what_is_command_and_what_is_items(
        self, words: list[str], command: str, items: list[str]
    ) -> None:
        assert split_command(words) == (command, items)

    @pytest.mark.parametrize(
        ("text", "null", "items"),
        [
            (b"", False, []),
            (b"a\n\n b \r\nc", False, ["a", " b \r", "c"]),
            (b"a\nb\0\0c", True, ["a\nb", "", "c"]),
            (b"caf\xe9\n", False, ["caf\udce9"]),
        ],
    )
    def test_items_of_a_file(self, tmp_path: Path, text: bytes, null: bool, items: list[str]) -> None:
        file = tmp_path / "items"
        file.write_bytes(text)
        assert list(read_items(str(file), null)) == items

    def test_a_file_that_is_not_there(self) -> None:
        with pytest.raises(WorkloadError, match=r"^--arg-file nowhere: can't be read: No such file"):
            read_items("nowhere", False)

    def test_bad_items_are_named(self) -> None:
        with pytest.raises(WorkloadError, match=r"^kon map: item 2: the item holds a NUL character"):
            make_plan(
                "echo",
                ["a", "b\0", "c"],
                slots=1,
                strategy="lease",
                attempts=1,
                timeout_s=None,
                drain_s=0,
                max_output_bytes=1,
                out=None,
                rerun_failed=False,
            )

    @pytest.mark.parametrize(
        ("slots", "processors", "workers"), [(1, 8, 1), (8, 2, 2), (3, 2, 1), (6, 4, 3), (8, 8, 8)]
    )
    def test_slots_are_shared_evenly(self, slots: int, processors: int, workers: int) -> None:
        assert share(slots, processors) == workers


class TestCommands:
    @pytest.mark.parametrize(
        ("command", "item", "shown"),
        [
            ("gzip -k {}", "a b", "gzip -k 'a b'"),
            ("gzip -k", "$x", "gzip -k '$x'"),
            ("echo {#} | cat", "x", "echo 1 | cat"),
            ("-n {}; true", "a", "-n a; true"),
        ],
    )
    def test_as_one_would_type_them(self, command: str, item: str, shown: str) -> None:
        assert Commands(command, [item])[0].decode() == shown

    def test_quoted_as_the_place_needs(self) -> None:
        shown = Commands("""printf '%s|' {} "<{}>" '[{.}]'""", ["it's $HOME.md"])[0]
        printed = subprocess.run(["sh", "-c", shown], capture_output=True, check=True).stdout
        assert printed == b"it's $HOME.md|<it's $HOME.md>|[it's $HOME]|"

    def test_bytes_stay_as_they_are(self) -> None:
        assert Commands("cat {}", ["caf\udce9"])[0] == b"cat 'caf\xe9'"


Captured = pytest.CaptureFixture[bytes]


def done(index: int, stdout: str, stderr: str = "") -> Outcome:
    return Outcome(index, 1, State.DONE, {"exit": 0, "stdout": stdout, "stderr": stderr})


def failed(index: int, code: int, **more: object) -> Outcome:
    result = {"exit": code, "stdout": "", "stderr": "", **more}
    return Outcome(index, 1, State.FAILED, result, f"exit {code}")


ITEMS: Sequence[str] = ["a", "b", "c", "d"]


class TestPrinter:
    def test_as_they_come(self, capsysbinary: Captured) -> None:
        printer = Printer(ITEMS, keep_order=False, tag=False)
        printer.print([done(2, "2\n", "e2\n"), done(0, "0\n")])
        printer.print([done(1, "1\n")])
        assert capsysbinary.readouterr() == (b"2\n0\n1\n", b"e2\n")

    def test_in_order_of_the_items(self, capsysbinary: Captured) -> None:
        printer = Printer(ITEMS, keep_order=True, tag=False)
        printer.skip([done(1, "1\n")])
        printer.print([done(2, "2\n")])
        assert capsysbinary.readouterr().out == b""
        printer.print([done(0, "0\n")])
        assert capsysbinary.readouterr().out == b"0\n2\n"

    def test_tagged(self, capsysbinary: Captured) -> None:
        printer = Printer(ITEMS, keep_order=False, tag=True)
        printer.print([done(0, "x\n\ny"), done(1, "")])
        assert capsysbinary.readouterr().out == b"a\tx\na\t\na\ty"

    def test_failures_are_told_up_to_a_point(self, capsysbinary: Captured) -> None:
        printer = Printer(["x"] * 100, keep_order=False, tag=False)
        printer.print([failed(index, 3) for index in range(100)])
        told = capsysbinary.readouterr().err.splitlines()
        assert told[0] == b"kon: task 1 (x): exit 3"
        assert len(told) == MOST_TOLD

    def test_a_task_that_left_nothing(self, capsysbinary: Captured) -> None:
        Printer(ITEMS, keep_order=False, tag=False).print(
            [Outcome(1, 1, State.LOST, None, "gone"), Outcome(2, 1, State.CANCELLED, None, "x")]
        )
        assert capsysbinary.readouterr().err == b"kon: task 2 (b): gone\n"

    def test_output_that_is_not_whole_is_no_secret(self, capsysbinary: Captured) -> None:
        Printer(ITEMS, keep_order=False, tag=False).print(
            [Outcome(0, 1, State.DONE, {"exit": 0, "truncated": True, "encoding_errors": True})]
        )
        told = capsysbinary.readouterr().err
        assert b"kon: task 1: its output was longer than is kept" in told
        assert b"kon: task 1: its output was not UTF-8" in told


class TestJobLog:
    COMMANDS = Commands("run {}", ["a", "b\nc", "d"])

    def test_a_line_is_gnu_parallels(self) -> None:
        names = ("Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command")
        assert names == COLUMNS
        outcome = Outcome(1, 1, State.DONE, {"exit": 0, "stdout": "é\n", "stderr": ""}, None, 10.0, 11.25)
        line = line_of(outcome, self.COMMANDS[1])
        assert line == b"2\t:\t10.000\t     1.250\t0\t3\t0\t0\trun 'b\0c'"

    @pytest.mark.parametrize(
        ("outcome", "columns"),
        [
            (failed(0, 3), [b"3", b"0"]),
            (failed(0, 137, signal="SIGKILL"), [b"0", b"9"]),
            (Outcome(0, 1, State.FAILED, None, "timed out after 1 s"), [b"-1", b"0"]),
            (Outcome(0, 1, State.DEAD), [b"-1", b"0"]),
        ],
    )
    def test_how_it_ended(self, outcome: Outcome, columns: list[bytes]) -> None:
        assert line_of(outcome, b"x").split(b"\t")[6:8] == columns

    def test_written_and_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        log = JobLog(path, self.COMMANDS, append=False)
        log.add(failed(0, 1))
        log.add(done(1, ""))
        log.close()
        assert list(read_joblog(path, self.COMMANDS, 3)) == [Entry(0, False), Entry(1, True)]
        again = JobLog(path, self.COMMANDS, append=True)
        again.add(done(0, ""))
        again.close()
        assert list(read_joblog(path, self.COMMANDS, 3)) == [Entry(0, True), Entry(1, True)]
        assert path.read_bytes().count(b"Seq") == 1
        JobLog(path, self.COMMANDS, append=False).close()
        assert list(read_joblog(path, self.COMMANDS, 3)) == []

    def test_none_is_there_yet(self, tmp_path: Path) -> None:
        assert list(read_joblog(tmp_path / "log", self.COMMANDS, 3)) == []

    @pytest.mark.parametrize("cut", [b"2", b"2\t:\t1", b"2\t:\t0\t0\t0\t0\t0\t0\trun 'b"])
    def test_the_last_line_cut_short(self, tmp_path: Path, cut: bytes) -> None:
        path = tmp_path / "log"
        path.write_bytes(line_of(done(0, ""), self.COMMANDS[0]) + b"\n" + cut)
        assert list(read_joblog(path, self.COMMANDS, 3)) == [Entry(0, True)]
        again = JobLog(path, self.COMMANDS, append=True)
        again.add(done(2, ""))
        again.close()
        assert list(read_joblog(path, self.COMMANDS, 3)) == [Entry(0, True), Entry(2, True)]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (b"Seq\tHost\nhello\n", r"log:1: is not a line of a job log"),
            (b"1\t:\t0\t0\t0\t0\tx\t0\trun a\n", r"log:1: is not a line of a job log"),
            (b"1\t:\t0\t0\t0\t0\t0\t0\trun b\n", r'log:1: logs "run b" as task 1, which is not what it'),
            (b"4\t:\t0\t0\t0\t0\t0\t0\trun b\n", r'log:1: logs "run b" as task 4'),
        ],
    )
    def test_of_something_else(self, tmp_path: Path, text: bytes, said: str) -> None:
        path = tmp_path / "log"
        path.write_bytes(text)
        with pytest.raises(ConfigurationError, match=said):
            list(read_joblog(path, self.COMMANDS, 3))

    def test_a_place_that_can_not_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"^--joblog .*: can't be written: Is a directory"):
            JobLog(tmp_path, self.COMMANDS, append=False)


class TestProgressLine:
    def test_speed_is_that_of_this_run(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        line = ProgressLine(quiet=False, before=2)
        tally = Tally(4)
        tally.count([done(0, ""), failed(1, 1), done(2, "")])
        line.update(tally)
        shown = capsys.readouterr().err
        assert shown.startswith("\r\x1b[K3/4, 1 not done, ")
        assert "tasks/s, " in shown
        line.clear()
        assert capsys.readouterr().err == "\r\x1b[K"

    def test_off_a_terminal_nothing_is_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = ProgressLine(quiet=False, before=0)
        line.update(Tally(4))
        line.clear()
        assert capsys.readouterr().err == ""
