"""`animoto`: makes a video of a list of links to images, and stores it. Its result has a link to it."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import msgspec

from kon.core.errors import ConfigurationError
from kon.core.kind import Attempt, Kind
from kon.core.objects import ObjectStore
from kon.kinds.needed import check_installed
from kon.kinds.options import Options, read_options
from kon.kinds.video.film import Film
from kon.kinds.video.jobfile import parse_job
from kon.kinds.web.limits import FetchLimits

if TYPE_CHECKING:  # it takes a while to import, and whoever only checks an experiment does without
    from kon.kinds.video.job import Studio


class AnimotoOptions(Options, frozen=True, kw_only=True):
    """The options of `animoto`.

    size: of the video, as WIDTHxHEIGHT. seconds: how long each image is on screen. format: mp4 or mkv.
    fps, repeat, preset, crf, crossfade_s, zoom, background, caption_font, caption_size, caption_position: see
        kon.kinds.video.film.Film.
    url_expires_s: how long the link in the result is good for. min_images: with fewer good ones a job fails.
    images: a folder, or `demo`: each worker serves its images on this machine, and relative links mean them.
    allow: what links may lead to beside the internet: any of file, loopback, private, link_local.
    connections: downloads at once. image_timeout_s: for one image, with its retries and redirects.
    image_bytes, max_megapixels: the largest image. audio_bytes: the largest sound file.
    threads: that decode and encode; None for as many as this process has processors.
    refresh: videos are made even where the same job has been done.
    """

    size: str = "1920x1080"
    seconds: float = 1.0
    fps: int = 25
    format: Literal["mp4", "mkv"] = "mp4"
    repeat: Literal["skip", "encode"] | None = None
    preset: str = "superfast"
    crf: float = 25.0
    crossfade_s: float = 0.0
    zoom: float = 1.0
    background: str = "black"
    caption_font: str = ""
    caption_size: float = 0.045
    caption_position: Literal["bottom", "middle", "top"] = "bottom"
    url_expires_s: float = 600.0
    min_images: int = 1
    images: str | None = None
    allow: list[Literal["file", "loopback", "private", "link_local"]] = msgspec.field(default_factory=list)
    connections: int = 16
    image_timeout_s: float = 20.0
    image_bytes: int = 20_000_000
    audio_bytes: int = 50_000_000
    max_megapixels: float = 120.0
    threads: int | None = None
    refresh: bool = False


class Animoto(Kind):
    """Images that can't be had or used are left out, each with its reason in the result."""

    name: ClassVar[str] = "animoto"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = read_options(self.name, options, AnimotoOptions)
        try:
            self._film = _film(self._options)
            _check(self._options)
        except ConfigurationError as error:
            raise ConfigurationError(f"the options of kind animoto: {error}") from error
        check_installed(self.name, {"aiohttp": "aiohttp", "av": "av", "PIL": "pillow"})
        self._studio: Studio | None = None
        self._close: list[Callable[[], Awaitable[None]]] = []

    def check(self, body: Any) -> None:
        parse_job(body)

    async def open(self, objects: ObjectStore) -> None:
        """Raises ConfigurationError where `images` is no folder, or `background` no colour."""
        from kon.kinds.pictures.crew import Crew
        from kon.kinds.video.allocator import give_back_large_blocks
        from kon.kinds.video.fetch import Fetcher
        from kon.kinds.video.job import Rules, Studio
        from kon.kinds.video.server import HERE, ImageServer, images_of
        from kon.kinds.web.links import Guard

        give_back_large_blocks()
        options, own, base, place = self._options, [], None, ""
        if options.images is not None:
            images = images_of(options.images)
            server = ImageServer(images)
            await server.start()
            self._close.append(server.close)
            own, base, place = [(HERE, server.port)], server.base, images.place
        guard = Guard(options.allow, own)
        fetcher = Fetcher(_limits(options), guard, random.Random(), options.audio_bytes)
        self._close.append(fetcher.close)
        crew = Crew(options.threads or processors())
        self._close.append(crew.close)
        rules = Rules(options.max_megapixels, options.min_images, options.url_expires_s, options.refresh)
        self._studio = Studio(self._film, rules, objects, fetcher, guard, crew, base, place)

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        """Raises KindError when too few images are good, or there is no sound where there should be."""
        assert self._studio is not None, "open comes first"
        return await self._studio.make(parse_job(body))

    async def close(self) -> None:
        while self._close:
            await self._close.pop()()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _film(options: AnimotoOptions) -> Film:
    """Raises ConfigurationError for what can't be."""
    across, cross, down = options.size.partition("x")
    if not (cross and across.isdecimal() and down.isdecimal()):
        raise ConfigurationError(f"size: expected WIDTHxHEIGHT such as 1920x1080, got {options.size!r:.80}")
    return Film(
        width=int(across),
        height=int(down),
        fps=options.fps,
        image_s=options.seconds,
        container=options.format,
        repeat=options.repeat,
        preset=options.preset,
        crf=options.crf,
        crossfade_s=options.crossfade_s,
        zoom=options.zoom,
        background=options.background,
        caption_font=options.caption_font,
        caption_size=options.caption_size,
        caption_position=options.caption_position,
    )


def _limits(options: AnimotoOptions) -> FetchLimits:
    return FetchLimits(
        connections=options.connections,
        timeout_s=options.image_timeout_s,
        silence_s=options.image_timeout_s / 2,  # so that there is time for a second attempt
        max_bytes=options.image_bytes,
    )


_LEAST: Final[dict[str, float]] = {
    "url_expires_s": 1,
    "min_images": 1,
    "connections": 1,
    "image_timeout_s": 0.1,
    "image_bytes": 1,
    "audio_bytes": 1,
    "max_megapixels": 0.001,
    "threads": 1,
}
_MOST_EXPIRES_S: Final = 7 * 86_400
"""Links that S3 signs are good for a week at most."""


def _check(options: AnimotoOptions) -> None:
    for name, least in _LEAST.items():
        value = getattr(options, name)
        if value is not None and not value >= least:
            raise ConfigurationError(f"{name}: expected {least:g} or more, got {value:g}")
    if options.url_expires_s > _MOST_EXPIRES_S:
        raise ConfigurationError(
            f"url_expires_s: expected {_MOST_EXPIRES_S} (a week) at most, got {options.url_expires_s:g}"
        )
