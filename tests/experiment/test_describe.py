"""Plug-ins describe themselves: one file and one entry point are enough, and no kind is known by name."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kon.core.options import described, documentation, expected, misfits
from kon.core.plugins import Group, docstring, names, plugin_class, takes
from kon.experiment.model import KIND_OF_FILES
from kon.experiment.schema import experiment_schema

ROOT = Path(__file__).parents[2]

LAB = '''
from typing import Annotated, Literal

import msgspec

from kon.core.errors import ConfigurationError
from kon.core.kind import Kind, MadeUp
from kon.core.options import OptionError, Options, read_options
from kon.core.strategy import Claim, Guarantee, Strategy


class DropOptions(Options, frozen=True, kw_only=True):
    """Options of `drop`.

    colour: what the drops look like. size_mm: their diameter.
    """

    colour: Literal["red", "blue"] = "red"
    size_mm: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class DropsMadeUp(msgspec.Struct):
    """Made-up drops.

    heights: from which they fall, in metres.
    """

    heights: list[float]


class Drop(Kind):
    """Lets a drop fall."""

    name = "drop"
    takes = DropOptions
    made_from = DropsMadeUp

    def __init__(self, options):
        if read_options("kind drop", options, DropOptions).size_mm > 100:
            raise OptionError("no drop is that large", "size_mm")

    def body_of_line(self, line):
        if not line.endswith(" m"):
            raise ConfigurationError(f'expected a height such as "3 m", found {line!r}')
        return float(line[:-2])

    def make_up(self, count, given, seed):
        return MadeUp(lambda: (given["heights"][at % len(given["heights"])] for at in range(count)))

    def check(self, body):
        if body < 0:
            raise ConfigurationError("a drop falls from 0 m or more")

    async def execute(self, body, attempt):
        return body


class Hope(Strategy):
    """Hopes for the best."""

    name = "hope"
    guarantee = Guarantee(nothing_lost=False, one_start=False, one_start_while_held=False, one_result=False)
    uses_ledger = False

    def __init__(self, ledger, worker, clock, *, patience: Annotated[int, msgspec.Meta(ge=1, le=9)] = 3):
        super().__init__(ledger, worker, clock)

    async def admit(self, tasks):
        return [Claim(task) for task in tasks]

    async def commit(self, claims, outcomes):
        return list(outcomes)
'''

GOOD = """\
name: rain
backend: memory
strategies: [{name: hope, patience: 2}]
workload: {kind: drop, colour: blue, count: 3, heights: [1, 2]}
---
name: from-a-file
backend: memory
workload: {kind: drop, file: drops.txt}
"""

BAD = """\
name: rain
strategies: [{name: hope, patience: 20}, {name: hop}]
workload: {kind: drop, color: blue, size_mm: -1, count: 3}
---
name: more
workload: {kind: drop, size_mm: 101, file: drops.txt}
---
name: from-a-file
workload: {kind: drop, file: bad.txt}
---
name: odd
workload: {kind: dorp, count: 1}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder with a distribution outside the tree, on the path of `kon`: a kind and a strategy."""
    (tmp_path / "lab.py").write_text(LAB)
    info = tmp_path / "lab-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[kon.kinds]\ndrop = lab:Drop\n\n[kon.strategies]\nhope = lab:Hope\n"
    )
    (tmp_path / "drops.txt").write_text("1 m\n2.5 m\n")
    (tmp_path / "bad.txt").write_text("1 m\n1 ft\n")
    return tmp_path


def kon(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "kon", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_kind_and_a_strategy_outside_the_tree_are_known_everywhere(lab: Path) -> None:
    (lab / "good.yml").write_text(GOOD)
    (lab / "bad.yml").write_text(BAD)
    valid = kon(lab, "validate", "good.yml")
    assert valid.returncode == 0, valid.stderr
    refused = kon(lab, "validate", "bad.yml")
    assert refused.returncode == 2
    assert refused.stderr.removeprefix("kon: ").splitlines() == [
        'bad.yml:2:37: option "patience" of strategy hope: expected a whole number from 1 to 9, found 20',
        'bad.yml:2:49: unknown strategy "hop", did you mean "hope"? (known: '
        f"{', '.join(sorted([*names('kon.strategies'), 'hope']))}, or your own as module:Class)",
        'bad.yml:3:24: unknown option "color" of kind drop, did you mean "colour"? '
        "(it takes colour, size_mm)",
        'bad.yml:3:37: option "size_mm" of kind drop: expected a number above 0, found -1',
        "bad.yml:6:24: no drop is that large",
        "bad.txt:2: expected a height such as \"3 m\", found '1 ft'",
        'bad.yml:12:18: unknown kind "dorp", did you mean "drop"? (known: '
        f"{', '.join(sorted([*names('kon.kinds'), 'drop']))}, or your own as module:Class)",
    ]
    [missing] = kon(lab, "validate", "good.yml", "--set", "rain:workload.heights=high").stderr.splitlines()
    assert missing.endswith('expected a list, found "high"')


def test_a_kind_and_a_strategy_outside_the_tree_stand_in_the_schema(lab: Path) -> None:
    schema = json.loads(kon(lab, "schema").stdout)
    validator = jsonschema.Draft202012Validator(schema)

    def wrong(**keys: Any) -> list[str]:
        workload = {"kind": "drop", "count": 1, "heights": [1], **keys}
        return [error.message for error in validator.iter_errors({"name": "x", "workload": workload})]

    assert wrong(colour="blue") == []
    assert "'green' is not one of ['blue', 'red']" in wrong(colour="green")
    assert any("'color' was unexpected" in message for message in wrong(color="red"))
    [drop] = [
        each["then"] for each in schema["$defs"]["WorkloadForm"]["allOf"] if "'drop'" in str(each["if"])
    ]
    assert drop["description"] == "Lets a drop fall."
    assert drop["properties"]["size_mm"] == {
        "description": "their diameter.",
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 1.0,
    }
    assert drop["properties"]["heights"]["description"] == "from which they fall, in metres."
    [hope] = [each for each in schema["$defs"]["Strategy"]["anyOf"] if "Hopes" in each.get("description", "")]
    assert hope["properties"]["patience"] == {"type": "integer", "minimum": 1, "maximum": 9, "default": 3}


@pytest.mark.parametrize("group", ["kon.strategies", "kon.kinds", "kon.backends"])
def test_every_plugin_says_what_it_does_and_what_each_option_is_for(group: Group) -> None:
    for name in names(group):
        cls = plugin_class(group, name)
        first = docstring(cls).partition("\n")[0]
        assert first.endswith("."), f"{name}: {first}"
        assert first != cls.__name__, name
        declared = takes(cls)
        assert declared is not None, name
        about = docstring(cls) if group == "kon.strategies" else documentation(declared)
        options = set(declared.__struct_encode_fields__) - {"slots"}
        assert set(described(about, options)) == options, name
        if group == "kon.kinds" and cls.made_from is not None:
            keys = set(cls.made_from.__struct_encode_fields__)
            assert set(described(cls.made_from.__doc__, keys)) == keys, name


def test_the_schema_refuses_a_slip_in_an_option_of_each_plugin() -> None:
    validator = jsonschema.Draft202012Validator(experiment_schema())
    workload = {"kind": "sleep", "count": 1, "seconds": 0}
    for name in names("kon.kinds"):
        assert not validator.is_valid({"name": "x", "workload": {"kind": name, "items": [1], "optoin": 1}})
    groups: tuple[tuple[str, Group], ...] = (("backend", "kon.backends"), ("strategies", "kon.strategies"))
    for key, group in groups:
        for name in names(group):
            assert validator.is_valid({"name": "x", "workload": workload, key: {"name": name}}), name
            assert not validator.is_valid(
                {"name": "x", "workload": workload, key: {"name": name, "optoin": 1}}
            )


def test_the_room_of_experiments_knows_no_kind_by_its_name() -> None:
    known = set(names("kon.kinds"))
    for file in sorted((ROOT / "kon" / "experiment").glob("*.py")):
        said = {
            each.value for each in ast.walk(ast.parse(file.read_text())) if isinstance(each, ast.Constant)
        }
        allowed = {KIND_OF_FILES} if file.name == "model.py" else set()
        assert not said & known - allowed, file


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (str | list[int] | None, "text, a list or null"),
        (dict[str, int], "a mapping"),
        (tuple[int, int], "a list of 2"),
        (bool, "true or false"),
    ],
)
def test_types_in_words(hint: Any, words: str) -> None:
    assert expected(hint) == words


def test_what_is_no_number_is_never_taken() -> None:
    assert [each.text for each in misfits(float("nan"), float)] == ["expected a number, found nan"]
    assert [each.text for each in misfits({"a": [float("inf")]}, dict[str, list[float]])] == [
        "expected a number, found inf"
    ]


def test_descriptions_are_read_from_the_docstring() -> None:
    text = """Options.

    one, two: Of both: that is it. three: Another,
        over two lines.

    Words after a blank line are about something else.
    """
    assert described(text, ["one", "two", "three", "four"]) == {
        "one": "Of both: that is it.",
        "two": "Of both: that is it.",
        "three": "Another, over two lines.",
    }
