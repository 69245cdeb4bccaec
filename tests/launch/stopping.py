"""Tasks that end once their workers have been told to stop: so a run does not end before it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from kon.launch.local import LocalRun

WAITS: Final = "test $KON_TASK -lt 20 || until test -e stopped; do sleep 0.01; done"
"""A command, of which the first 20 tasks end at once. It waits for a file in the current folder."""


def tell_when_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the file that `WAITS` waits for once a client of this process stops its workers."""
    stop_workers = LocalRun.stop_workers

    def told(run: LocalRun) -> None:
        stop_workers(run)
        (folder / "stopped").touch()

    monkeypatch.setattr(LocalRun, "stop_workers", told)
