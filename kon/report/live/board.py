"""The board: the latest of everything that viewers are shown, and who waits for news of it.

A viewer who is slow finds only the latest when it comes back: nothing is kept for anyone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Iterator
from typing import NamedTuple


class Part(NamedTuple):
    """One thing that is shown. version: grows with each change of anything. topic: a run's id, or empty."""

    version: int
    topic: str
    event: str
    data: bytes


class Board:
    def __init__(self) -> None:
        self._name = secrets.token_hex(4)
        """So that the marks of another server are not taken for this one's."""
        self._version = 0
        self._parts: dict[tuple[str, str], Part] = {}
        self._news = asyncio.Event()

    def put(self, topic: str, event: str, data: bytes) -> None:
        """Show it, and wake who waits; nothing happens where it is what is shown already."""
        before = self._parts.get((topic, event))
        if before is not None and before.data == data:
            return
        self._version += 1
        self._parts[topic, event] = Part(self._version, topic, event, data)
        news, self._news = self._news, asyncio.Event()
        news.set()

    def drop(self, topic: str) -> None:
        """Forget what is shown of it; for what nobody looks at any more."""
        for key in [key for key in self._parts if key[0] == topic]:
            del self._parts[key]

    def since(self, version: int, topics: Collection[str]) -> list[Part]:
        """What has changed, in the order of its changes."""
        parts = (each for each in self._parts.values() if each.version > version and each.topic in topics)
        return sorted(parts)

    async def news(self, version: int, topics: Collection[str]) -> list[Part]:
        """The news, once there is something."""
        while not (parts := self.since(version, topics)):
            await self._news.wait()
        return parts

    def mark(self, version: int) -> str:
        """What a viewer says when it comes back."""
        return f"{self._name}-{version}"

    def version_of(self, mark: str) -> int:
        """0 for a mark that is not of this board."""
        name, _, version = mark.partition("-")
        known = name == self._name and version.isascii() and version.isdecimal() and len(version) < 16
        return min(int(version), self._version) if known else 0


def framed(parts: list[Part], mark: str) -> Iterator[bytes]:
    """As server-sent events. Their id stands on the last one: who has half of them has none."""
    for number, part in enumerate(parts, start=1):
        id = f"id: {mark}\n" if number == len(parts) else ""
        yield f"event: {part.event}\n{id}data: ".encode() + part.data + b"\n\n"
