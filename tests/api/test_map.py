"""`kon.map`: results in order, failures told, records kept or not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kon
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.records import RunFolder
from tests.api.functions import (
    count_call,
    double,
    echo,
    fail_on_odd,
    fail_without,
    power,
    says,
    with_keys_that_are_no_text,
    words_of_the_program,
)

HERE: dict[str, Any] = {"backend": "memory", "workers": 2, "backoff_s": 0.0}
"""Workers in this process; functions are called in processes all the same."""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made; a test may look whether any is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_results_are_in_order_of_the_items(temporary: Path) -> None:
    assert kon.map(double, range(30), **HERE) == [2 * number for number in range(30)]
    assert list(temporary.iterdir()) == []


def test_in_worker_processes(temporary: Path) -> None:
    assert kon.map(double, [1, 2.5]) == [2, 5.0]
    assert list(temporary.iterdir()) == []


def test_items_that_can_be_read_only_once() -> None:
    def items() -> Iterator[int]:
        yield from range(5)

    assert kon.map(double, items(), **HERE) == [0, 2, 4, 6, 8]


def test_no_items() -> None:
    assert kon.map(double, []) == []
    assert kon.map(double, iter(())) == []


def test_arguments_spread() -> None:
    assert kon.map(power, [(3,), [2, 5], {"base": 2, "exponent": 3}], spread=True, **HERE) == [9, 32, 8]


def test_items_arrive_unchanged() -> None:
    items = ["", "é \0", None, True, -1.5, [1, [2]], {"a": {"b": None}}]
    assert kon.map(echo, items, **HERE) == items


def test_a_command() -> None:
    results = kon.map("echo {}; echo '{/}' >&2", ["a b", Path("x/$HOME"), 3], **HERE)
    assert [each["stdout"] for each in results] == ["a b\n", "x/$HOME\n", "3\n"]
    assert [each["stderr"] for each in results] == ["a b\n", "$HOME\n", "3\n"]


def test_a_command_as_words_and_its_options(tmp_path: Path) -> None:
    options = {"cwd": str(tmp_path), "env": {"GREETING": "hello"}}
    [result] = kon.map(["sh", "-c", "echo $GREETING $1; pwd", "-", "{}"], ["$x"], options=options, **HERE)
    assert result["stdout"] == f"hello $x\n{tmp_path}\n"


def test_names_of_files_that_are_not_utf8(tmp_path: Path) -> None:
    odd = tmp_path / "caf\udce9"
    odd.write_text("found")
    [whole, _] = kon.map("cat {}", [odd, bytes(odd)], **HERE)
    assert whole["stdout"] == "found"


def test_failures_are_told_together() -> None:
    with pytest.raises(kon.TaskFailed) as raised:
        kon.map(fail_on_odd, range(4), attempts=1, **HERE)
    error = raised.value
    assert str(error).startswith("2 of 4 tasks of run fail_on_odd are not done (the others: 3); the first: ")
    assert str(error).endswith("task 1 failed: ValueError: 1 is odd")
    assert (error.index, error.state) == (1, "failed")
    assert [each.index for each in error.failures] == [1, 3]
    assert "raise ValueError" in error.result["traceback"]
    assert any("raise ValueError" in note for note in error.__notes__)


def test_failures_in_their_places() -> None:
    values = kon.map(fail_on_odd, range(4), attempts=1, return_exceptions=True, **HERE)
    assert [values[0], values[2]] == [0, 2]
    assert [type(values[1]), str(values[3])] == [kon.TaskFailed, "task 3 failed: ValueError: 3 is odd"]


def test_a_command_that_fails() -> None:
    [value] = kon.map("echo said; exit {}", [3], attempts=1, return_exceptions=True, **HERE)
    assert str(value) == "task 0 failed: exit 3"
    assert value.result["exit"] == 3
    assert value.result["stdout"] == "said\n"


def test_a_task_that_takes_too_long() -> None:
    [value] = kon.map("sleep {}", [60], attempts=1, timeout_s=0.1, return_exceptions=True, **HERE)
    assert "timed out after 0.1 s" in str(value)


def test_attempts(tmp_path: Path) -> None:
    calls = str(tmp_path / "calls")
    command = f"echo x >> {calls}; test $(wc -l < {calls}) -ge {{}}"
    assert kon.map(command, [2], attempts=2, **HERE)[0]["exit"] == 0


def test_inside_a_running_event_loop() -> None:
    async def main() -> list[Any]:
        return kon.map(double, [1], **HERE)

    assert asyncio.run(main()) == [2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"strategy": "leese"}, r'kon\.map.*unknown strategy "leese", did you mean "lease"'),
        ({"backend": "sqlit"}, r'kon\.map.*unknown backend "sqlit", did you mean "sqlite"'),
        ({"workers": 0}, r"kon\.map.*workers"),
        ({"timeout_s": -1}, r"kon\.map.*timeout_s"),
        ({"atempts": 3}, r'kon\.map.*"atempts".*did you mean "attempts"'),
        ({"options": {"pol": "threads"}}, r'unknown .*"pol".*did you mean "pool"'),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    temporary: Path, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(kon.ConfigurationError, match=said):
        kon.map(double, [1], **arguments)
    assert list(temporary.iterdir()) == []


def test_a_command_that_can_not_be_recorded() -> None:
    with pytest.raises(kon.ConfigurationError, match=r"must be UTF-8 text, .* and 'caf.udce9' is not"):
        kon.map("caf\udce9", ["a"])


@pytest.mark.parametrize("work", [3, [], "", " ", [1], ["ls", 2]])
def test_what_is_no_work(work: Any) -> None:
    with pytest.raises(kon.ConfigurationError, match="expected a function, a command or a list of words"):
        kon.map(work, [1])


def test_a_bad_item_is_named() -> None:
    with pytest.raises(kon.ConfigurationError, match=r"kon\.map: items\[2\]: b'x' is a bytes"):
        kon.map(echo, [1, 2, b"x"])


class TestRecords:
    def test_they_are_kept_and_not_made_again(self, tmp_path: Path) -> None:
        out, calls = tmp_path / "out", str(tmp_path / "calls")
        assert kon.map(count_call, [calls], out=out, **HERE) == [1]
        assert kon.map(count_call, [calls], out=out, **HERE) == [1]
        assert Path(calls).read_text() == "x"
        row = json.loads((out / "count_call" / "summary.json").read_text())
        assert (row["tasks"], row["done"]) == (1, 1)

    def test_of_other_items_are_refused(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        kon.map(double, [1, 2], out=out, **HERE)
        with pytest.raises(kon.ConfigurationError, match="holds a run double that differs in its items"):
            kon.map(double, [1, 3], out=out, **HERE)
        with pytest.raises(kon.ConfigurationError, match="differs in its strategy or backend"):
            kon.map(double, [1, 2], out=out, strategy="none", **HERE)

    def test_other_numbers_of_workers_are_no_other_run(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        kon.map(double, [1, 2], out=out, **HERE)
        assert kon.map(double, [1, 2], out=out, **{**HERE, "workers": 1}) == [2, 4]

    def test_what_failed_is_run_again_when_asked_for(self, tmp_path: Path) -> None:
        out, files = tmp_path / "out", [str(tmp_path / "a"), str(tmp_path / "b")]
        Path(files[0]).touch()
        with pytest.raises(kon.TaskFailed, match=r"1 of 2 .*records in .*fail_without"):
            kon.map(fail_without, files, attempts=1, out=out, **HERE)
        Path(files[1]).touch()
        with pytest.raises(kon.TaskFailed, match="1 of 2"):
            kon.map(fail_without, files, attempts=1, out=out, **HERE)
        Path(files[0]).unlink()  # it is done, and not looked at again
        assert kon.map(fail_without, files, attempts=1, out=out, rerun_failed=True, **HERE) == files

    def test_what_a_killed_program_had_recorded_is_not_repeated(self, tmp_path: Path) -> None:
        """Its queue was in its memory, so that nothing but the records tells."""
        out, calls = tmp_path / "out", [str(tmp_path / name) for name in "abc"]
        kon.map(count_call, calls, out=out, **HERE)
        folder = RunFolder(out / "count_call")
        folder.summary.unlink()
        outcomes = [Outcome(0, 1, State.DONE, 1), Outcome(1, 1, State.FAILED, None, "no")]
        folder.results.write_bytes(encode(Answers("w1", outcomes)) + b"\n")
        values = kon.map(count_call, calls, out=out, return_exceptions=True, **HERE)
        assert [values[0], str(values[1]), values[2]] == [1, "task 1 failed: no", 2]

    def test_what_was_cancelled_is_run_again_and_what_failed_is_not(self, tmp_path: Path) -> None:
        out, files = tmp_path / "out", [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c")]
        command = "test -e {} || { touch {}; case {} in *a) exit 1;; *) sleep 60;; esac; }"
        run = kon.submit(command, files, attempts=1, drain_s=0, out=out, **{**HERE, "workers": 1})
        next(run.results())
        run.cancel()
        # one failed, one was stopped as it ran, which is no failure, and one was never begun
        assert (run.status().failed, run.status().cancelled) == (1, 2)
        Path(files[2]).touch()
        again = kon.map(command, files, attempts=1, drain_s=0, out=out, return_exceptions=True, **HERE)
        assert [getattr(each, "state", "done") for each in again] == ["failed", "done", "done"]


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


def test_results_that_would_change_are_refused() -> None:
    """{1: "a", "1": "b"} has one key less as JSON."""
    with pytest.raises(kon.TaskFailed, match=r"would not be the same as JSON: the key 1 is not a text"):
        kon.map(with_keys_that_are_no_text, [1], **HERE)


def test_output_of_before_is_not_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shown in ("to stdout 1\n", ""):
        assert kon.map(says, [1], out=tmp_path / "out", **HERE) == [1]
        assert capsys.readouterr().out == shown


def test_functions_find_the_words_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prog", "a b"])
    assert kon.map(words_of_the_program, [1], **HERE) == [["prog", "a b"]]


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_the_output_of_a_command_is_whole(backend: str, tmp_path: Path) -> None:
    [long, odd] = kon.map(
        "printf {}; seq 100000; seq 100000 >&2",
        ["first ", "\udcff"],
        backend=backend,
        workers=1,
        out=tmp_path / "out",
    )
    numbers = "".join(f"{number}\n" for number in range(1, 100_001))
    assert long == {"exit": 0, "stdout": f"first {numbers}", "stderr": numbers}
    assert os.fsencode(odd["stdout"]) == b"\xff" + numbers.encode()
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    [again, _] = kon.gather(kon.open_run(moved))
    assert again == long


def test_the_output_of_a_command_that_failed_is_whole() -> None:
    [value] = kon.map("seq 100000; exit {}", [3], attempts=1, return_exceptions=True, **HERE)
    assert value.result["stdout"].startswith("1\n2\n")
    assert value.result["stdout"].endswith("\n100000\n")
    assert len(value.result["stdout"]) == 588_895


def test_output_is_cut_where_that_is_asked_for() -> None:
    [value] = kon.map("seq 100000; true {}", [3], options={"max_output_bytes": 100}, **HERE)
    assert value["truncated"]
    assert value["stdout_bytes"] == 588_895
    assert len(value["stdout"]) < 200


def test_where_output_can_not_be_kept_whole_its_task_fails() -> None:
    """As on backends that machines share: there is no folder that both reach."""
    long, odd, short = kon.map(
        ["sh", "-c", "$1; echo ended", "-", "{}"],
        ["seq 100000", "printf \\377", "true"],
        options={"exact_output": True},
        return_exceptions=True,
        **HERE,
    )
    assert "its output has 588,901 bytes, and 65,536 are kept; the command has run to its end" in str(long)
    assert "its output is not UTF-8" in str(odd)
    assert short["stdout"] == "ended\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chunksize", "`bundle` is the number of tasks"),
        ("n_jobs", "`workers` is the number of worker processes"),
        ("timeout", "`timeout_s` is the longest"),
        ("cwd", 'options={"cwd": ...}'),
    ],
)
def test_an_argument_of_another_library_is_told_what_it_is_here(name: str, said: str) -> None:
    argument: dict[str, Any] = {name: 1}
    with pytest.raises(kon.ConfigurationError, match=f"there is no argument {name}; ") as raised:
        kon.map(double, [1], **argument, **HERE)
    assert said in str(raised.value)


def test_two_iterables_are_refused_with_the_way_to_write_it() -> None:
    with pytest.raises(kon.ConfigurationError, match=r"kon.map\(function, zip\(a, b\), spread=True\)"):
        kon.map(power, [1], [2], **HERE)


@pytest.mark.parametrize(
    "call",
    [
        lambda: kon.map(double, [1], out=""),
        lambda: kon.submit(double, [1], out=""),
        lambda: kon.open_run(""),
        lambda: kon.Executor(out=""),
    ],
)
def test_an_empty_name_of_a_folder_is_refused(
    call: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty path would be the current folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(kon.ConfigurationError, match="the name of the folder is empty"):
        call()
    assert list(here.iterdir()) == []
