"""The object store: files by key, and links to them that expire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class ObjectStore(ABC):
    """Keys are relative paths with forward slashes. A put is whole or not there at all."""

    @abstractmethod
    async def put(self, key: str, file: Path) -> None:
        """Store the file's bytes under the key, in place of what was there."""

    @abstractmethod
    async def get(self, key: str, file: Path) -> None:
        """Write the object's bytes to a file. Raises KeyError when there is no such object."""

    @abstractmethod
    async def url(self, key: str, expires_s: float) -> str:
        """A link to the object that is good for `expires_s` seconds, where the store can expire links.

        Raises KeyError when there is no such object.
        """
