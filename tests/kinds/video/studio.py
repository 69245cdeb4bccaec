"""Jobs of videos, from a server on this machine to a store in memory, and which colours their images have."""

from __future__ import annotations

import random
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from kon.backends.memory.backend import MemoryObjects
from kon.core.objects import ObjectStore
from kon.kinds.pictures.crew import Crew
from kon.kinds.video.fetch import Fetcher
from kon.kinds.video.film import Film
from kon.kinds.video.filming import JobRules
from kon.kinds.video.job import Studio
from kon.kinds.video.jobfile import VideoJob
from kon.kinds.web.limits import FetchLimits
from kon.kinds.web.links import Guard
from tests.kinds.video.given import SMALL, encoded, plain, run, site, watch, ycbcr

LIMITS = FetchLimits(timeout_s=5.0, silence_s=2.0, backoff_s=0.001)

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (255, 255, 0), (0, 255, 255))


@asynccontextmanager
async def studio(
    objects: ObjectStore, film: Film = SMALL, rules: JobRules | None = None, limits: FetchLimits = LIMITS
) -> AsyncIterator[Studio]:
    guard = Guard(["loopback"])
    fetcher = Fetcher(limits, guard, random.Random(1))
    crew = Crew(2)
    try:
        absolute = partial(guard.absolute, base=None)
        yield Studio(film, rules or JobRules(), objects, fetcher, absolute, crew)
    finally:
        await fetcher.close()
        await crew.close()


def colour(number: int) -> bytes:
    red, green, blue = COLOURS[number % len(COLOURS)]
    return encoded(plain(f"rgb({red},{green},{blue})", 320, 180))


async def shown(objects: MemoryObjects, key: str, folder: Path) -> list[int]:
    """Which of the colours each image of a video is."""
    await objects.get(key, folder / "got.mp4")
    video = watch(folder / "got.mp4")
    levels = [ycbcr(each)[0] for each in COLOURS]
    first = [int(luma[90, 160]) for luma in video.luma[:: SMALL.frames(SMALL.seconds)]]
    return [min(range(len(levels)), key=lambda n: abs(levels[n] - level)) for level in first]


def made(folder: Path, links: Sequence[str], pages: dict[str, Any], film: Film = SMALL, **rules: Any) -> Any:
    """The result of a job with links to pages, and the colours of its video."""

    async def main() -> Any:
        objects = MemoryObjects()
        async with site() as place, studio(objects, film, JobRules(**rules)) as works:
            place.pages.update(pages)
            job = VideoJob(tuple(place.url(link) if ":" not in link else link for link in links))
            result = await works.make(job)
        return result, await shown(objects, result["key"], folder)

    return run(main())


class Changing:
    """A page whose content may change, with an ETag where `tagged`."""

    def __init__(self, content: bytes, tagged: bool = True) -> None:
        self.content = content
        self._tagged = tagged
        self.methods: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.methods.append(request.method)
        response = web.Response(body=self.content)
        if self._tagged:
            response.etag = f"{zlib.crc32(self.content):x}"
        return response
