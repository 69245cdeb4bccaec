"""What every test of the API needs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kon.api import background


@pytest.fixture(autouse=True)
def no_run_is_left() -> Iterator[None]:
    """A test that fails in the middle leaves no run behind, for which the end of this process would wait."""
    yield
    for each in list(background._running.values()):
        each.stop()
        each.join()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made; a test may look whether any is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder
