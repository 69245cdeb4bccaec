"""Experiments given as text, and what is said of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import ConfigurationError
from kon.experiment import Experiment, loads

MINIMAL = """\
name: x
backend: memory
workload: {kind: sleep, count: 10, seconds: 0}
"""


def one(text: str, folder: Path | None = None, *, overrides: Sequence[str] = ()) -> Experiment:
    """The only experiment of a text, called x.yml."""
    [experiment] = loads(textwrap.dedent(text), "x.yml", folder or Path(), overrides)
    return experiment


def with_workload(workload: str, folder: Path | None = None, limit: int | None = None) -> Experiment:
    [experiment] = loads(
        f"name: x\nbackend: memory\nworkload: {workload}\n", "x.yml", folder or Path(), limit=limit
    )
    return experiment


def errors(text: str, folder: Path | None = None, overrides: Sequence[str] = ()) -> list[str]:
    """What is wrong with a text, line by line."""
    with pytest.raises(ConfigurationError) as caught:
        loads(textwrap.dedent(text), "x.yml", folder or Path(), overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def workload_errors(workload: str, folder: Path | None = None) -> list[str]:
    return errors(f"name: x\nbackend: memory\nworkload: {workload}\n", folder)


def bodies(workload: str, folder: Path | None = None, workers: int = 1) -> list[Any]:
    made = with_workload(workload, folder).workload
    found = list(made.bodies(workers))
    assert len(found) == made.count(workers)
    return found
