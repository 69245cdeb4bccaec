"""An object store in a folder."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from kon.core.errors import StoreError
from kon.core.objects import ObjectStore, check_key

_Reply = TypeVar("_Reply")

_COPY_BYTES: Final = 1 << 20

_numbers = count()  # of this process: with its id, they make the names of unfinished files


class FolderObjects(ObjectStore):
    """Files under a folder, by key. Copies are made on two threads of its own, which `close` ends.

    durable: a put returns only when the disk has the file.
    """

    def __init__(self, folder: Path, durable: bool = False) -> None:
        self._folder = folder.absolute()
        self._durable = durable
        self._threads: ThreadPoolExecutor | None = None

    async def put(self, key: str, file: Path) -> None:
        """Raises StoreError when the folder can't be written, OSError when the file can't be read."""
        target = self._folder / check_key(key)
        await self._on_thread(lambda: self._put(file, target))

    async def get(self, key: str, file: Path) -> None:
        source = self._folder / check_key(key)
        await self._on_thread(lambda: shutil.copyfile(_existing(key, source), file))

    async def size_bytes(self, key: str) -> int:
        source = self._folder / check_key(key)
        return await self._on_thread(lambda: _existing(key, source).stat().st_size)

    async def url(self, key: str, expires_s: float) -> str:
        """A file: link. It does not expire, as anyone who can read the folder needs none."""
        source = self._folder / check_key(key)
        return await self._on_thread(lambda: _existing(key, source).as_uri())

    async def close(self) -> None:
        """End the threads, once they are done with what they have begun."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=True, cancel_futures=True)

    def _put(self, file: Path, target: Path) -> None:
        with file.open("rb") as source:
            try:
                self._write(source, target)
            except OSError as error:
                raise StoreError(
                    f"{target} can't be written: {error.strerror or error}. What was there before is still "
                    "there: mend the disk or the folder's permissions and run the same command again"
                ) from error

    def _write(self, source: BinaryIO, target: Path) -> None:
        """Beside the target first, so that whoever looks finds the old file, the new one, or none."""
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".put-{os.getpid()}-{next(_numbers)}")
        try:
            with beside.open("wb") as copy:
                shutil.copyfileobj(source, copy, _COPY_BYTES)
                if self._durable:
                    copy.flush()
                    os.fsync(copy.fileno())
            beside.replace(target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        if self._durable:
            _sync_folder(target.parent)

    async def _on_thread(self, work: Callable[[], _Reply]) -> _Reply:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(2, thread_name_prefix="kon-objects")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _existing(key: str, source: Path) -> Path:
    if not source.is_file():
        raise KeyError(key)
    return source


def _sync_folder(folder: Path) -> None:
    """Have the disk know a file's new name, which is its folder's content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
