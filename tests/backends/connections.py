"""A connection to a run's database, its thread, and what keeps that busy."""

from __future__ import annotations

import threading
from pathlib import Path

from kon.backends.sqlite import SqliteBackend, schema
from kon.backends.sqlite.connection import Connection
from tests.backends.given import LONG, RUN, database


def our_threads() -> list[str]:
    """Those of the backend; other parts of kon have threads of their own, for as long as the process."""
    ours = ("kon-sqlite-", "kon-objects")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(ours)]


def ignore() -> None:
    """Nobody watches."""


async def connected(folder: Path) -> Connection:
    await SqliteBackend({"path": str(folder)}).create(RUN, LONG)
    file = database(folder)
    return Connection(file, lambda: schema.connect(file, "normal", None), 5.0, ignore)


class Held:
    """Keeps a connection's thread busy until it is let go, so that calls gather behind it."""

    def __init__(self, connection: Connection) -> None:
        self._free = threading.Event()
        self.call = connection.read(lambda db: self._free.wait(30.0))

    def let_go(self) -> None:
        self._free.set()
