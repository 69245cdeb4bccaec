"""Copying from the web into the store: what is there as it should be is left alone.

Next to each copy stands a note of what the server said of it. By it, one request without a body tells
the next time whether the copy is still right.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec

from kon.core.errors import KindError
from kon.core.objects import ObjectStore
from kon.core.scratch import working_folder
from kon.kinds.mirror import LinkItem, key_of
from kon.kinds.web.client import Deadline, TryAgain, WebClient, content
from kon.kinds.web.limits import BadLink, BadStatus

_WRITE_BYTES: Final = 1 << 20
_NO_HEAD: Final = frozenset({400, 403, 404, 405, 501})
"""What servers answer that know no HEAD; some of them to a GET as well, which is then asked."""


class CopyNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a copy. link: where it came from. modified: the server's Last-Modified.

    digests: by algorithm, sha256 always among them.
    """

    link: str
    size_bytes: int
    digests: dict[str, str]
    etag: str | None = None
    modified: str | None = None


_BEGUN: Final = CopyNote("", -1, {})
"""In place of a note: another copy was about to be put there, so that nobody knows which one it is."""


class Same(NamedTuple):
    """The copy in the store is what the link leads to. by: what tells."""

    by: str


class Copier:
    """For one worker.

    max_bytes: of one copy. prefix: of keys that are made of links.
    absolute: makes a link one that can be fetched, or raises BadLink.
    """

    def __init__(
        self,
        objects: ObjectStore,
        web: WebClient,
        absolute: Callable[[str], str],
        max_bytes: int,
        prefix: str,
    ) -> None:
        self._objects = objects
        self._web = web
        self._absolute = absolute
        self._max_bytes = max_bytes
        self._prefix = prefix

    async def copy(self, item: LinkItem) -> dict[str, Any]:
        """The result. Raises KindError where the link can't be copied; then the store is as it was."""
        key = key_of(item, self._prefix)
        try:
            link = self._absolute(item.link.strip())
            async with working_folder("mirror") as folder:
                size_bytes = await self._size_bytes(key)
                noted = None if size_bytes is None else await self._noted(item, key, size_bytes, folder)
                known_bytes = None if noted == _BEGUN else size_bytes
                found = await self._found(link, item, known_bytes, noted, folder / "copy")
                if isinstance(found, Same):
                    assert size_bytes is not None
                    return _result(item, key, size_bytes, noted, found)
                if size_bytes is not None:
                    # should this be the end of this worker, no note may speak of the copy that was before,
                    # nor its size be enough
                    await self._put_note(key, _BEGUN, folder)
                await self._objects.put(key, folder / "copy")
                await self._put_note(key, found, folder)
                return _result(item, key, found.size_bytes, found, None)
        except BadLink as error:
            raise KindError(f"{item.link:.300}: {error}; nothing of it was stored") from error

    async def _size_bytes(self, key: str) -> int | None:
        try:
            return await self._objects.size_bytes(key)
        except KeyError:
            return None

    async def _noted(self, item: LinkItem, key: str, size_bytes: int, folder: Path) -> CopyNote | None:
        """The note of the copy that is there; None where it speaks of something else."""
        file = folder / "note.json"
        try:
            await self._objects.get(self._note_key(key), file)
            note = msgspec.json.decode(await asyncio.to_thread(file.read_bytes), type=CopyNote)
        except (KeyError, msgspec.DecodeError):
            return None
        return note if note == _BEGUN or (note.link, note.size_bytes) == (item.link, size_bytes) else None

    async def _put_note(self, key: str, note: CopyNote, folder: Path) -> None:
        file = folder / "note.json"
        await asyncio.to_thread(file.write_bytes, msgspec.json.encode(note))
        await self._objects.put(self._note_key(key), file)

    def _note_key(self, key: str) -> str:
        return f"{self._prefix}-notes/{key}.json"

    async def _found(
        self, link: str, item: LinkItem, size_bytes: int | None, noted: CopyNote | None, file: Path
    ) -> CopyNote | Same:
        """Whether the copy is still right; if not, a new one in the file. Raises BadLink, KindError."""
        conditions: dict[str, str] = {}
        if size_bytes is not None and item.size_bytes in (None, size_bytes):
            if item.digest is not None:
                if noted is not None and noted.digests.get(item.digest[0]) == item.digest[1]:
                    return Same("checksum")
            elif noted is not None and noted.etag:
                conditions["If-None-Match"] = noted.etag
            elif noted is not None and noted.modified:
                conditions["If-Modified-Since"] = noted.modified
            elif await self._has_size(link, size_bytes):
                return Same("size")

        async def save(response: aiohttp.ClientResponse, deadline: Deadline) -> CopyNote | Same:
            if response.status == 304:
                return Same("etag" if "If-None-Match" in conditions else "modified")
            if noted is not None and conditions and _says_the_same(response, noted):
                return Same("etag" if noted.etag else "modified")  # a server that knows no conditions
            return await self._save(response, item, file)

        return await self._web.ask(link, save, headers=conditions, good=(200, 304) if conditions else (200,))

    async def _has_size(self, link: str, size_bytes: int) -> bool:
        async def look(response: aiohttp.ClientResponse, deadline: Deadline) -> bool:
            encoded = response.headers.get("Content-Encoding", "identity") != "identity"
            return not encoded and response.headers.get("Content-Length") == str(size_bytes)

        try:
            return await self._web.ask(link, look, "HEAD")
        except BadStatus as error:
            if error.status in _NO_HEAD:
                return False
            raise

    async def _save(self, response: aiohttp.ClientResponse, item: LinkItem, file: Path) -> CopyNote:
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large()
        digests = {name: hashlib.new(name) for name in {"sha256", *(item.digest or ())[:1]}}
        size_bytes, pending = 0, bytearray()

        def write(chunk: bytes, mode: str) -> None:
            with file.open(mode) as copy:
                copy.write(chunk)
            for each in digests.values():
                each.update(chunk)

        async def flush(mode: str = "ab") -> None:
            try:
                await asyncio.to_thread(write, bytes(pending), mode)
            except OSError as error:
                raise KindError(
                    f"{item.link:.300}: it can't be written to {file.parent}: {error.strerror}; "
                    "nothing of it was stored. Make room there, or set TMPDIR for the workers"
                ) from error
            pending.clear()

        await flush("wb")
        async for chunk in content(response, self._max_bytes):
            size_bytes += len(chunk)
            if size_bytes > self._max_bytes:
                raise self._too_large()
            pending += chunk
            if len(pending) >= _WRITE_BYTES:
                await flush()
        await flush()
        values = {name: each.hexdigest() for name, each in digests.items()}
        _check(item, size_bytes, values)
        return CopyNote(item.link, size_bytes, values, _etag(response), response.headers.get("Last-Modified"))

    def _too_large(self) -> BadLink:
        return BadLink(
            f"it has more than {self._max_bytes:,} bytes, and the option link_bytes allows no more"
        )


def _check(item: LinkItem, size_bytes: int, values: Mapping[str, str]) -> None:
    """Raises TryAgain: it may have been changed on its way."""
    if item.size_bytes not in (None, size_bytes):
        raise TryAgain(f"it has {size_bytes:,} bytes, and the item says {item.size_bytes:,}")
    if item.digest is not None:
        name, wanted = item.digest
        if values[name] != wanted:
            raise TryAgain(f"its {name} is {values[name]}, and the item says {wanted}")


def _etag(response: aiohttp.ClientResponse) -> str | None:
    return response.headers.get("ETag")


def _says_the_same(response: aiohttp.ClientResponse, noted: CopyNote) -> bool:
    if noted.etag:
        return _etag(response) == noted.etag
    return (response.headers.get("Last-Modified"), response.content_length) == (
        noted.modified,
        noted.size_bytes,
    )


def _result(
    item: LinkItem, key: str, size_bytes: int, note: CopyNote | None, same: Same | None
) -> dict[str, Any]:
    result: dict[str, Any] = {"key": key, "link": item.link, "size_bytes": size_bytes, "copied": same is None}
    if note is not None:
        result["sha256"] = note.digests["sha256"]
    if same is not None:
        result["same_by"] = same.by
    return result
