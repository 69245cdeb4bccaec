"""The rooms of kon/ (tests/house.py): imports go down only, and pages show the very list."""

from __future__ import annotations

import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

from tests import house


def test_imports_go_down() -> None:
    up: list[str] = []
    for module in house.modules():
        here = house.room_of(module)
        if here is None:
            continue  # flat in kon/: what it offers to users
        assert here in house.FLOOR, f'"{here}" is no room; kon/ has {", ".join(house.FLOOR)}'
        for imported in house.imports_of(module):
            there = house.room_of(imported)
            if there in (here, None):
                continue
            assert there in house.FLOOR, f'"{there}" is no room'
            if house.FLOOR[there] >= house.FLOOR[here]:
                floors = house.FLOOR[here], house.FLOOR[there]
                up.append(f"{module} (floor {floors[0]}) imports {imported} (floor {floors[1]})")
    assert up == []


@pytest.mark.parametrize("room", house.FLOOR)
def test_no_circle_inside_a_room(room: str) -> None:
    found = house.circle(house.members_of(room))
    assert found is None, " -> ".join(found or [])


def test_the_house_is_as_small_as_the_page_says() -> None:
    """docs/design.md has the figures; `make map` shows the arrows."""
    assert len(house.ROOMS) <= 18
    assert len(set(house.FLOOR.values())) <= 8
    assert len(house.arrows()) <= 60


@pytest.mark.parametrize("room", house.FLOOR)
def test_each_file_says_what_it_is_about(room: str) -> None:
    """`make map ARGS=ROOM` is how a newcomer finds the file for a line."""
    said = [line.split(None, 2) for line in house.file_lines(room)]
    assert [line for line in said if len(line) < 3 and line[0].endswith((".py", ".", "/"))] == []


@pytest.mark.parametrize("file", ["report/page/style.css", "backends/prices/us-east-1-2026.yml"])
def test_what_is_no_python_is_listed_too(file: str) -> None:
    room, _, name = file.partition("/")
    assert [line for line in house.file_lines(room) if line.startswith(name)]


def test_every_room_is_there() -> None:
    """A name that stands for nothing any more would allow anything."""
    assert {house.room_of(module) for module in house.modules()} - {None} == set(house.FLOOR)


def test_nothing_else_is_flat() -> None:
    flat = {name.removeprefix("kon.") for name in house.modules() if name.count(".") == 1 and "kon." in name}
    assert {name for name in flat if (house.PROJECT / "kon" / f"{name}.py").is_file()} < house.FLAT


@pytest.mark.parametrize("page", house.PAGES, ids=lambda page: page.name)
def test_pages_show_the_list(page: Path) -> None:
    assert house.drawn(page.read_text()) == page.read_text(), "draw it again: make map ARGS=--write"


DOUBLES: Final = frozenset(
    [
        # two interfaces that users know by these names: concurrent.futures' executor and a worker's part
        "Executor",
        # a worker's own and a service's, a store's or the emulator's, which never meet in a module
        "Clients",
        "Faults",
        "Reply",
        "Request",
        "State",
        # a run of an experiment, and a strategy under one class of faults
        "Cell",
    ]
)
"""Public classes whose name stands for two things. The list gets no longer."""


def test_one_name_is_one_thing() -> None:
    found = house.doubles()
    new = {name: where for name, where in found.items() if name not in DOUBLES}
    assert new == {}, "give one of them a name of its own"
    assert set(found) == DOUBLES, "these stand once: take them off the list"


def test_no_folder_of_tests_is_passed_over(pytestconfig: pytest.Config) -> None:
    """pytest passes over folders of some names, such as `build` and `dist`, unless it is told otherwise."""
    passed_over: list[str] = pytestconfig.getini("norecursedirs")
    folders = {file.parent for file in (house.PROJECT / "tests").rglob("test_*.py")}
    names = {name for folder in folders for name in folder.relative_to(house.PROJECT).parts}
    assert {"build", "fleet"} <= names
    assert [name for name in names if any(fnmatch(name, each) for each in passed_over)] == []


def test_no_private_name_is_left_without_a_user() -> None:
    assert house.unused() == []


def test_no_file_is_a_few_lines_of_another_one() -> None:
    found = house.tiny()
    assert set(found) <= {"kon.kinds.video.job"}, f"merge it with what imports it: {found}"


def test_what_is_asked_for_digits_is_asked_for_what_int_reads() -> None:
    """`"²".isdigit()` is true, and `int("²")` fails."""
    listed = subprocess.run(
        ["git", "-C", house.PROJECT, "grep", "-lE", r"\.(isdigit|isnumeric)\b", "--", "*.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(listed.stdout.split()) <= {"tests/test_layers.py"}, "isdecimal"


MOST_PARAMETERS: Final = 7

MANY_PARAMETERS: Final = frozenset(
    [
        # users' own words, which they give by keyword, as concurrent.futures and `kon.map` have them
        "kon.api.executor.Executor",
    ]
)
"""Classes that may take more."""


def test_constructors_take_few_collaborators() -> None:
    """What belongs together is one value or object, with a name that says why."""
    found = {name: count for name, count in house.parameters().items() if count > MOST_PARAMETERS}
    new = {name: count for name, count in found.items() if name not in MANY_PARAMETERS}
    assert new == {}, f"at most {MOST_PARAMETERS}: group what belongs together, or derive one from another"
    assert set(found) == MANY_PARAMETERS, "these take few now: take them off the list"


def test_constants_stand_before_their_use() -> None:
    assert house.late() == [], "move each above what reads it first"


TOP: Final = frozenset(
    [
        ".ansible-lint",
        ".ci",
        ".editorconfig",
        ".gitignore",
        ".yamllint",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "ansible.cfg",
        "benchmarks",
        "collections",
        "docs",
        "inventory",
        "kon",
        "playbooks",
        "pyproject.toml",
        "requirements-bench-aws.lock",
        "requirements-bench.lock",
        "requirements-bench-looks.lock",
        "requirements-dev.lock",
        "requirements.lock",
        "strategies",
        "tests",
        "workloads",
    ]
)


def test_nothing_else_lies_at_the_top() -> None:
    """A file that a download leaves there would be carried by every clone."""
    listed = subprocess.run(
        ["git", "-C", house.PROJECT, "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    assert {each.split("/")[0] for each in listed.stdout.split("\0") if each} == TOP
