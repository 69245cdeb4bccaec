"""`import kon` stays cheap: what it offers is loaded when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kon


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after the statement."""
    program = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


def test_importing_kon_loads_next_to_nothing() -> None:
    heavy = {"asyncio", "click", "msgspec", "pydantic", "rich", "tabulate", "yaml"}
    assert not loaded_by("import kon") & heavy
    assert not loaded_by("import kon; kon.map, kon.Run") & {"click", "rich", "tabulate"}


def test_all_that_is_offered_is_there() -> None:
    for name in kon.__all__:
        assert getattr(kon, name) is not None
    assert set(kon.__all__) <= set(dir(kon))
    assert kon.__version__


def test_what_is_not_offered() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'mop'"):
        kon.mop  # noqa: B018
