"""`animoto`: makes a video of a list of links to images, and stores it. Its result has a link to it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec

from kon.core.kind import Attempt, Kind
from kon.core.objects import ObjectStore
from kon.core.options import Given, read_options
from kon.core.spec import processors
from kon.kinds.stored import AtLeast1, check_installed
from kon.kinds.video.film import Film, film_of
from kon.kinds.video.jobfile import demo_names, film_for, parse_job, read_job
from kon.kinds.video.times import Times
from kon.kinds.web.limits import FetchLimits

if TYPE_CHECKING:  # it takes a while to import, and whoever only checks an experiment does without
    from kon.kinds.video.job import Studio


_WEEK: Final = msgspec.Meta(
    ge=1, le=604_800, extra={"expected": "a number of seconds from 1 to 604800 (a week, S3's longest)"}
)


class AnimotoOptions(Film, frozen=True, kw_only=True):
    """Options of `animoto`: those of a look, which each job may have for itself as well, and the worker's.

    url_expires_s: how long the link in the result is good for. min_images: a job with fewer good ones fails.
    images: a folder, or `demo`: each worker serves its images on this machine; relative links mean them.
    allow: places other than the internet that links may lead to: file, loopback, private, link_local.
    connections: downloads at once. image_timeout_s: for one image, with its retries and redirects.
    image_bytes: the size of the largest image that is taken, as a file.
    audio_bytes: the size of the largest sound file.
    max_megapixels: the size of the largest image that is taken, in pixels.
    threads: threads that decode and encode; null for one for each processor.
    refresh: whether videos are made even where the same job has been done.
    """

    url_expires_s: Annotated[float, _WEEK] = 600.0
    min_images: AtLeast1 = 1
    images: Given | None = None
    allow: list[Literal["file", "loopback", "private", "link_local"]] = msgspec.field(default_factory=list)
    connections: AtLeast1 = 16
    image_timeout_s: Annotated[float, msgspec.Meta(ge=0.1)] = 20.0
    image_bytes: AtLeast1 = 20_000_000
    audio_bytes: AtLeast1 = 50_000_000
    max_megapixels: Annotated[float, msgspec.Meta(ge=0.001)] = 120.0
    threads: AtLeast1 | None = None
    refresh: bool = False
    slots: int = 1  # as in `Options`, which can't be a second base


class Animoto(Kind):
    """Makes a video of a list of links to images, and stores it.

    Images that can't be had or used are left out, each with its reason in the result."""

    name: ClassVar[str] = "animoto"
    takes = AnimotoOptions

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = read_options(f"kind {self.name}", options, AnimotoOptions)
        self._film = film_of(self._options)
        check_installed(self.name, {"aiohttp": "aiohttp", "av": "av", "PIL": "pillow"})
        self._studio: Studio | None = None
        self._close: list[Callable[[], Awaitable[None]]] = []

    def body_of_count(self, number: int) -> Any:
        """All of the pictures that kon makes up, for each number in another order: for `images: demo`."""
        made_up = demo_names()
        return random.Random(number).sample(made_up, len(made_up))

    def body_of_path(self, path: str) -> Any:
        """What the file says, not its name: a worker on another host has no such file."""
        return read_job(Path(path), self._film)

    def check(self, body: Any) -> None:
        job = parse_job(body)
        Times(film_for(job, self._film), job)

    async def open(self, objects: ObjectStore) -> None:
        """Raises ConfigurationError where `images` is no folder, or this PyAV lacks an encoder."""
        from kon.kinds.pictures.crew import Crew
        from kon.kinds.video.fetch import Fetcher
        from kon.kinds.video.filming import JobRules
        from kon.kinds.video.job import Studio
        from kon.kinds.video.room import give_back_large_blocks
        from kon.kinds.video.server import HERE, ImageServer, images_of
        from kon.kinds.web.links import Guard

        give_back_large_blocks()
        options, own, server, place = self._options, [], None, ""
        if options.images is not None:
            images = images_of(options.images)
            server = ImageServer(images)
            await server.start()
            self._close.append(server.close)
            own, place = [(HERE, server.port)], images.place
        guard = Guard(options.allow, own)
        fetcher = Fetcher(_limits(options), guard, random.Random(), options.audio_bytes)
        self._close.append(fetcher.close)
        crew = Crew(options.threads or processors())
        self._close.append(crew.close)
        rules = JobRules(options.max_megapixels, options.min_images, options.url_expires_s, options.refresh)
        absolute = partial(guard.absolute, base=None) if server is None else partial(server.absolute, guard)
        self._studio = Studio(self._film, rules, objects, fetcher, absolute, crew, place)

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        """Raises KindError when too few images are good, or there is no sound where there should be."""
        assert self._studio is not None, "open comes first"
        return await self._studio.make(parse_job(body))

    async def close(self) -> None:
        while self._close:
            await self._close.pop()()


def _limits(options: AnimotoOptions) -> FetchLimits:
    return FetchLimits(
        connections=options.connections,
        timeout_s=options.image_timeout_s,
        silence_s=options.image_timeout_s / 2,  # so that there is time for a second attempt
        max_bytes=options.image_bytes,
    )
