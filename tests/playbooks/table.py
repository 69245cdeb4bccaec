"""The table of the playbooks' variables, and values that are wrong."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import yaml

from tests.playbooks.plays import PROJECT

PLAYBOOKS = sorted(
    each.stem for each in (PROJECT / "playbooks").glob("*.yml") if each.stem not in ("checked", "site")
)

TABLE: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / "playbooks/vars/variables.yml").read_text())


@functools.cache
def plugin() -> ModuleType:
    file = PROJECT / "playbooks/action_plugins/variables.py"
    spec = importlib.util.spec_from_file_location("variables", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wrong(name: str, play: str) -> Iterator[Any]:
    """Values that are wrong for a variable, in each way."""
    spec = TABLE[name]
    if play in spec.get("needed", ()) or not spec.get("unsaid"):
        yield None
    if not spec.get("empty"):
        yield from ("", "  ")
    of_another_type: dict[str, list[Any]] = {
        "int": ["eight", "8.5", True, [8], "8;"],
        "float": ["much", True, [1.0], "nan", "inf", "-inf"],
        "bool": ["perhaps", "2", [True]],
        "list": [{"a": 1}, [""], [["a"]], [8]],
        "dict": ["a", ["a"], {"a": None}, {"a": True}, {"a": ["b"]}, {3: "a"}, {"": "a"}],
        "str": [["a"], {"a": 1}, True, 8, 1.5],
        "path": [["a"], True, 8],
    }
    yield from of_another_type[spec["type"]]
    if "least" in spec:
        yield spec["least"] - 1
    if "above" in spec:
        yield spec["above"]
    if "most" in spec:
        yield spec["most"] + 1
    if "pattern" in spec:
        yield from ("a b;c*", "../x", "r1\n")
    if "names" in spec:
        yield from ({"A B": "a"}, {"3": "a"}, {"A\n": "a"}, {"A=B": "a"})
    if "choices" in spec:
        yield "something else"


CASES = [
    (play, name, value)
    for play in PLAYBOOKS
    for name, spec in TABLE.items()
    if play in spec["plays"]
    for value in wrong(name, play)
]
