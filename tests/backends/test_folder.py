"""Objects in a folder."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from kon.backends.folder import FolderObjects
from kon.core.errors import StoreError


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_link_leads_to_the_file(tmp_path: Path) -> None:
    async def use() -> str:
        objects = FolderObjects(tmp_path / "store")
        (tmp_path / "given").write_bytes(b"content")
        await objects.put("videos/grüße ?#%.mp4", tmp_path / "given")
        url = await objects.url("videos/grüße ?#%.mp4", 600.0)
        await objects.close()
        return url

    url = urlparse(asyncio.run(use()))
    assert url.scheme == "file"
    assert Path(unquote(url.path)).read_bytes() == b"content"


def test_a_put_that_fails_leaves_the_old_object_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"

    async def use() -> None:
        objects = FolderObjects(tmp_path / "store")
        given.write_bytes(b"old")
        await objects.put("key", given)
        given.write_bytes(b"new")

        def full(source: object, target: object, length: int = 0) -> None:
            target.write(b"ne")  # type: ignore[attr-defined]
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(StoreError, match=r"store/key can't be written: No space left.*still"):
            await objects.put("key", given)
        await objects.close()

    asyncio.run(use())
    assert files(tmp_path / "store") == ["key"]
    assert (tmp_path / "store" / "key").read_bytes() == b"old"


def test_whoever_reads_an_object_is_not_disturbed_by_a_put(tmp_path: Path) -> None:
    async def use() -> None:
        objects = FolderObjects(tmp_path / "store")
        (tmp_path / "given").write_bytes(b"old")
        await objects.put("key", tmp_path / "given")
        with (tmp_path / "store" / "key").open("rb") as reader:
            (tmp_path / "given").write_bytes(b"new and longer")
            await objects.put("key", tmp_path / "given")
            assert reader.read() == b"old"
        await objects.close()

    asyncio.run(use())


def test_only_durable_puts_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    (tmp_path / "given").write_bytes(b"content")

    async def put(durable: bool) -> None:
        objects = FolderObjects(tmp_path / "store", durable)
        await objects.put("key", tmp_path / "given")
        await objects.close()

    asyncio.run(put(False))
    assert not synced
    asyncio.run(put(True))
    assert len(synced) == 2  # the file, and its folder, which holds its name


def test_looking_makes_no_folder_and_closing_leaves_no_thread(tmp_path: Path) -> None:
    async def use() -> None:
        objects = FolderObjects(tmp_path / "store")
        await objects.close()
        with pytest.raises(KeyError):
            await objects.url("key", 1.0)
        await objects.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("kon-objects")]

    asyncio.run(use())
    assert not (tmp_path / "store").exists()
