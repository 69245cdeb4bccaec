"""An object store in virtual time."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from urllib.parse import quote

from kon.backends.sim.network import Network, NetworkCall
from kon.core.objects import ObjectStore, check_key


class SimObjects(ObjectStore):
    """Bytes by key. Files of the real machine are read and written in one go: that takes no virtual time."""

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self._network = network
        self._objects: dict[str, bytes] = {}

    async def put(self, key: str, file: Path) -> None:
        content = file.read_bytes()  # noqa: ASYNC240 # see the class
        call = NetworkCall("objects", self.name, "put", 1, loses="write_reply_lost")
        await self._network.call(call, functools.partial(self._store, check_key(key), content))

    async def get(self, key: str, file: Path) -> None:
        call = NetworkCall("objects", self.name, "get", 1)
        content = await self._network.call(call, functools.partial(self._find, check_key(key)))
        file.write_bytes(content)  # noqa: ASYNC240

    async def size_bytes(self, key: str) -> int:
        call = NetworkCall("objects", self.name, "size_bytes", 1)
        return len(await self._network.call(call, functools.partial(self._find, check_key(key))))

    async def url(self, key: str, expires_s: float) -> str:
        """`sim:`, the key, and the virtual second at which the link expires."""
        call = NetworkCall("objects", self.name, "url", 1)
        await self._network.call(call, functools.partial(self._find, check_key(key)))
        expires_at_s = asyncio.get_running_loop().time() + expires_s
        return f"sim:{quote(key)}?expires_at_s={expires_at_s:.3f}"

    def _store(self, key: str, content: bytes, host: str) -> None:
        self._objects[key] = content

    def _find(self, key: str, host: str) -> bytes:
        return self._objects[key]
