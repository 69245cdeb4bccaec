"""Fetching: many images at once, over connections that are used again, each within its limits."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import stat
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import aiohttp
from aiohttp.abc import ResolveResult

from kon.animoto.header import SNIFF_BYTES, type_of
from kon.animoto.limits import FetchLimits
from kon.animoto.links import Guard, RefusedAddress
from kon.animoto.refusal import BadImage

Hold = Callable[[int], Awaitable[None]]
"""Waits until so many bytes in all may be held for the image."""


class _Again(Exception):
    """An attempt failed in a way that may pass. after_s: how long the server wants to be left alone."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


class _GuardedResolver(aiohttp.ThreadedResolver):
    """Finds only addresses that may be connected to, and they are what is connected to: nobody asks again."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises RefusedAddress where the name stands for no other addresses."""
        found = await super().resolve(host, port, family)
        reasons = [self._guard.refusal(each["host"], port) for each in found]
        allowed = [each for each, reason in zip(found, reasons, strict=True) if reason is None]
        if found and not allowed:
            raise RefusedAddress(reasons[0])
        return allowed


class Fetcher:
    """Fetches for one worker. Make it in the running loop."""

    def __init__(self, limits: FetchLimits, guard: Guard, rng: random.Random) -> None:
        self._limits = limits
        self._guard = guard
        self._rng = rng
        self._free = asyncio.Semaphore(limits.connections)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limits.connections, resolver=_GuardedResolver(guard), socket_factory=guard.socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=limits.silence_s, sock_read=limits.silence_s
            ),
            # a compressed body could be a thousand times as large as what was counted
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "kon-animoto"},
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def image(self, link: str, hold: Hold) -> bytes:
        """An image's bytes. Raises BadImage with the reason when it can't be had."""
        return await self._within(link, hold, _Image)

    async def sound(self, link: str, hold: Hold) -> bytes:
        """Likewise; whether it is sound is seen when it is decoded."""
        return await self._within(link, hold, _Body)

    async def _within(self, link: str, hold: Hold, kind: type[_Body]) -> bytes:
        async with self._free:  # the time begins when a connection is free
            return await self._in_time(link, hold, kind)

    async def _in_time(self, link: str, hold: Hold, kind: type[_Body]) -> bytes:
        limits = self._limits
        said = ""
        try:
            async with asyncio.timeout(limits.timeout_s) as deadline:

                async def waiting(size_bytes: int) -> None:
                    # time that is spent waiting for this worker's own memory is not the server's
                    loop = asyncio.get_running_loop()
                    began_s = loop.time()
                    when_s = deadline.when()
                    assert when_s is not None
                    deadline.reschedule(None)
                    await hold(size_bytes)
                    deadline.reschedule(when_s + loop.time() - began_s)

                for number in range(1, limits.tries + 1):
                    body = kind(limits.max_bytes, waiting)
                    try:
                        return await self._attempt(link, body)
                    except _Again as failure:
                        said = str(failure)
                        if number == limits.tries:
                            break
                        pause_s = limits.backoff_s * 2 ** (number - 1) * self._rng.uniform(0.5, 1.0)
                        await asyncio.sleep(max(pause_s, failure.after_s))
        except TimeoutError:
            last = f"; the last attempt before: {said}" if said else ""
            raise BadImage(f"it did not come within {limits.timeout_s:g} s{last}") from None
        raise BadImage(f"{said}, {limits.tries} times")

    async def _attempt(self, link: str, body: _Body) -> bytes:
        for _ in range(self._limits.max_redirects + 1):
            if urlsplit(link).scheme == "file":
                return await _read_file(link, body)
            onward = await self._get(link, body)
            if onward is None:
                return body.whole()
            link = self._guard.checked(urljoin(link, onward))
            if urlsplit(link).scheme == "file":
                raise BadImage("its server redirects to a file:, which is refused")
        raise BadImage(f"its server redirects more than {self._limits.max_redirects} times")

    async def _get(self, link: str, body: _Body) -> str | None:
        """Where the server redirects to; None when the body has come."""
        try:
            async with self._session.get(link, allow_redirects=False) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    return response.headers["Location"]
                self._check(response)
                if (response.content_length or 0) > self._limits.max_bytes:
                    raise _too_large(self._limits.max_bytes)
                async for chunk in response.content.iter_any():
                    await body.add(chunk)
                return None
        except aiohttp.InvalidURL as error:
            raise BadImage("its link makes no sense") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise BadImage("its server's certificate is not valid for it") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, RefusedAddress):
                raise BadImage(str(error.os_error)) from error
            raise _Again(f"no connection to its server: {_reason(error.os_error)}") from error
        except TimeoutError as error:  # aiohttp's own; the deadline's comes as a cancellation
            raise _Again(f"its server said nothing for {self._limits.silence_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Again(f"the connection to its server broke off: {type(error).__name__}") from error

    def _check(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status == 200:
            return
        said = f"its server answers {status} {response.reason or ''}".rstrip()
        if status >= 500 or status in (408, 425, 429):
            wanted = response.headers.get("Retry-After", "")
            raise _Again(said, min(float(wanted), _LONGEST_WISH_S) if wanted.isdecimal() else 0.0)
        raise BadImage(said)


_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LONGEST_WISH_S: Final = 10.0


class _Body:
    """What has come of a body."""

    def __init__(self, max_bytes: int, hold: Hold) -> None:
        self._content = bytearray()
        self.max_bytes = max_bytes
        self._hold = hold
        self._held_bytes = 0

    async def add(self, chunk: bytes) -> None:
        size_bytes = len(self._content) + len(chunk)
        if size_bytes > self.max_bytes:
            raise _too_large(self.max_bytes)
        if size_bytes > self._held_bytes:
            self._held_bytes = size_bytes + _STEP_BYTES
            await self._hold(self._held_bytes)
        self._content += chunk
        self._look()

    def whole(self) -> bytes:
        if not self._content:
            raise BadImage("it is empty")
        return bytes(self._content)

    def _look(self) -> None:
        """Raises BadImage as soon as it is clear that the rest is not worth fetching."""


class _Image(_Body):
    def _look(self) -> None:
        if len(self._content) >= SNIFF_BYTES:
            type_of(bytes(self._content[:SNIFF_BYTES]))

    def whole(self) -> bytes:
        content = super().whole()
        type_of(content[:SNIFF_BYTES])
        return content


_STEP_BYTES: Final = 64 * 1024
"""What room is asked for ahead of what has come."""


def _too_large(max_bytes: int) -> BadImage:
    return BadImage(f"it has more than {max_bytes:,} bytes, and the option image_bytes allows no more")


async def _read_file(link: str, body: _Body) -> bytes:
    path = url2pathname(urlsplit(link).path)

    def read() -> bytes:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadImage("its link names no regular file")
            return file.read(body.max_bytes + 1)

    try:
        await body.add(await asyncio.to_thread(read))
    except OSError as error:
        raise BadImage(f"its file can't be read: {_reason(error)}") from error
    return body.whole()


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
