"""Keys of videos, and what is noted of a job that has been done, so that nobody does it again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kon.core.objects import ObjectStore
from kon.kinds.pictures.crew import Crew
from kon.kinds.video.fetch import Fetcher
from kon.kinds.video.film import Film
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.web.limits import BadLink

VERSION: Final = 5
"""Version of what is made of a job. It is part of the keys: a kon that makes videos otherwise stores them
elsewhere."""


def key_of(film: Film, of: object, suffix: str, fonts: Sequence[str] = ()) -> str:
    """Where something is stored: a function of what it is made of and how.

    fonts: digests of those that its texts are set in, next to kon's own.
    """
    said = msgspec.json.encode((VERSION, film, of, fonts), order="sorted")
    return f"animoto/{hashlib.sha256(said).hexdigest()[:32]}.{suffix}"


def made_of(job: VideoJob) -> VideoJob:
    """What of a job decides its video next to its look and to what its links led to."""
    return msgspec.structs.replace(job, links=(), audio=None, look={})


class Note(msgspec.Struct, frozen=True):
    """What was made of a job, and of what. Stored where whoever has the same job looks first.

    result: without the link to the video. marks: by link, what told its content from any later one.
    """

    result: dict[str, Any]
    marks: dict[str, str]


class DoneJobs:
    """The notes of them in one store. absolute: makes a link one that can be fetched, or raises BadLink."""

    def __init__(
        self, objects: ObjectStore, fetcher: Fetcher, crew: Crew, absolute: Callable[[str], str]
    ) -> None:
        self._objects = objects
        self._fetcher = fetcher
        self._crew = crew
        self._absolute = absolute

    async def result(self, key: str, file: Path) -> dict[str, Any] | None:
        """The result of the job with that note, where it has been done and its links lead to what they did.

        file: one that may be written.
        """
        try:
            await self._objects.get(key, file)
            note = msgspec.json.decode(await self._crew.do(file.read_bytes), type=Note)
            for name in ("key", "poster_key"):
                if name in note.result:
                    await self._objects.size_bytes(note.result[name])
        except (KeyError, msgspec.DecodeError):
            return None
        return note.result if await self._same(note.marks) else None

    async def write(self, key: str, note: Note, file: Path) -> None:
        await self._crew.do(file.write_bytes, msgspec.json.encode(note))
        await self._objects.put(key, file)

    async def _same(self, marks: Mapping[str, str]) -> bool:
        """Whether each link leads to what it led to. One that nothing tells from others counts as changed."""
        if not all(marks.values()):
            return False

        async def changed(link: str, mark: str) -> bool:
            try:
                return await self._fetcher.mark(self._absolute(link)) != mark
            except BadLink:  # gone, or its server does not answer a HEAD: to make the video again shows which
                return True

        looks = [asyncio.create_task(changed(link, mark)) for link, mark in marks.items()]
        try:
            for look in asyncio.as_completed(looks):
                if await look:
                    return False
            return True
        finally:
            for each in looks:
                each.cancel()
            await ended(tuple(looks))


async def ended(tasks: tuple[asyncio.Task[Any], ...]) -> None:
    """Return when all have ended, cancelled meanwhile or not."""
    cancelled = False
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            cancelled = True
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            task.exception()  # looked at, so that asyncio does not complain
    if cancelled:
        raise asyncio.CancelledError
