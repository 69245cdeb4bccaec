"""An object store in memory."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from kon.core.objects import ObjectStore, check_key


class MemoryObjects(ObjectStore):
    """Bytes by key. Files are read and written in one go on the loop's own thread, as its virtual time
    has no other."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    async def put(self, key: str, file: Path) -> None:
        self._objects[check_key(key)] = file.read_bytes()  # noqa: ASYNC240 # see the class

    async def get(self, key: str, file: Path) -> None:
        file.write_bytes(self._objects[check_key(key)])  # noqa: ASYNC240

    async def size_bytes(self, key: str) -> int:
        return len(self._objects[check_key(key)])

    async def url(self, key: str, expires_s: float) -> str:
        """A name for the object, `memory:` and its key; no program outside of this process can follow it."""
        if check_key(key) not in self._objects:
            raise KeyError(key)
        return f"memory:{quote(key)}"
