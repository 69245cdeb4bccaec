"""Fetching images and sound into memory, each within its limits."""

from __future__ import annotations

import asyncio
import os
import random
import stat
from collections.abc import Awaitable, Callable
from typing import BinaryIO, ClassVar, Final, NamedTuple, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohttp

from kon.kinds.pictures.header import SNIFF_BYTES, type_of
from kon.kinds.pictures.refusal import BadImage
from kon.kinds.web.client import Deadline, WebClient, content
from kon.kinds.web.limits import FetchLimits
from kon.kinds.web.links import Guard

Hold = Callable[[int], Awaitable[None]]
"""Waits until that many bytes in all may be held for the image."""


class Fetched(NamedTuple):
    """mark: what tells this content from what the link may lead to later; empty where nothing does."""

    data: bytes
    mark: str


class Fetcher:
    """Fetches for one worker. Make it in the running loop."""

    def __init__(
        self, limits: FetchLimits, guard: Guard, rng: random.Random, sound_bytes: int = 50_000_000
    ) -> None:
        """limits: of images. sound_bytes: the largest sound file."""
        self._image_bytes = limits.max_bytes
        self._sound_bytes = sound_bytes
        self._web = WebClient(limits, guard, rng, agent="kon-animoto", accept="image/*")

    async def close(self) -> None:
        await self._web.close()

    async def image(self, link: str, hold: Hold) -> Fetched:
        """An image. Raises BadLink when it can't be had; BadImage for what is none."""
        return await self._body(link, _Image(self._image_bytes, hold))

    async def sound(self, link: str) -> Fetched:
        """A file; whether it is sound is seen when it is decoded. Raises BadLink."""
        return await self._body(link, _Body(self._sound_bytes, _no_wait))

    async def mark(self, link: str) -> str:
        """The mark of what the link leads to now, without its content. Raises BadLink."""
        if urlsplit(link).scheme == "file":
            return await asyncio.to_thread(_file_mark, link)

        async def look(response: aiohttp.ClientResponse, deadline: Deadline) -> str:
            return _mark(response)

        return await self._web.ask(link, look, "HEAD")

    async def _body(self, link: str, wanted: _Body) -> Fetched:
        if urlsplit(link).scheme == "file":
            return Fetched(await _read_file(link, wanted), await asyncio.to_thread(_file_mark, link))

        async def read(response: aiohttp.ClientResponse, deadline: Deadline) -> Fetched:
            body = wanted.again(deadline)  # each attempt begins with nothing
            if (response.content_length or 0) > body.max_bytes:
                raise body.too_large()
            async for chunk in content(response, body.max_bytes):
                await body.add(chunk)
            return Fetched(body.whole(), _mark(response))

        return await self._web.ask(link, read)


def _mark(response: aiohttp.ClientResponse) -> str:
    etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    if etag:
        return f"etag {etag}"
    return f"modified {modified} {response.content_length}" if modified else ""


async def _no_wait(size_bytes: int) -> None:
    """A job has one sound file, and room for it."""


_STEP_BYTES: Final = 64 * 1024
"""What room is asked for ahead of what has come; and how much of a file is read at once."""


class _Body:
    """What has come of a body. option: the one that limits it."""

    option: ClassVar[str] = "audio_bytes"

    def __init__(self, max_bytes: int, hold: Hold) -> None:
        self.max_bytes = max_bytes
        self._size_bytes = 0
        self._parts: list[bytes] = []  # joined once: a buffer that grows is copied again and again
        self._hold = hold
        self._held_bytes = 0

    def again(self, deadline: Deadline) -> Self:
        """An empty one. Time spent waiting for this worker's own memory is not the server's."""
        return type(self)(self.max_bytes, lambda size_bytes: deadline.outside(self._hold(size_bytes)))

    def too_large(self) -> BadImage:
        return BadImage(
            f"it has more than {self.max_bytes:,} bytes, and the option {self.option} allows no more"
        )

    async def add(self, chunk: bytes) -> None:
        before_bytes, self._size_bytes = self._size_bytes, self._size_bytes + len(chunk)
        if self._size_bytes > self.max_bytes:
            raise self.too_large()
        if self._size_bytes > self._held_bytes:
            self._held_bytes = self._size_bytes + _STEP_BYTES
            await self._hold(self._held_bytes)
        self._parts.append(chunk)
        if before_bytes < SNIFF_BYTES <= self._size_bytes:
            self._look(b"".join(self._parts))

    def whole(self) -> bytes:
        if not self._size_bytes:
            raise BadImage("it is empty")
        return b"".join(self._parts)

    def _look(self, start: bytes) -> None:
        """Raises BadImage where the first bytes tell that the rest is not worth fetching."""


class _Image(_Body):
    option = "image_bytes"

    def _look(self, start: bytes) -> None:
        type_of(start[:SNIFF_BYTES])

    def whole(self) -> bytes:
        content = super().whole()
        type_of(content[:SNIFF_BYTES])
        return content


async def _read_file(link: str, body: _Body) -> bytes:
    path = url2pathname(urlsplit(link).path)
    try:
        file = await asyncio.to_thread(_opened, path)
        with file:
            while chunk := await asyncio.to_thread(file.read, _STEP_BYTES):
                await body.add(chunk)
    except OSError as error:
        raise BadImage(f"its file can't be read: {error.strerror or type(error).__name__}") from error
    return body.whole()


def _file_mark(link: str) -> str:
    """Empty where there is no file: to read it says why."""
    try:
        found = os.stat(url2pathname(urlsplit(link).path))  # noqa: PTH116 - as it is opened: by its name in bytes
    except OSError:
        return ""
    return f"file {found.st_ino} {found.st_mtime_ns} {found.st_size}"


def _opened(path: str) -> BinaryIO:
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BadImage("its link names no regular file")
    return file
