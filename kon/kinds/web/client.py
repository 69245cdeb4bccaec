"""Asking servers: many at once, over connections that are used again, each within its limits.

They are reached by proxies where the usual variables say so.
"""

from __future__ import annotations

import asyncio
import random
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Final, TypeVar
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from kon.core.errors import ConfigurationError
from kon.kinds.web.limits import BadLink, BadStatus, FetchLimits
from kon.kinds.web.links import Guard, RefusedAddress, is_here

_Made = TypeVar("_Made")


class TryAgain(Exception):
    """An attempt failed in a way that may pass. after_s: how long the server wants to be left alone."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Deadline:
    """By when a link must have been dealt with."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout

    async def outside(self, waiting: Awaitable[None]) -> None:
        """Await something that is not the server's fault: the deadline is put off by as long."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        when_s = self._timeout.when()
        assert when_s is not None
        self._timeout.reschedule(None)
        await waiting
        self._timeout.reschedule(when_s + loop.time() - began_s)


_GZIP: Final = ("gzip", "x-gzip")
_GZIPPED: Final = (".gz", ".tgz", ".svgz")

_PART_BYTES: Final = 64 * 1024
"""The most that is inflated at once."""


async def content(response: aiohttp.ClientResponse, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in parts, inflated where the server has compressed it although it was asked not to.

    It stops after `max_bytes` and a little more, so that whoever counts can tell. Raises BadLink for a coding
    that is not known, and for a body that is not what its header says.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    # a file that is compressed by itself: some servers say so of x.tar.gz, and mean the file (as wget knows)
    if coding in ("", "identity") or (coding in _GZIP and response.url.path.lower().endswith(_GZIPPED)):
        async for part in response.content.iter_any():
            yield part
        return
    if coding not in (*_GZIP, "deflate"):
        raise BadLink(f'its server sends it as "{coding:.40}", though it was asked to send it as it is')
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | (16 if coding in _GZIP else 0))
    inflated_bytes = 0
    try:
        async for part in response.content.iter_any():
            while part and inflated_bytes <= max_bytes:
                found = inflate.decompress(part, _PART_BYTES)
                inflated_bytes += len(found)
                yield found
                part = inflate.unconsumed_tail
            if inflated_bytes > max_bytes:
                return
    except zlib.error as error:
        raise BadLink(f"its server says that it is compressed ({coding}), and it is not: {error}") from error
    if not inflate.eof:
        raise TryAgain(f"its compressed data ({coding}) are cut short")


def as_written(link: str) -> URL:
    """The link to the letter: a signature covers how its query is written, which yarl would change.

    What may not stand in a request is percent-encoded: blanks, control characters, all beyond ASCII.
    """
    if not urlsplit(link).netloc.isascii():
        return URL(link)  # an internationalised name, which yarl knows how to write
    return URL(quote(link, safe="%/:?#[]@!$&'()*+,;=-._~|^`{}\\\"<>"), encoded=True)


Use = Callable[[aiohttp.ClientResponse, Deadline], Awaitable[_Made]]
"""Makes something of a response whose status is good. Each attempt calls it. It raises TryAgain, or
a KonError; an OSError would be taken for one of the network."""


_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PASSING: Final = frozenset({408, 425, 429})


class WebClient:
    """For one worker. Make it in the running loop."""

    def __init__(
        self, limits: FetchLimits, guard: Guard, rng: random.Random, agent: str, accept: str = "*/*"
    ) -> None:
        """`agent`, `accept`: what servers learn about who asks, and for what.

        Raises ConfigurationError for a proxy in the environment that makes no sense.
        """
        self._limits = limits
        self._guard = guard
        self._rng = rng
        self._free = asyncio.Semaphore(limits.connections)
        self._proxies = Proxies()

        def session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
            return aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=limits.silence_s, sock_read=limits.silence_s
                ),
                # a compressed body can be a thousand times as large: `content` inflates within bounds
                headers={"Accept": accept, "Accept-Encoding": "identity", "User-Agent": agent},
                auto_decompress=False,
                trust_env=False,
            )

        self._direct = session(
            aiohttp.TCPConnector(
                limit=limits.connections, resolver=_GuardedResolver(guard), socket_factory=guard.socket
            )
        )
        # connects to proxies alone, which may be anywhere: whoever set the variables runs this host
        self._proxied = session(aiohttp.TCPConnector(limit=limits.connections))

    async def close(self) -> None:
        await self._direct.close()
        await self._proxied.close()

    async def ask(
        self,
        link: str,
        use: Use[_Made],
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        good: Collection[int] = (200,),
    ) -> _Made:
        """What `use` makes of the answer. Raises BadLink with the reason where there is none that is good.

        `link`: one that the guard has checked, of http or https. `good`: the statuses that `use` is for.
        """
        asked = _Asked(method, dict(headers or {}), frozenset(good))
        async with self._free:  # the time begins when a connection is free
            return await self._in_time(link, use, asked)

    async def _in_time(self, link: str, use: Use[_Made], asked: _Asked) -> _Made:
        limits = self._limits
        said = ""
        try:
            async with asyncio.timeout(limits.timeout_s) as timeout:
                deadline = Deadline(timeout)
                for number in range(1, limits.tries + 1):
                    try:
                        return await self._attempt(link, use, deadline, asked)
                    except TryAgain as failure:
                        said = str(failure)
                        if number == limits.tries:
                            break
                        pause_s = limits.backoff_s * 2 ** (number - 1) * self._rng.uniform(0.5, 1.0)
                        await asyncio.sleep(max(pause_s, failure.after_s))
        except TimeoutError:
            last = f"; the last attempt before: {said}" if said else ""
            raise BadLink(f"it did not come within {limits.timeout_s:g} s{last}") from None
        raise BadLink(f"{said}, {limits.tries} times")

    async def _attempt(self, link: str, use: Use[_Made], deadline: Deadline, asked: _Asked) -> _Made:
        for _ in range(self._limits.max_redirects + 1):
            made = await self._get(link, use, deadline, asked)
            if not isinstance(made, _Onward):
                return made
            link = self._guard.checked(urljoin(link, made.link))
            if urlsplit(link).scheme == "file":
                raise BadLink("its server redirects to a file:, which is refused")
        raise BadLink(f"its server redirects more than {self._limits.max_redirects} times")

    async def _get(self, link: str, use: Use[_Made], deadline: Deadline, asked: _Asked) -> _Made | _Onward:
        proxy = self._proxies.proxy_of(link)
        if proxy is not None and (reason := self._guard.refusal_by_proxy(urlsplit(link).hostname or "")):
            raise BadLink(reason)
        session = self._direct if proxy is None else self._proxied
        try:
            async with session.request(
                asked.method, as_written(link), headers=asked.headers, allow_redirects=False, proxy=proxy
            ) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    return _Onward(response.headers["Location"])
                if response.status not in asked.good:
                    raise _refused(response)
                return await use(response, deadline)
        except aiohttp.InvalidURL as error:
            raise BadLink("its link makes no sense") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise BadLink("its server's certificate is not valid for it") from error
        except aiohttp.ClientHttpProxyError as error:
            said = f"its proxy answers {error.status} {error.message}".rstrip()
            if error.status >= 500 or error.status in _PASSING:
                raise TryAgain(said) from error
            raise BadStatus(said, error.status) from error
        except aiohttp.ClientProxyConnectionError as error:
            reason = error.os_error.strerror or type(error.os_error).__name__
            raise TryAgain(f"no connection to its proxy: {reason}") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, RefusedAddress):
                raise BadLink(str(error.os_error)) from error
            reason = error.os_error.strerror or type(error.os_error).__name__
            raise TryAgain(f"no connection to its server: {reason}") from error
        except TimeoutError as error:  # aiohttp's own; the deadline's comes as a cancellation
            raise TryAgain(f"its server said nothing for {self._limits.silence_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TryAgain(f"the connection to its server broke off: {type(error).__name__}") from error


class _Asked:
    """What is asked of a server."""

    def __init__(self, method: str, headers: dict[str, str], good: frozenset[int]) -> None:
        self.method = method
        self.headers = headers
        self.good = good


class _Onward:
    """Where a server redirects to."""

    def __init__(self, link: str) -> None:
        self.link = link


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


_LONGEST_WISH_S: Final = 10.0


def _refused(response: aiohttp.ClientResponse) -> BadStatus | TryAgain:
    status = response.status
    said = f"its server answers {status} {response.reason or ''}".rstrip()
    if status >= 500 or status in _PASSING:
        wanted = response.headers.get("Retry-After", "")
        return TryAgain(said, min(float(wanted), _LONGEST_WISH_S) if wanted.isdecimal() else 0.0)
    return BadStatus(said, status)


_SCHEMES: Final = ("http", "https")


class Proxies:
    """Says which proxy a link takes, if any. A link to this machine takes none."""

    def __init__(self, found: Mapping[str, str] | None = None) -> None:
        """found: proxies by scheme, and `no` for no_proxy; None for those of the environment.

        Raises ConfigurationError for one that is no link of http or https: links would go directly, where
        somebody wanted them to go through it.
        """
        self._found = dict(getproxies_environment() if found is None else found)
        for scheme in _SCHEMES:
            given = self._found.get(scheme)
            if not given:
                continue
            try:
                parts = urlsplit(given)
                good = parts.scheme in _SCHEMES and parts.hostname and (parts.port or 1)
            except ValueError:
                good = False
            if not good:
                raise ConfigurationError(
                    f"the variable {scheme}_proxy: expected a proxy such as http://proxy.example.com:3128, "
                    f"found {_without_password(given)!r:.100}. Correct or unset it on each host with workers"
                )

    def proxy_of(self, link: str) -> str | None:
        """The proxy that the link takes; None for a direct connection."""
        parts = urlsplit(link)
        host = parts.hostname or ""
        proxy = self._found.get(parts.scheme)
        if not proxy or is_here(host) or proxy_bypass_environment(_with_port(host, parts.port), self._found):
            return None
        return proxy


def _with_port(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"


def _without_password(proxy: str) -> str:
    return proxy.rpartition("@")[2]
