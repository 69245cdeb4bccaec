"""Every test of the live page looks often."""

from __future__ import annotations

import pytest

from kon.report.live import watching


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other soon, so that no test waits for nothing."""
    monkeypatch.setattr(watching, "LOOK_S", 0.05)
    monkeypatch.setattr(watching, "LIST_S", 0.05)
