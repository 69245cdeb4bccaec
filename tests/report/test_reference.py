"""Figures of other systems: read from a file; those in kon's sources are as they were published."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.core.errors import ConfigurationError
from kon.report.views import Reference, references
from tests.house import PROJECT

PUBLISHED = {each.system: each for each in references(PROJECT / "workloads" / "published.yml")}
WORKERS = (1, 2, 4, 8, 16)


def by_workers(text: str) -> dict[int, float]:
    return dict(zip(WORKERS, map(float, text.split()), strict=True))


def test_what_comes_with_the_sources_is_right_to_the_digit() -> None:
    """Typed once more from the reports."""
    clone_a, clone_b = Reference("clone A (2016), SQS"), Reference("clone B (2016), SQS")
    expected = [
        Reference(
            clone_a.system,
            tasks_per_s=by_workers("31.71 62.23 116.10 235.85 469.42"),
            efficiency_percent={
                10.0: by_workers("99.29 99.29 99.35 99.14 99.31"),
                1.0: by_workers("96.53 95.00 95.07 85.29 95.80"),
                0.01: by_workers("24.63 24.81 22.72 15.39 24.28"),
            },
        ),
        Reference(
            clone_b.system,
            tasks_per_s=by_workers("13.01 21.22 20.87 20.28 21.02"),
            efficiency_percent={
                10.0: by_workers("94.30 93.76 92.96 95.81 96.50"),
                1.0: by_workers("86.64 82.95 89.33 89.43 86.16"),
                0.01: by_workers("10.36 9.99 5.19 2.67 2.32"),
            },
            minutes={"animoto": {160: by_workers("463 230 118 61 32")}},
        ),
        Reference("clone A (2016), threads", local=True, tasks_per_s=by_workers("7812 8605 8614 8615 8659")),
        Reference(
            "clone B (2016), threads",
            local=True,
            tasks_per_s=by_workers("56625 57904 55371 55066 55463"),
            efficiency_percent={
                10.0: by_workers("99.90 99.90 99.89 99.90 99.90"),
                1.0: by_workers("99.88 99.88 99.88 99.87 99.87"),
                0.01: by_workers("98.23 98.23 98.23 97.85 97.66"),
            },
        ),
        Reference(
            "CloudKon (2013), sheet",
            tasks_per_s={2: 400.0, 8: 900.0, 16: 1_500.0, 32: 3_500.0, 64: 5_735.0},
            efficiency_percent={
                ms / 1e3: {64: percent}
                for ms, percent in {1: 3.0, 4: 11.0, 16: 38.0, 64: 69.0, 256: 79.0, 1_024: 90.0}.items()
            },
        ),
        Reference("CloudKon (2014), paper", tasks_per_s={1: 238.0, 1_024: 119_000.0}),
    ]
    assert list(PUBLISHED.values()) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- system: x\n  tasks_per_s: {1: fast}", "Expected `float`, got `str` - at `$[0].tasks_per_s[...]`"),
        ("- system: x\n  speed: 3", "unknown field `speed`"),
        ("- tasks_per_s: {1: 2}", "missing required field `system`"),
        ("[", "is no YAML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "theirs.yml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        references(file)
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(file))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yml: can't be read"):
        references(tmp_path / "none.yml")
