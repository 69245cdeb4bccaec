"""The JSON Schema for editors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kon.experiment.model import ExperimentForm
from kon.experiment.schema import experiment_schema, schema_text

ROOT = Path(__file__).parents[2]
WORKLOADS = sorted(set((ROOT / "workloads").glob("*.yml")) - {ROOT / "workloads" / "published.yml"})


@cache
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(experiment_schema())


def errors(text: str) -> list[str]:
    return [error.json_path for error in validator().iter_errors(yaml.safe_load(text))]


def test_the_committed_copy_is_current() -> None:
    committed = (ROOT / "docs" / "experiment.schema.json").read_text()
    assert committed == schema_text(), (
        "it is not; write it anew: python -m kon.experiment.schema > docs/experiment.schema.json"
    )


def test_it_is_a_schema_and_every_key_is_described() -> None:
    schema = experiment_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(ExperimentForm.model_fields)

    def described(form: dict[str, Any]) -> None:
        for key, field in form.get("properties", {}).items():
            if "const" not in field:
                assert field.get("description"), key

    described(schema)
    described(schema["$defs"]["WorkloadForm"])
    described(schema["$defs"]["FaultsForm"])


@pytest.mark.parametrize("file", WORKLOADS, ids=lambda file: file.name)
def test_the_projects_own_experiments_are_valid(file: Path) -> None:
    for document in yaml.safe_load_all(file.read_text()):
        validator().validate(document)


GOOD = "name: x\nworkload: {kind: sleep, count: 1, seconds: 0}\n"


@pytest.mark.parametrize(
    "line",
    [
        "strategies: lease",
        "strategies: [{name: lease, lease_s: 3}, none, 'my.own:Strategy', {name: 'my.own:Two', colour: red}]",
        "workers: 3",
        "backend: {name: sqlite, durability: full}",
        "timeout_s: null",
        "idle_s: 3",
    ],
)
def test_what_is_valid(line: str) -> None:
    assert errors(GOOD + line) == []


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("wrokers: 3", "$"),
        ("workers: two", "$.workers"),
        ("workers: [0]", "$.workers"),
        ("workers: []", "$.workers"),
        ("slots: null", "$.slots"),
        ("strategies: [null]", "$.strategies"),
        ("visibility_s: 0.1", "$.visibility_s"),
        ("faults: {kil: 1}", "$.faults"),
        ("name: a b", "$.name"),
    ],
)
def test_what_is_not(line: str, path: str) -> None:
    assert errors(GOOD.replace("name: x\n", "" if line.startswith("name") else "name: x\n") + line) == [path]
