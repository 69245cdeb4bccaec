"""What becomes of a crew whose workers do not stay up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kon.core.errors import WorkersFailed, first_cause
from kon.engine.records.records import RunFolder
from kon.launch.supervise import QUICK_DEATHS, WorkerProcesses


@pytest.mark.parametrize(("worker_exit", "exit_code"), [(1, 1), (2, 2), (3, 3), (70, 1)])
def test_a_crew_fails_with_what_its_workers_failed_with(
    worker_exit: int, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that Amazon refuses is the account's matter, one that can't be configured the user's."""
    folder = RunFolder(tmp_path / "r")
    folder.logs.mkdir(parents=True)
    (folder.logs / "w1.log").write_text("kon: access denied\n")
    lives: list[str] = []

    async def fail(self: WorkerProcesses, name: str) -> int:
        lives.append(name)
        return worker_exit

    monkeypatch.setattr(WorkerProcesses, "_one_life", fail)
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(WorkerProcesses(folder, ["w1"]).run())
    cause = first_cause(caught.value)
    assert isinstance(cause, WorkersFailed)
    assert cause.exit_code == exit_code
    assert "worker w1 failed 3 times as soon as it was started: kon: access denied." in str(cause)
    assert len(lives) == QUICK_DEATHS
