"""The working folder of an attempt: there while it works, gone afterwards, however it ends.

A process that is killed can't remove its own. A worker's sentry does it then (kon.launch.sentry), by the mark
that all folders of one process have in their names. Where that was killed too, the next worker of the same
user that needs a working folder on this machine removes what nobody holds: each folder is locked (flock) as
long as its process lives, and the kernel lets go of the lock however that ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from kon.core.errors import KindError, StoreError

_log = logging.getLogger("kon")

PREFIX: Final = "kon-task-"
"""Beginning of the names of working folders, and of nothing else."""

_mark = secrets.token_hex(6)
"""Part of the names of this process's own folders, and of no other's: its sentry removes all that have it."""

_TRIES: Final = 100
_PAUSE_S: Final = 0.05

_cleared: set[str] = set()
"""Places where this process has looked for abandoned folders."""


def _begin_anew() -> None:
    global _mark
    _mark = secrets.token_hex(6)
    _cleared.clear()


os.register_at_fork(after_in_child=_begin_anew)


def temporary_place() -> Path:
    """Where temporary files are kept: TMPDIR, or where that can't be used another place, which is told.

    Raises StoreError where there is none, as all are full for instance.
    """
    wanted, is_first = os.environ.get("TMPDIR"), tempfile.tempdir is None
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise StoreError(
            f"no temporary file can be written: {error.strerror}. Make room there, or name another place "
            "in TMPDIR"
        ) from error
    if is_first and wanted and os.path.realpath(wanted) != os.path.realpath(place):
        _log.warning(
            "TMPDIR names %s, where nothing can be written: temporary files are in %s", wanted, place
        )
    return Path(place)


def own_prefix() -> str:
    """The beginning of the paths of this process's working folders."""
    return str(temporary_place() / f"{PREFIX}{_mark}-")


@asynccontextmanager
async def working_folder(kind: str) -> AsyncIterator[Path]:
    """A new folder where the system keeps temporary files (TMPDIR). Raises KindError where none can be made.

    Cancelled, the attempt still waits until the folder is gone.
    """
    try:
        place = temporary_place()
    except StoreError as error:
        raise KindError(str(error)) from error
    if str(place) not in _cleared:
        _cleared.add(str(place))
        await asyncio.to_thread(clear_abandoned, place)
    try:
        made, lock = _make(kind)
    except OSError as error:
        raise KindError(
            f"no working folder can be made in {place}: {error.strerror}. "
            "Make room there, or set TMPDIR for the workers"
        ) from error
    try:
        yield Path(made.name)
    finally:
        try:
            await _to_its_end(_remove(made))
        finally:
            os.close(lock)


def clear_abandoned(place: Path) -> None:
    """Remove the working folders whose processes have ended without doing so.

    What can't be locked or removed stays: it is another user's, or its file system knows no locks.
    """
    for folder in place.glob(f"{PREFIX}*"):
        try:
            lock = _opened(folder)
        except OSError:
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(lock)


def _make(kind: str) -> tuple[tempfile.TemporaryDirectory[str], int]:
    """A new folder, locked. Raises OSError."""
    while True:
        # its own errors are ignored, as it is asked again until the folder is gone
        made = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{_mark}-{kind}-", ignore_cleanup_errors=True)
        lock = -1
        try:
            lock = _opened(Path(made.name))
            _lock(lock)
            if Path(made.name).exists():
                return made, lock
        except FileNotFoundError:
            pass
        except OSError:
            made.cleanup()
            raise
        # another process saw it before it was locked, and cleared it away
        made.cleanup()
        if lock != -1:
            os.close(lock)


def _lock(folder: int) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError:
        pass  # its file system knows no locks: then nobody can clear there either


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


async def _remove(made: tempfile.TemporaryDirectory[str]) -> None:
    """More than once if need be: a thread that was cancelled, or a process that the task left behind, may
    still be making a file in it."""
    for _ in range(_TRIES):
        await asyncio.to_thread(made.cleanup)
        if not Path(made.name).exists():  # noqa: ASYNC240 - one look
            return
        await asyncio.sleep(_PAUSE_S)
    raise KindError(
        f"the working folder {made.name} can't be removed: something still writes to it, or its files "
        "belong to somebody else. Remove it by hand"
    )


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    task, cancelled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
