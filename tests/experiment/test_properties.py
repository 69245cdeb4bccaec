"""Whatever stands in a file: an experiment, or a ConfigurationError that says what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kon.core.errors import ConfigurationError
from kon.experiment import Experiment, loads
from kon.experiment.cells import MAX_RUN_ID, run_id
from kon.experiment.model import ExperimentForm, WorkloadForm
from tests.experiment.given import MINIMAL

NOWHERE = Path("/nonexistent/folder")  # no glob and no file of a made-up text finds anything

SETTINGS = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def holds(text: str, overrides: list[str] | None = None) -> list[Experiment] | str:
    try:
        experiments = loads(text, "x.yml", NOWHERE, overrides or [], limit=50)
    except ConfigurationError as error:
        refused = str(error)
    else:
        return right(experiments)
    for line in refused.split("\n"):
        assert line.isprintable()
        assert re.match(r"x\.yml|--set |/nonexistent|\.\.\. and", line)
    return refused


def right(experiments: list[Experiment]) -> list[Experiment]:
    for experiment in experiments:
        if len(experiment.form.strategies) * len(experiment.form.workers) * experiment.form.repeats > 100:
            continue
        cells = experiment.cells()
        for cell in cells:
            assert re.fullmatch(r"[A-Za-z0-9_-]+", cell.spec.run)
            assert len(cell.spec.run) <= MAX_RUN_ID
            assert msgspec.json.decode(msgspec.json.encode(cell.spec), type=type(cell.spec)) == cell.spec
            assert 1 <= cell.spec.tasks <= 50
        assert len({cell.spec.run for cell in cells}) == len(cells)
        assert len(list(cells[0].workload.bodies(1))) <= 50
    return experiments


# nothing that would be a command, a pattern or a path of this machine
words = st.sampled_from(
    [
        "sleep",
        "stats",
        "lease",
        "none",
        "memory",
        "x",
        "two",
        "no",
        "",
        "a b",
        "~",
        "worker",
        "é",
        "1e-3",
        "a:b",
        "\0",
    ]
)
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, 1, 2, 0.3, 10**18, 10**400, -1]), st.integers(0, 40)
)
scalars = st.one_of(st.none(), st.booleans(), numbers, words)
keys = st.one_of(
    st.sampled_from(
        [*ExperimentForm.model_fields, *WorkloadForm.model_fields, "seconds", "length", "between", "lease_s"]
    ),
    words,
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)


@SETTINGS
@given(st.text())
def test_any_text(text: str) -> None:
    holds(text)


@SETTINGS
@given(st.text(alphabet="abn:[]{}-,&*!|>'\"#%@`~? \n\t01.é\ud7ff\x85", max_size=60))
def test_any_text_that_looks_like_yaml(text: str) -> None:
    holds(text)
    holds(MINIMAL + text)


@SETTINGS
@given(values)
def test_any_value(value: Any) -> None:
    holds(yaml.safe_dump(value))


@SETTINGS
@given(st.dictionaries(keys, values, max_size=4), st.dictionaries(keys, values, max_size=4))
def test_any_experiment(changes: dict[str, Any], workload: dict[str, Any]) -> None:
    given_here = {
        "name": "x",
        "backend": "memory",
        "workload": {"kind": "sleep", "items": [1], **workload},
        **changes,
    }
    holds(yaml.safe_dump(given_here))


@SETTINGS
@given(
    name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,39}\Z"),
    kind=st.sampled_from(
        ["{kind: sleep, count: 20, seconds: 1}", "{kind: stats, count: 3}", "{kind: sleep, items: [0]}"]
    ),
    workers=st.lists(st.integers(1, 1000), min_size=1, max_size=3, unique=True),
    strategies=st.lists(
        st.sampled_from(["none", "lease", "result_once", "{name: lease, skew_s: 2}"]), min_size=1, unique=True
    ),
    visibility_s=st.floats(0.3, 43_200),
    repeats=st.integers(1, 3),
)
def test_what_is_right_is_taken(
    name: str, kind: str, workers: list[int], strategies: list[str], visibility_s: float, repeats: int
) -> None:
    found = holds(
        f"name: '{name}'\nbackend: memory\nworkload: {kind}\nworkers: {workers}\n"
        f"strategies: [{', '.join(strategies)}]\nvisibility_s: {visibility_s!r}\nrepeats: {repeats}\n"
    )
    assert isinstance(found, list)
    assert len(found[0].cells()) == len(workers) * len(strategies) * repeats


@SETTINGS
@given(
    st.one_of(
        st.text(max_size=20), st.tuples(keys, values).map(lambda pair: f"{pair[0]}={yaml.safe_dump(pair[1])}")
    )
)
def test_any_override(text: str) -> None:
    if "glob" in text or "file" in text:
        return
    holds(MINIMAL, [text])


@given(st.text(min_size=1), st.integers(1, 100_000), st.integers(1, 1_000))
def test_a_run_id_is_never_too_long(stem: str, workers: int, repeat: int) -> None:
    assert len(run_id(stem, workers, repeat)) <= MAX_RUN_ID
