"""The working folder of an attempt: there while it works, gone afterwards, however it ends."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from kon.errors import KindError

_TRIES: Final = 100
_PAUSE_S: Final = 0.05


@asynccontextmanager
async def working_folder(kind: str) -> AsyncIterator[Path]:
    """A new folder where the system keeps temporary files (TMPDIR). Raises KindError where none can be made.

    Cancelled, the attempt still waits until the folder is gone.
    """
    try:
        # its own errors are ignored, as it is asked again until the folder is gone
        made = tempfile.TemporaryDirectory(prefix=f"kon-{kind}-", ignore_cleanup_errors=True)
    except OSError as error:
        raise KindError(
            f"no working folder can be made in {tempfile.gettempdir()}: {error.strerror}. "
            "Make room there, or set TMPDIR for the workers"
        ) from error
    try:
        yield Path(made.name)
    finally:
        await _to_its_end(_remove(made))


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
