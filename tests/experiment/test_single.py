"""A run that no file describes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import ConfigurationError, UnknownPlugin, WorkloadError
from kon.core.spec import Plugin
from kon.experiment import single


def test_a_list_of_bodies() -> None:
    cell = single("sleep", {}, [0, 0.5, 1], slots=4, workers=2, backend="memory")
    assert list(cell.workload.bodies(2)) == [0, 0.5, 1]
    assert cell.spec.run == "map-lease-w2-r1"
    assert (cell.spec.tasks, cell.spec.ideal_s, cell.spec.slots) == (3, 1.5, 4)
    assert (cell.spec.kind, cell.spec.backend) == (Plugin("sleep"), Plugin("memory"))


def test_names_and_strategies() -> None:
    cell = single("sleep", {}, [0], run="mine", strategy={"name": "lease", "lease_s": 5})
    assert cell.spec.run == "mine"
    assert cell.spec.strategy == Plugin("lease", {"lease_s": 5})
    assert single("sleep", {}, [0], name="job").spec.run == "job-lease-w1-r1"


def test_options_of_the_kind() -> None:
    cell = single("shell", {"command": "echo {}", "env": {"A": "1"}}, ["a", 5])
    assert cell.spec.kind == Plugin("shell", {"command": "echo {}", "env": {"A": "1"}})
    assert list(cell.workload.bodies(1)) == ["a", 5]


def test_what_can_be_read_once_is_kept_in_a_file(tmp_path: Path) -> None:
    cell = single("stats", {}, ([number, 2**70] for number in range(3)), spool=tmp_path)
    assert cell.spec.tasks == 3
    for _ in range(2):
        assert list(cell.workload.bodies(1)) == [[0, 2**70], [1, 2**70], [2, 2**70]]
    assert len(list(tmp_path.iterdir())) == 1
    del cell
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_equal_bodies_are_the_same_run_however_they_come() -> None:
    assert single("sleep", {}, [1, 2]).spec.key() == single("sleep", {}, iter([1, 2])).spec.key()


@pytest.mark.parametrize(
    "body", [float("nan"), [1, {"a": float("inf")}], object(), "\ud800", {1: {2: -float("inf")}}]
)
@pytest.mark.parametrize("as_list", [True, False])
def test_what_json_cant_hold(body: Any, as_list: bool) -> None:
    def some() -> Iterator[Any]:
        yield 1
        yield body

    options = {"function": "math:sqrt"}
    with pytest.raises(WorkloadError, match=r"items\[1\]: expected (a JSON value|finite numbers), found"):
        single("python", options, [1, body] if as_list else some())


def test_bodies_that_the_kind_refuses() -> None:
    with pytest.raises(WorkloadError, match=r"items\[1\]: expected the seconds to sleep"):
        single("sleep", {}, [1, -1])
    with pytest.raises(WorkloadError, match=r"items\[1\]: expected the seconds to sleep"):
        single("sleep", {}, iter([1, "x"]))


@pytest.mark.parametrize("nothing", [[], iter(())])
def test_no_bodies(nothing: Any) -> None:
    with pytest.raises(WorkloadError, match="items: there is no task in it"):
        single("sleep", {}, nothing)


def test_text_is_no_list_of_bodies() -> None:
    with pytest.raises(ConfigurationError, match='kon: expected a list of tasks, found "abc"'):
        single("shell", {}, "abc")


def test_an_iterator_that_fails_is_the_callers_own_error() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        single("sleep", {}, failing())


def test_settings_are_checked_as_in_a_file() -> None:
    with pytest.raises(ConfigurationError) as caught:
        single("shell", {"comand": "x"}, [], slotz=4, attempts="3", workers=0, caller="kon map")
    assert str(caught.value).splitlines() == [
        "kon map: workers: expected a whole number from 1 to 100000, found 0",
        'kon map: attempts: expected a whole number from 1 to 32, found "3"',
        'kon map: slotz: unknown key "slotz", did you mean "slots"?',
        'kon map: workload: comand: unknown option "comand" of kind shell, did you mean "command"? '
        "(it takes command, shell, env, cwd, stdin, max_output_bytes, ok_exit_codes, kill_grace_s, "
        "inputs, outputs)",
    ]


def test_unknown_names() -> None:
    with pytest.raises(UnknownPlugin, match='did you mean "shell"'):
        single("shel", {}, ["a"])
    with pytest.raises(ConfigurationError, match="run: expected at most 60 letters"):
        single("sleep", {}, [0], run="a/b")


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="items: can't be kept in a temporary file"):
        single("sleep", {}, iter([0]), spool=tmp_path / "no" / "folder")


def test_a_backend_that_simulates_does_no_work() -> None:
    with pytest.raises(ConfigurationError, match='the backend "sim" simulates, and does none of the work'):
        single("sleep", {}, [0.1], backend="sim")
