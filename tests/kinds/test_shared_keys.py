"""Two tasks of one run that would store under one key: the run is refused before it begins."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from kon.core.errors import WorkloadError
from kon.core.plugins import kind_class, names
from kon.experiment.load import load

GIVEN: Final[dict[str, dict[str, Any]]] = {
    "image": {"resize": "8x8"},
    "transcode": {"to": "wav"},
    "shell": {"command": "true"},
}
"""Kinds that name what they store by a template, with what else they need."""


def count(folder: Path, workload: dict[str, Any]) -> int:
    """How many tasks there are, of a workload that is taken."""
    file = folder / "experiment.yml"
    file.write_text(json.dumps({"name": "keys", "workload": workload}, indent=1))
    [experiment] = load(file)
    return experiment.workload.count(1)


def named(kind: str, key: str, items: list[Any]) -> dict[str, Any]:
    where = {"outputs": {"made": key}} if kind == "shell" else {"key": key}
    return {"kind": kind, **GIVEN[kind], **where, "items": items}


def test_all_kinds_with_such_a_template_are_tried() -> None:
    found = set()
    for name in names("kon.kinds"):
        takes = kind_class(name).takes
        fields = () if takes is None else msgspec.structs.fields(takes)
        if {field.encode_name for field in fields} & {"key", "outputs"}:
            found.add(name)
    assert found == set(GIVEN)


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("key", ["small/{/}", "small/{/.}.out"])
def test_two_inputs_with_one_name_are_refused(kind: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(WorkloadError) as caught:
        count(tmp_path, named(kind, key, ["one/a.png", "one/b.png", "two/a.png"]))
    said = str(caught.value)
    assert len(set(re.findall(r"experiment.yml:(\d+)", said))) == 2  # both tasks are named
    assert "one of them would be lost" in said
    assert "`small/{}`" in said
    assert "`small/{#}-{/}`" in said


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("key", ["small/{}", "small/{#}-{/}", "{//}/small/{/}"])
def test_keys_that_differ_are_taken(kind: str, key: str, tmp_path: Path) -> None:
    assert count(tmp_path, named(kind, key, ["one/a.png", "one/b.png", "two/a.png"])) == 3


@pytest.mark.parametrize("kind", GIVEN)
def test_one_input_may_come_twice(kind: str, tmp_path: Path) -> None:
    assert count(tmp_path, named(kind, "small/{/}", ["one/a.png", "two/b.png", "one/a.png"])) == 3


def test_names_that_are_added_to_a_folder_count(tmp_path: Path) -> None:
    said = {"kind": "shell", "command": "true", "items": ["one/a.png", "two/a.png"]}
    with pytest.raises(WorkloadError, match=r'"sums/a.png.sum"'):
        count(tmp_path, {**said, "outputs": {"{/}.sum": "sums/"}})
    assert count(tmp_path, {**said, "outputs": {"*.sum": "sums/{/}/"}}) == 2  # nobody knows what it matches
    assert count(tmp_path, {**said, "outputs": ["{/}.sum"]}) == 2  # by the task's number


def test_two_links_with_one_key_are_refused(tmp_path: Path) -> None:
    items = [{"link": f"https://example.org/{name}", "key": "data/a"} for name in ("a", "b")]
    with pytest.raises(WorkloadError, match=r'it would be stored as "data/a", and so would that of '):
        count(tmp_path, {"kind": "mirror", "items": items})
    assert count(tmp_path, {"kind": "mirror", "items": [items[0], items[0]]}) == 2
