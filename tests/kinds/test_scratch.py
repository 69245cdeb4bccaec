"""Working folders: those of killed processes go, those of living ones stay."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kon.core import scratch
from kon.core.scratch import PREFIX, clear_abandoned, working_folder
from tests.kinds.running import nothing_left

PROGRAM = """
import asyncio
from kon.core.scratch import working_folder

async def main():
    async with working_folder("shell") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("half of it")
        print(folder, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, which no worker of this process has seen."""
    made = tmp_path / "tmp"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    monkeypatch.setattr(scratch, "_cleared", set())
    return made


def at_work(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process with a working folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


async def one_task() -> None:
    async with working_folder("shell") as folder:
        (folder / "file").write_text("whole")


def test_what_a_killed_process_left_goes_with_the_next_one_and_a_living_ones_stays(place: Path) -> None:
    (place / "kon-mine").mkdir()
    (place / "other").mkdir()
    living, its = at_work(place)
    killed, left = at_work(place)
    with living, killed:
        killed.kill()
        killed.wait()
        assert (left / "deep" / "file").exists()
        with nothing_left():
            asyncio.run(one_task())
        assert not left.exists()
        assert (its / "deep" / "file").exists()
        assert sorted(each.name for each in place.iterdir()) == ["kon-mine", its.name, "other"]
        living.kill()
    # this process has looked already; another one will
    asyncio.run(one_task())
    assert its.exists()
    clear_abandoned(place)
    assert not its.exists()


def test_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (place / f"{PREFIX}shell-abc").symlink_to(tmp_path / "mine")
    (place / f"{PREFIX}shell-file").write_text("no folder")
    clear_abandoned(place)
    assert (tmp_path / "mine" / "file").read_text() == "mine"
    assert (place / f"{PREFIX}shell-file").exists()


def test_a_new_folder_that_is_cleared_away_before_it_is_locked_is_made_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = scratch._opened
    seen: list[Path] = []

    def another_is_quicker(folder: Path) -> int:
        lock = opened(folder)
        if not seen:
            folder.rmdir()
        seen.append(folder)
        return lock

    async def main() -> None:
        async with working_folder("shell") as folder:
            assert folder.exists()
            assert folder == seen[1] != seen[0]

    scratch._cleared.add(str(place))
    monkeypatch.setattr(scratch, "_opened", another_is_quicker)
    with nothing_left():
        asyncio.run(main())
    assert list(place.iterdir()) == []
