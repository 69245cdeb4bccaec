"""Items of `mirror`: a link, and what is known of what it leads to."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from kon.core.errors import ConfigurationError
from kon.core.objects import check_key
from kon.kinds.web.links import count_of, numbered

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
