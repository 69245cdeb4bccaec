"""A run in a folder, as the tests of the sqlite backend find it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from kon.backends.sqlite import SqliteBackend
from kon.core.backend import Channel, ChannelOptions

RUN: Final = "given"
LONG: Final = ChannelOptions(visibility_s=30.0, max_receives=3)


def database(folder: Path) -> Path:
    return folder / RUN / "kon.db"


@asynccontextmanager
async def opened(
    folder: Path, options: ChannelOptions = LONG, **backend_options: Any
) -> AsyncIterator[Channel]:
    """A channel of the run in this folder, made if it is not there."""
    backend = SqliteBackend({"path": str(folder), **backend_options})
    await backend.create(RUN, options)
    try:
        yield await backend.open(RUN)
    finally:
        await backend.close()
