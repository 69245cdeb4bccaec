"""`mirror`: copies what a link leads to into the store, unless the store has it already.

An item is a link, and what is known of the file behind it.
"""

from __future__ import annotations

import hashlib
import posixpath
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

import msgspec

from kon.core.errors import ConfigurationError
from kon.core.kind import Attempt, Kind, Several
from kon.core.objects import ObjectStore, check_key
from kon.core.options import Given, OptionError, Options, read_options
from kon.kinds.stored import AtLeast1, check_installed, count_of, numbered
from kon.kinds.web.limits import BadLink, FetchLimits
from kon.kinds.web.links import Guard

if TYPE_CHECKING:
    from kon.kinds.copier import Copier


CHECKSUMS: Final = ("md5", "sha1", "sha256", "sha512")
_LONGEST_LINK: Final = 8_192
_LONGEST_KEY: Final = 800
_LONGEST_NAME: Final = 200
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~%!$&'()*+,;=:@-]+")
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9._~-]")


class LinkItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be copied.

    key: where to; None for one that is made of the link. checksum: such as `sha256:6bd3...`; one of
    `CHECKSUMS`. size_bytes: how large it must be.
    """

    link: str
    key: str | None = None
    checksum: str | None = None
    size_bytes: int | None = None

    @property
    def digest(self) -> tuple[str, str] | None:
        """Algorithm and value, in small letters."""
        if self.checksum is None:
            return None
        name, _, value = self.checksum.partition(":")
        return name, value.lower()


def parse_item(body: Any) -> LinkItem:
    """From a task's body: a link, or a mapping with `link`. Raises ConfigurationError."""
    try:
        item = msgspec.convert({"link": body} if isinstance(body, str) else body, LinkItem)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            'expected a link, or a mapping with "link" and perhaps "key", "checksum" and "size_bytes": '
            f"{error}"
        ) from error
    if not item.link.strip() or len(item.link) > _LONGEST_LINK or not item.link.isprintable():
        raise ConfigurationError(f"expected a link of up to {_LONGEST_LINK:,} signs, got {item.link!r:.80}")
    if item.digest is not None:
        name, value = item.digest
        signs = hashlib.new(name).digest_size * 2 if name in CHECKSUMS else 0
        if not (signs and re.fullmatch(rf"[0-9a-f]{{{signs}}}", value)):
            raise ConfigurationError(
                f"checksum: expected one of {', '.join(CHECKSUMS)}, a colon and its value in hexadecimal, "
                f"got {item.checksum!r:.160}"
            )
    if item.size_bytes is not None and item.size_bytes < 0:
        raise ConfigurationError(f"size_bytes: expected 0 or more, got {item.size_bytes}")
    if item.key is not None:
        check_key(item.key)
        if len(item.key.encode()) > _LONGEST_KEY:
            raise ConfigurationError(f"key: expected {_LONGEST_KEY} bytes at most, got {item.key!r:.80}...")
    return item


def parse_line(line: str) -> Any:
    """A line of a list: a link, perhaps blanks and a checksum after it; or a mapping, as JSON."""
    words = line.split()
    if line.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise ConfigurationError(
                f"expected a link, or a mapping as JSON, found {line:.80} ({error})"
            ) from error
    if len(words) > 2:
        raise ConfigurationError(
            f"expected a link, perhaps blanks and a checksum, found {line.strip()!r:.80}"
        )
    return words[0] if len(words) == 1 else {"link": words[0], "checksum": words[1]}


def expanded(body: Any) -> Callable[[], Iterator[Any]] | None:
    """Makes the items that a body with a numbered link stands for; None for any other body.

    Raises ConfigurationError where the key does not have as many numbers, or there is a checksum.
    """
    link = body.get("link") if isinstance(body, dict) else body
    if not isinstance(link, str) or (count := count_of(link)) == 1:
        return None
    if not isinstance(body, dict):
        return lambda: numbered(link)
    key = body.get("key")
    for name in ("checksum", "size_bytes"):
        if name in body:
            raise ConfigurationError(f"{name}: the link stands for {count:,} of them, which are not the same")
    if key is None:
        return lambda: ({**body, "link": each} for each in numbered(link))
    if not isinstance(key, str) or count_of(key) != count:
        raise ConfigurationError(
            f"key: the link stands for {count:,} of them, and the key {key!r:.80} does not"
        )
    return lambda: ({**body, "link": each, "key": to} for each, to in zip(numbered(link), numbered(key)))


def key_of(item: LinkItem, prefix: str) -> str:
    """Where the copy is stored: a function of the item.

    A link's own host and path, where that says all there is and makes a key; else with a digest of the link.
    """
    if item.key is not None:
        return item.key
    parts = urlsplit(item.link)
    host = parts.hostname or ""
    names = [f"{host}_{parts.port}" if parts.port else host] if host else []
    # without a host it is the name of a file, in which `?` and `#` mean nothing
    names += (parts.path if host else item.link).removeprefix("/").split("/")
    key = "/".join([prefix, *names])
    exact = not parts.query and all(
        _PLAIN.fullmatch(name) and name not in (".", "..") and len(name) <= _LONGEST_NAME for name in names
    )
    if exact and len(key) <= _LONGEST_KEY:
        return key
    *folders, last = (_NOT_PLAIN.sub("_", name)[:60] for name in names)
    stem, suffix = posixpath.splitext(last)
    digest = hashlib.sha256(item.link.encode()).hexdigest()[:16]
    kept = [name for name in folders if name.strip(".")][:8]
    return "/".join([prefix, *kept, f"{stem or 'index'}-{digest}{suffix[:12]}"])


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
    """Copies what a link leads to into the store, unless the store has it already.

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
