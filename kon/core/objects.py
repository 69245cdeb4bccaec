"""The object store: files by key, and links to them that expire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from kon.core.errors import ConfigurationError

NOT_A_NAME: Final = frozenset({"", ".", ".."})
"""What no part of a key, and no name of a file or run, can be."""


class ObjectStore(ABC):
    """Keys are relative paths with forward slashes. A put is whole or not there at all."""

    @abstractmethod
    async def put(self, key: str, file: Path) -> None:
        """Store the file's bytes under the key, in place of what was there."""

    @abstractmethod
    async def get(self, key: str, file: Path) -> None:
        """Write the object's bytes to a file. Raises KeyError when there is no such object."""

    @abstractmethod
    async def size_bytes(self, key: str) -> int:
        """How large the object is. Raises KeyError when there is no such object."""

    @abstractmethod
    async def url(self, key: str, expires_s: float) -> str:
        """A link to the object that is good for `expires_s` seconds, where the store can expire links.

        Raises KeyError when there is no such object.
        """

    async def signed(self, key: str, expires_s: float) -> tuple[str, float | None]:
        """A link as `url` makes it, and when it dies, in seconds since the epoch; None for never.

        That may be sooner than was asked for. Raises KeyError when there is no such object.
        """
        return await self.url(key, expires_s), None


def check_key(key: str) -> str:
    """The key itself. Raises ConfigurationError for one that could lead out of its store."""
    if "\\" in key or "\0" in key or not NOT_A_NAME.isdisjoint(key.split("/")):
        raise ConfigurationError(
            f"the object key {key!r} is not a relative path of plain names with forward slashes; "
            "nothing was stored or read"
        )
    return key


def check_run(run: str) -> str:
    """The run's name itself. Raises ConfigurationError for one that is not the plain name of a folder."""
    if run in NOT_A_NAME or not {"/", "\\", "\0"}.isdisjoint(run):
        raise ConfigurationError(f"the run {run!r} can't be the name of a folder; choose one without slashes")
    return run
