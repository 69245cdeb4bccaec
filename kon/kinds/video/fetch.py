"""Fetching images and sound into memory, each within its limits."""

from __future__ import annotations

import asyncio
import os
import random
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, NamedTuple, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohttp

from kon.core.errors import KindError
from kon.kinds.pictures.crew import Crew
from kon.kinds.pictures.header import SNIFF_BYTES, type_of
from kon.kinds.web.client import Deadline, WebClient, content
from kon.kinds.web.limits import BadImage, FetchLimits
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


class _Kept(NamedTuple):
    """A body in the job's folder: in memory it would take room until its last image has been decoded."""

    file: Path
    size_bytes: int
    mark: str


class FetchOnce:
    """links: all that the job names. absolute: makes a link one that can be fetched, or raises BadLink.
    folder: the job's own."""

    def __init__(
        self,
        fetcher: Fetcher,
        absolute: Callable[[str], str],
        links: Iterable[str],
        crew: Crew,
        folder: Path,
    ) -> None:
        self._fetcher = fetcher
        self._absolute = absolute
        self._crew = crew
        self._folder = folder
        self._again = {link for link, times in Counter(links).items() if times > 1}
        self._kept: dict[str, asyncio.Future[_Kept]] = {}

    async def image(self, link: str, hold: Hold) -> Fetched:
        """What the link leads to. Raises BadLink, for all images of a link alike; KindError where the disk is
        full.

        The first that asks fetches. It has to come first in the video, so that it never waits for room.
        """
        if link not in self._again:
            return await self._fetcher.image(self._absolute(link), hold)
        if link in self._kept:
            # shielded: whoever is cancelled here takes nothing from the others
            kept = await asyncio.shield(self._kept[link])
            await hold(kept.size_bytes)
            return Fetched(await self._crew.do(kept.file.read_bytes), kept.mark)
        file = self._folder / f"link-{len(self._kept)}"  # now, as there are more by the time it has come
        future = self._kept[link] = asyncio.get_running_loop().create_future()
        try:
            fetched = await self._fetcher.image(self._absolute(link), hold)
            await self._crew.do(self._write, file, fetched.data)
        except Exception as error:
            future.set_exception(error)
            future.exception()  # looked at: perhaps nobody else waits for it
            raise
        except BaseException:
            future.cancel()
            raise
        future.set_result(_Kept(file, len(fetched.data), fetched.mark))
        return fetched

    def _write(self, file: Path, data: bytes) -> None:
        try:
            file.write_bytes(data)
        except OSError as error:
            raise KindError(
                f"an image can't be written to {file.parent}: {error.strerror}. Make room there, or set "
                "TMPDIR for the workers"
            ) from error
