"""A run that no file describes."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    "body", [float("nan"), [1, {"a": float("inf")}], object(), "\ud800", {1: {2: -float("inf")}}]
)
def test_what_json_cant_hold(body: Any) -> None:
    options = {"function": "math:sqrt"}
    with pytest.raises(WorkloadError, match=r"items\[1\]: expected (a JSON value|finite numbers), found"):
        single("python", options, [1, body])


def test_bodies_that_the_kind_refuses() -> None:
    with pytest.raises(WorkloadError, match=r"items\[1\]: expected the seconds to sleep"):
        single("sleep", {}, [1, -1])


def test_no_bodies() -> None:
    with pytest.raises(WorkloadError, match="items: there is no task in it"):
        single("sleep", {}, [])


@pytest.mark.parametrize(
    ("bodies", "found"), [("abc", '"abc"'), (iter([1]), "a list_iterator"), ({}, "an empty mapping")]
)
def test_only_what_can_be_read_again_is_a_list_of_bodies(bodies: Any, found: str) -> None:
    with pytest.raises(ConfigurationError, match=f"kon: expected a list of tasks, found {found}"):
        single("shell", {}, bodies)


def test_settings_are_checked_as_in_a_file() -> None:
    with pytest.raises(ConfigurationError) as caught:
        single("shell", {"comand": "x"}, [], slotz=4, attempts="3", workers=0, caller="kon map")
    assert str(caught.value).splitlines() == [
        "kon map: workers: expected a whole number from 1 to 100000, found 0",
        'kon map: attempts: expected a whole number from 1 to 32, found "3"',
        'kon map: slotz: unknown key "slotz", did you mean "slots"?',
        'kon map: workload: comand: unknown option "comand" of kind shell, did you mean "command"? '
        "(it takes command, shell, env, cwd, stdin, stdin_file, stdin_item, positions, "
        "max_output_bytes, exact_output, ok_exit_codes, kill_grace_s, inputs, outputs, delay_s, max_load, "
        "min_free_bytes, here)",
    ]


def test_unknown_names() -> None:
    with pytest.raises(UnknownPlugin, match='did you mean "shell"'):
        single("shel", {}, ["a"])
    with pytest.raises(ConfigurationError, match="run: expected at most 60 letters"):
        single("sleep", {}, [0], run="a/b")


def test_a_backend_that_simulates_does_no_work() -> None:
    with pytest.raises(ConfigurationError, match='the backend "sim" simulates, and does none of the work'):
        single("sleep", {}, [0.1], backend="sim")
