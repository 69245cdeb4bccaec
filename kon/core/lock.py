"""Locks between processes of this machine: the kernel lets go of them however their holder ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

from kon.core.errors import ConfigurationError, StoreError

_RETRY_S: Final = 0.05


class FolderLock:
    """A lock on a folder, as a hidden file in it, for one holder at a time.

    The file stays when the lock is let go: to delete it would let two processes lock two files of one
    name. It holds the number of the process that locked it last.
    """

    def __init__(self, folder: Path, role: str, *, wait_s: float = 0.5) -> None:
        """role: what its holder is, of the folder. wait_s: how long `async with` tries, in seconds; less
        than that is no test, as `is_held` itself holds the lock for an instant."""
        self.path = folder / f".{role}.lock"
        self._role = role
        self._wait_s = wait_s
        self._fd: int | None = None

    async def __aenter__(self) -> FolderLock:
        """Raises ConfigurationError when another process has it, StoreError when the folder can't be used."""
        fd = self._open(os.O_RDWR | os.O_CREAT)
        try:
            await self._take(fd)
        except BaseException:  # cancelled, too
            os.close(fd)
            raise
        self._fd = fd
        return self

    async def _take(self, fd: int) -> None:
        now_s = asyncio.get_running_loop().time
        give_up_s = now_s() + self._wait_s
        while not self._try(fd, fcntl.LOCK_EX):
            if now_s() >= give_up_s:
                holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
                raise ConfigurationError(
                    f"{self.path.parent} has a {self._role} at work already (process {holder}); a second one "
                    "would take a part of what the first one waits for. Wait for it, stop it, or name "
                    "another folder with --out"
                )
            await asyncio.sleep(_RETRY_S)
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise StoreError(
                f"{self.path}: can't be written: {error.strerror}. Make room, then run the same command again"
            ) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def is_held(self) -> bool:
        """Whether a living process of this machine holds it."""
        try:
            fd = self._open(os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not self._try(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def _try(self, fd: int, mode: int) -> bool:
        try:
            fcntl.flock(fd, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise StoreError(
                f"{self.path}: can't be locked: {error.strerror}. Name a folder on another file system"
            ) from error
        return True

    def _open(self, flags: int) -> int:
        try:
            if flags & os.O_CREAT:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, flags | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{self.path}: can't be opened: {error.strerror}") from error


def client_lock(root: Path) -> FolderLock:
    """Held by the one client of a folder of runs."""
    return FolderLock(root, "client")


def host_lock(root: Path, number: int, wait_s: float = 0.5) -> FolderLock:
    """Held by the host of that number, from 1, as long as it works there."""
    return FolderLock(root, f"host-{number}", wait_s=wait_s)
