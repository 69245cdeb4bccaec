"""What the tests of kinds share: attempts, processes that tell how they are, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kon.backends.memory.backend import MemoryObjects
from kon.core.errors import KindError
from kon.core.kind import Attempt, Kind

_Result = TypeVar("_Result")

LIMIT_S = 20.0
"""For what must happen soon: a test that waits longer has failed."""


def attempt(index: int = 0, number: int = 1) -> Attempt:
    return Attempt(run="a-run", index=index, number=number)


def with_kind(kind: Kind, use: Callable[[Kind], Awaitable[_Result]]) -> _Result:
    """Use a kind in a loop of its own, and close it."""

    async def main() -> _Result:
        try:
            async with asyncio.timeout(LIMIT_S):
                return await use(kind)
        finally:
            await kind.close()

    return asyncio.run(main())


def execute(kind: Kind, body: Any = None, index: int = 0, number: int = 1) -> Any:
    """One attempt."""
    return with_kind(kind, lambda kind: kind.execute(body, attempt(index, number)))


def failure(kind: Kind, body: Any = None) -> KindError:
    """The error of one attempt, which must fail."""
    with pytest.raises(KindError) as raised:
        execute(kind, body)
    return raised.value


class Fifo:
    """A named pipe through which processes tell that they are there, and by its end that none is left."""

    def __init__(self, path: Path, reader: asyncio.StreamReader) -> None:
        self.path = path
        self._reader = reader

    async def line(self) -> str:
        async with asyncio.timeout(LIMIT_S):
            return (await self._reader.readline()).decode().rstrip("\n")

    async def end(self) -> None:
        """Returns when every process that had it open for writing has ended."""
        async with asyncio.timeout(LIMIT_S):
            await self._reader.read()


@asynccontextmanager
async def fifo(folder: Path) -> AsyncIterator[Fifo]:
    path = folder / "fifo"
    os.mkfifo(path)
    reader = asyncio.StreamReader()
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    try:
        yield Fifo(path, reader)
    finally:
        transport.close()


@contextmanager
def nothing_left() -> Iterator[None]:
    """No file descriptor and no child, dead or alive, remains of what is done inside."""
    gc.disable()  # what an earlier test has left to be collected is not to go meanwhile
    try:
        files, processes = open_files(), children()
        yield
        assert open_files() == files
        assert children() == processes
    finally:
        gc.enable()


def children() -> set[int]:
    """The child processes of this one, dead ones that nobody has reaped among them. There may be some
    that an earlier test has left for good: multiprocessing keeps one, once it has been used."""
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as ps:
        assert ps.stdout is not None
        pairs = [line.split() for line in ps.stdout]
    return {int(pid) for pid, parent in pairs if int(parent) == os.getpid()} - {ps.pid}


def open_files() -> set[str]:
    return {name for name in os.listdir("/dev/fd") if _is_open(int(name))}  # noqa: PTH208 - names, not paths


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:  # the one that the listing itself used
        return False
    return True


class CountingObjects(MemoryObjects):
    """Knows what was put into it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[str] = []

    async def put(self, key: str, file: Path) -> None:
        self.puts.append(key)
        await super().put(key, file)
