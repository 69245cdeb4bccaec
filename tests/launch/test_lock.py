"""Locks on folders, between real processes."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kon.core.errors import ConfigurationError, StoreError
from kon.core.lock import FolderLock

HOLDER = """
import asyncio, sys
from pathlib import Path
from kon.core.lock import FolderLock

async def main():
    async with FolderLock(Path(sys.argv[1]), "client"):
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def take(folder: Path, wait_s: float = 0.0) -> None:
    async with FolderLock(folder, "client", wait_s=wait_s):
        assert FolderLock(folder, "client").is_held()


def test_one_at_a_time_until_its_holder_is_killed(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, "client")
    assert not lock.is_held(), "nobody has ever held it"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert lock.is_held()
        with pytest.raises(ConfigurationError, match=rf"at work already \(process {holder.pid}\)"):
            asyncio.run(take(tmp_path))
        holder.kill()
        holder.wait()
    assert not lock.is_held()
    asyncio.run(take(tmp_path))
    assert not lock.is_held()


def test_the_next_one_waits_for_a_holder_that_is_about_to_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with FolderLock(tmp_path, "client"):
            second = asyncio.create_task(take(tmp_path, wait_s=60.0))
            await asyncio.sleep(0.1)
            assert not second.done()
        await second

    asyncio.run(main())


@pytest.mark.parametrize("trouble", ["cancelled", "no locks"])
def test_a_wait_that_ends_otherwise_leaves_no_file_open(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files() -> int:
        return sum(1 for each in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(each))

    async def main() -> None:
        async with FolderLock(tmp_path, "client"):
            assert files() == 1
            if trouble == "no locks":  # as file systems of some networks have none
                monkeypatch.setattr(fcntl, "flock", refuse)
            second = asyncio.create_task(take(tmp_path, wait_s=60.0))
            await asyncio.sleep(0.1)
            second.cancel()
            with pytest.raises(asyncio.CancelledError if trouble == "cancelled" else StoreError):
                await second
            assert files() == 1

    def refuse(fd: int, mode: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    asyncio.run(main())


def test_a_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be opened: "):
        asyncio.run(take(tmp_path / "file"))
