"""`mirror`: copies what a link leads to into the store, unless the same is there already."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec

from kon.core.errors import ConfigurationError
from kon.core.kind import Attempt, Kind, Several
from kon.core.objects import ObjectStore, check_key
from kon.core.options import Given, OptionError, Options, read_options
from kon.kinds.mirroritem import expanded, key_of, parse_item, parse_line
from kon.kinds.stored import AtLeast1, check_installed
from kon.kinds.web.limits import BadLink, FetchLimits
from kon.kinds.web.links import Guard

if TYPE_CHECKING:  # it takes a while to import, and whoever only checks an experiment does without
    from kon.kinds.copier import Copier


class MirrorOptions(Options, frozen=True, kw_only=True):
    """Options of `mirror`.

    prefix: the beginning of keys that are made of links. link_bytes: the size of the largest copy.
    link_timeout_s: for one request, with its tries and redirects. tries: attempts at each request.
    redirects: how many redirects are followed for each request.
    backoff_s: the pause before the second try; doubled for each later one.
    allow: places other than the internet that links may lead to: loopback, private, link_local.
    images: a folder, or `demo`: each worker serves its images on this machine, and relative links mean them.
    """

    prefix: str = "mirror"
    link_bytes: AtLeast1 = 1_000_000_000
    link_timeout_s: Annotated[float, msgspec.Meta(ge=0.1)] = 600.0
    tries: AtLeast1 = 4
    redirects: Annotated[int, msgspec.Meta(ge=0)] = 5
    backoff_s: Annotated[float, msgspec.Meta(ge=0)] = 0.2
    allow: list[Literal["loopback", "private", "link_local"]] = msgspec.field(default_factory=list)
    images: Given | None = None


_LONGEST_SILENCE_S: Final = 30.0


class Mirror(Kind):
    """Copies what a link leads to into the store, unless the same is there already.

    The body is a link, or a mapping with `link` and perhaps `key`, `checksum` and `size_bytes`."""

    name: ClassVar[str] = "mirror"
    takes = MirrorOptions

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = read_options(f"kind {self.name}", options, MirrorOptions)
        try:
            check_key(self._options.prefix)
        except ConfigurationError as error:
            raise OptionError(f'option "prefix" of kind mirror: {error}', "prefix") from error
        check_installed(
            self.name, {"aiohttp": "aiohttp", **({"PIL": "pillow"} if self._options.images else {})}
        )
        self._guard = Guard(self._options.allow, takes_files=False)
        self._copier: Copier | None = None
        self._close: list[Callable[[], Awaitable[None]]] = []

    def body_of_line(self, line: str) -> Any:
        """A link, perhaps a checksum after it, or a mapping as JSON; a numbered link makes several."""
        return self.body_of_item(parse_line(line))

    def body_of_item(self, item: Any) -> Any:
        make = expanded(item)
        return item if make is None else Several(make)

    def check(self, body: Any) -> None:
        item = parse_item(body)
        try:
            self._guard.absolute(
                item.link.strip(), None if self._options.images is None else "http://localhost/"
            )
            check_key(key_of(item, self._options.prefix))
        except (BadLink, ValueError) as error:
            raise ConfigurationError(f"the link {item.link!r:.200}: {error}") from error

    def shared_keys(self, body: Any) -> Sequence[str]:
        key = parse_item(body).key
        return () if key is None else (key,)  # keys that are made of links differ as these do

    async def open(self, objects: ObjectStore) -> None:
        """Raises ConfigurationError where `images` is no folder."""
        from kon.kinds.copier import Copier
        from kon.kinds.web.client import WebClient

        options, absolute = self._options, partial(self._guard.absolute, base=None)
        if options.images is not None:
            from kon.kinds.video.server import HERE, ImageServer, images_of

            server = ImageServer(images_of(options.images))
            await server.start()
            self._close.append(server.close)
            self._guard = Guard(options.allow, [(HERE, server.port)], takes_files=False)
            absolute = partial(server.absolute, self._guard)
        web = WebClient(_limits(options), self._guard, random.Random(), agent="kon-mirror")
        self._close.append(web.close)
        self._copier = Copier(objects, web, absolute, options.link_bytes, options.prefix)

    async def execute(self, body: Any, attempt: Attempt) -> Any:
        """Raises KindError when the link can't be copied."""
        assert self._copier is not None, "open comes first"
        return await self._copier.copy(parse_item(body))

    async def close(self) -> None:
        while self._close:
            await self._close.pop()()


def _limits(options: MirrorOptions) -> FetchLimits:
    return FetchLimits(
        connections=options.slots,
        timeout_s=options.link_timeout_s,
        silence_s=min(options.link_timeout_s / 2, _LONGEST_SILENCE_S),
        max_bytes=options.link_bytes,
        max_redirects=options.redirects,
        tries=options.tries,
        backoff_s=options.backoff_s,
    )
