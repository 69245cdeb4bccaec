"""`kon.map`: results in order, failures told, and arguments that are wrong."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kon
from tests.api.functions import (
    double,
    echo,
    fail_on_odd,
    power,
    says,
    with_keys_that_are_no_text,
    words_of_the_program,
)

pytestmark = pytest.mark.usefixtures("temporary")

HERE: dict[str, Any] = {"backend": "memory", "workers": 2, "backoff_s": 0.0}
"""Workers in this process; functions are called in processes all the same."""


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
