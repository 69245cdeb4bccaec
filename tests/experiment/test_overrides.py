"""`--set key=value`."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.core.errors import ConfigurationError
from kon.core.spec import Plugin
from kon.experiment import loads
from tests.experiment.given import MINIMAL, errors, one

BOTH = f"---\n{MINIMAL}---\n{MINIMAL.replace('name: x', 'name: compare')}"


def test_a_value_is_read_as_yaml() -> None:
    experiment = one(MINIMAL, overrides=["workers=[1, 2]", "flush_s=1e-3", "strategies=none", "name=other"])
    assert experiment.form.workers == [1, 2]
    assert experiment.form.flush_s == 0.001
    assert experiment.strategies == [Plugin("none")]
    assert experiment.name == "other"


def test_a_path_reaches_into_mappings_and_lists() -> None:
    experiment = one(
        MINIMAL + "strategies: [none, {name: lease}]\n",
        overrides=[
            "workload.count=3",
            "faults.duplicate_rate=0.5",
            "strategies.1.lease_s=9",
            "workers=[1,2]",
            "workers.1=7",
        ],
    )
    assert experiment.workload.count(1) == 3
    assert experiment.form.faults.duplicate_rate == 0.5
    assert experiment.strategies[1] == Plugin("lease", {"lease_s": 9})
    assert experiment.form.workers == [1, 7]


def test_a_lone_name_makes_room_for_options() -> None:
    experiment = one(
        MINIMAL + "strategies: lease\n",
        overrides=["backend=sqlite", "backend.durability=full", "strategies.lease_s=9"],
    )
    assert experiment.backend == Plugin("sqlite", {"durability": "full"})
    assert experiment.strategies == [Plugin("lease", {"lease_s": 9})]


def test_the_last_of_two_counts() -> None:
    assert one(MINIMAL, overrides=["slots=2", "slots=3"]).form.slots == 3


def test_it_holds_for_all_experiments_or_for_the_one_that_is_named() -> None:
    first, second = loads(BOTH, "x.yml", Path(), ["slots=2", "compare:workers=[4]"])
    assert (first.form.slots, second.form.slots) == (2, 2)
    assert (first.form.workers, second.form.workers) == ([1], [4])


def test_a_problem_names_the_option_in_place_of_a_line() -> None:
    assert errors(MINIMAL, overrides=["wrokers=2"]) == [
        '--set wrokers=2: unknown key "wrokers", did you mean "workers"?'
    ]
    assert errors(MINIMAL, overrides=["workers=two"]) == [
        "--set workers=two: expected a whole number from 1 to 100000, or a list such as [1, 2, 4], "
        'found "two"'
    ]
    assert errors(MINIMAL, overrides=["workload.count=-1"])[0].startswith(
        "--set workload.count=-1: expected "
    )
    assert errors(MINIMAL, overrides=["backend=memroy"])[0].startswith(
        '--set backend=memroy: unknown backend "memroy"'
    )


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("workers", "expected key=value, such as workload.count=10"),
        ("=5", "expected key=value, such as workload.count=10"),
        ("a..b=5", "expected key=value, such as workload.count=10"),
        ("", "expected key=value, such as workload.count=10"),
        ("workers=[1", "not valid YAML"),
        ("slots=.nan", "expected a finite number, found .nan"),
        ("compar:slots=2", 'no experiment "compar" in this file, did you mean "compare"?'),
        ("name.a=2", '"name" is "x", in which there is no "a"'),
        ("workers.0.a=2", '"workers.0" is 1, in which there is no "a"'),
        ("workers.5=2", '"workers" is a list of 1, counted from 0, in which there is no "5"'),
    ],
)
def test_what_is_no_change(override: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loads(BOTH.replace("name: x\n", "name: x\nworkers: [1]\n"), "x.yml", Path(), [override])
    assert f"--set {override}: {problem}" in str(caught.value)


def test_a_key_can_be_given_that_the_file_lacks() -> None:
    experiment = one(
        "backend: memory\n",
        overrides=["name=x", "workload.kind=sleep", "workload.count=1", "workload.seconds=0"],
    )
    assert experiment.workload.count(1) == 1
