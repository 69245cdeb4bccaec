"""What `kon map` is made of: items read, commands shown, output printed, job logs."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kon.api.progress import ProgressLine
from kon.cli.joblog import COLUMNS, JobLine, JobLog, line_of, read_joblog
from kon.cli.map_output import MOST_TOLD, Printer
from kon.cli.map_sources import Item
from kon.cli.map_tasks import Commands, Slots, make_plan, share
from kon.core.errors import ConfigurationError, StoreError, WorkloadError
from kon.core.task import Outcome, State
from kon.engine.tally import Tally


class TestItems:
    def test_bad_items_are_named(self) -> None:
        with pytest.raises(WorkloadError, match=r"^kon map: item 2: the item holds a NUL character"):
            make_plan(
                "echo",
                ["a", "b\0", "c"],
                {},
                slots=Slots(1, in_one_process=True),
                strategy="lease",
                attempts=1,
                timeout_s=None,
                drain_s=0,
                halts=False,
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

    @pytest.mark.parametrize(
        ("command", "shown"),
        [
            ("x {2} {1}", "x b 'a c'"),
            ("x", "x 'a c' b"),
            ("x {} >{2}.txt; y", "x 'a c' b >b.txt; y"),
            ("x {%} {1}", "x {%} 'a c'"),
            ("x {%} {1};", "x {%} 'a c';"),
        ],
    )
    def test_of_several_items(self, command: str, shown: str) -> None:
        assert Commands(command, [("a c", "b")])[0].decode() == shown

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


ITEMS: Sequence[Item] = ["a", "b", "c", "d"]


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
        assert printer.tell_the_rest() == "; 90 more than are named above"

    def test_a_failure_is_told_once(self, capsysbinary: Captured) -> None:
        said = {"exit": 3, "stdout": "", "stderr": "first\nno luck\n"}
        Printer(ITEMS).print([Outcome(0, 1, State.FAILED, said, "exit 3: no luck")])
        assert capsysbinary.readouterr().err == b"first\nno luck\nkon: task 1 (a): exit 3\n"

    def test_several_items(self, capsysbinary: Captured) -> None:
        printer = Printer([("a", "b")], tag=True)
        printer.print([done(0, "x\n"), failed(0, 1)])
        assert capsysbinary.readouterr() == (b"a b\tx\n", b"kon: task 1 (a b): exit 1\n")

    def test_output_in_a_file(self, capsysbinary: Captured, tmp_path: Path) -> None:
        data = b"\xff\n" * 1_500_000
        cases: list[tuple[dict[str, Any], bytes]] = [
            ({}, data),
            ({"tag": True}, data.replace(b"\xff", b"a\t\xff")),
            ({"files_go": True}, data),
        ]
        for number, (options, expected) in enumerate(cases):
            file = tmp_path / str(number)
            file.write_bytes(data)
            result = {"exit": 0, "stdout": "cut", "stderr": "", "truncated": True, "stdout_file": str(file)}
            Printer(ITEMS, **options).print([Outcome(0, 1, State.DONE, result)])
            assert capsysbinary.readouterr() == (expected, b"")
            assert file.exists() == ("files_go" not in options)

    def test_results(self, tmp_path: Path, capsysbinary: Captured) -> None:
        (tmp_path / "f").write_bytes(b"\xff")
        result = {"exit": 0, "stdout": "out\n", "stderr": "cut", "stderr_file": str(tmp_path / "f")}
        Printer(ITEMS, results=tmp_path / "kept").print([Outcome(2, 1, State.DONE, result)])
        assert (tmp_path / "kept/3/stdout").read_bytes() == b"out\n"
        assert (tmp_path / "kept/3/stderr").read_bytes() == b"\xff"
        assert capsysbinary.readouterr() == (b"out\n", b"\xff")

    def test_a_line_that_is_not_at_its_end(self, capsysbinary: Captured) -> None:
        printer = Printer(ITEMS)
        for text, is_mid_line in (("a", True), ("b\n", False), ("", False)):
            printer.print([done(0, text)])
            assert printer.is_mid_line is is_mid_line

    def test_what_is_not_whole_is_no_output(self, capsysbinary: Captured) -> None:
        """Its task failed of that, as on a full disk: a middle that is missing is for no program to read."""
        text = "a\n[kon left out 9 bytes here]\nz"
        result = {"exit": 0, "stdout": text, "stderr": "said\n", "truncated": True, "stdout_bytes": 11}
        outcome = Outcome(0, 1, State.FAILED, result, "can't be kept whole")
        Printer(ITEMS).print([outcome])
        assert capsysbinary.readouterr() == (b"", b"said\nkon: task 1 (a): can't be kept whole\n")
        Printer(ITEMS, may_cut=True).print([outcome])
        assert capsysbinary.readouterr().out == text.encode()

    def test_a_task_that_left_nothing(self, capsysbinary: Captured) -> None:
        Printer(ITEMS, keep_order=False, tag=False).print(
            [Outcome(1, 1, State.LOST, None, "gone"), Outcome(2, 1, State.CANCELLED, None, "x")]
        )
        assert capsysbinary.readouterr().err == b"kon: task 2 (b): gone\n"

    def test_output_that_is_not_whole_is_no_secret(self, capsysbinary: Captured) -> None:
        Printer(ITEMS, may_cut=True).print(
            [Outcome(0, 1, State.DONE, {"exit": 0, "truncated": True, "encoding_errors": True})]
        )
        told = capsysbinary.readouterr().err
        assert b"kon: task 1: its output is longer than --max-output allows" in told
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

    def test_a_line_is_written_whole(self, tmp_path: Path) -> None:
        """Also where the system takes it in pieces, as when a disk becomes full."""

        class Pieces(io.FileIO):
            def write(self, data: Any) -> int:
                return super().write(bytes(data)[:10])

        joblog = JobLog(tmp_path / "log", self.COMMANDS, append=False)
        joblog.close()
        joblog._file = Pieces(tmp_path / "log", "a")
        joblog.add(failed(0, 3))
        joblog.close()
        assert (tmp_path / "log").read_bytes().endswith(b"\t3\t0\trun a\n")

    def test_written_and_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        log = JobLog(path, self.COMMANDS, append=False)
        log.add(failed(0, 1))
        log.add(done(1, ""))
        log.close()
        assert list(read_joblog(path, self.COMMANDS, 3)) == [JobLine(0, False), JobLine(1, True)]
        again = JobLog(path, self.COMMANDS, append=True)
        again.add(done(0, ""))
        again.close()
        assert list(read_joblog(path, self.COMMANDS, 3)) == [JobLine(0, True), JobLine(1, True)]
        assert path.read_bytes().count(b"Seq") == 1
        JobLog(path, self.COMMANDS, append=False).close()
        assert list(read_joblog(path, self.COMMANDS, 3)) == []

    def test_none_is_there_yet(self, tmp_path: Path) -> None:
        assert list(read_joblog(tmp_path / "log", self.COMMANDS, 3)) == []

    @pytest.mark.parametrize("cut", [b"2", b"2\t:\t1", b"2\t:\t0\t0\t0\t0\t0\t0\trun 'b"])
    def test_the_last_line_cut_short(self, tmp_path: Path, cut: bytes) -> None:
        path = tmp_path / "log"
        path.write_bytes(line_of(done(0, ""), self.COMMANDS[0]) + b"\n" + cut)
        assert list(read_joblog(path, self.COMMANDS, 3)) == [JobLine(0, True)]
        again = JobLog(path, self.COMMANDS, append=True)
        again.add(done(2, ""))
        again.close()
        assert list(read_joblog(path, self.COMMANDS, 3)) == [JobLine(0, True), JobLine(2, True)]

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
        line = ProgressLine(before=2)
        tally = Tally(4)
        tally.count([done(0, ""), failed(1, 1), done(2, "")])
        line.update(tally)
        shown = capsys.readouterr().err
        assert shown.startswith("\r\x1b[K3/4, 1 not done, ")
        assert "tasks/s, " in shown
        line.clear()
        assert capsys.readouterr().err == "\r\x1b[K"

    def test_off_a_terminal_its_end_is_a_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = ProgressLine()
        line.update(Tally(4))
        line.clear()
        assert capsys.readouterr().err == ""
        line.end(Tally(4))
        assert capsys.readouterr().err == "kon: 0/4\n"
