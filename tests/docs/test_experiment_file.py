"""docs/experiment-file.md names every key with the default, and the bounds, that kon has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml

from kon.core.options import Options
from kon.core.plugins import Group, names
from kon.experiment.schema import experiment_schema
from kon.kinds.python import PythonOptions
from kon.kinds.shell_options import ShellOptions

PAGE = Path(__file__).parents[2] / "docs" / "experiment-file.md"


class Line(NamedTuple):
    """A line of a table. default: None where there is none."""

    type: str
    default: Any


def tables() -> dict[str, dict[str, Line]]:
    """The tables of keys on the page, by the heading that each stands under."""
    found: dict[str, dict[str, Line]] = {}
    heading = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            key, kind, default, meaning = cells
            assert meaning, f"{key} has no meaning"
            said = yaml.safe_load(default.strip("`")) if default else None
            found.setdefault(heading, {})[key.strip("`")] = Line(kind, said)
    return found


def defaults_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {key: field.get("default") for key, field in properties.items()}


SCHEMA = experiment_schema()
FORMS = {
    "Experiment": SCHEMA["properties"],
    "workload": SCHEMA["$defs"]["WorkloadForm"]["properties"],
    "faults": SCHEMA["$defs"]["FaultsForm"]["properties"],
}


@pytest.mark.parametrize("heading", FORMS)
def test_every_key_is_there_with_its_default(heading: str) -> None:
    said = {key: line.default for key, line in tables()[heading].items()}
    has = defaults_of(FORMS[heading])
    if heading == "Experiment":
        has["faults"] = {}  # the page says what `faults` holds in a table of its own
    assert said == has


@pytest.mark.parametrize("heading", FORMS)
def test_bounds_are_those_of_the_schema(heading: str) -> None:
    for key, line in tables()[heading].items():
        field = FORMS[heading][key]
        bounds = field if "maximum" in field else field.get("anyOf", [{}])[-1]
        if "maximum" not in bounds:
            continue
        least = bounds.get("minimum", bounds.get("exclusiveMinimum"))
        bound = re.search(r"(?:above )?([\d.]+) to ([\d*]+)$", line.type)
        assert bound is not None, f"the type of {key} says no bounds: {line.type}"
        base, _, power = bound[2].partition("**")
        assert (float(bound[1]), int(base) ** int(power or 1)) == (least, bounds["maximum"]), key


@pytest.mark.parametrize(
    ("heading", "options"), [("kind: shell", ShellOptions), ("kind: python", PythonOptions)]
)
def test_every_option_of_a_kind_is_there_with_its_default(heading: str, options: type[Options]) -> None:
    said = {key: line.default for key, line in tables()[heading].items()}
    has = {}
    for field in msgspec.structs.fields(options):
        if field.name not in Options.__struct_fields__:
            default = None if field.default is msgspec.NODEFAULT else field.default
            if field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            has[field.name] = sorted(default) if isinstance(default, frozenset) else default
    assert said == has


def test_the_schema_beside_it_is_what_kon_schema_prints() -> None:
    assert json.loads((PAGE.parent / "experiment.schema.json").read_text()) == SCHEMA


@pytest.mark.parametrize("group", ["kon.backends", "kon.kinds"])
def test_every_plugin_is_named(group: Group) -> None:
    assert [name for name in names(group) if f"`{name}`" not in PAGE.read_text()] == []
