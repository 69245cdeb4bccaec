"""Who may see the page, by its address, name and token; and what they may have done from it."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

from kon.engine.records.records import RunFolder

HERE: Final = "127.0.0.1"

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS: Final = {
    # whatever a task may have printed: nothing but this server's own files runs, and nothing else is asked
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer. There is no Access-Control-Allow-Origin: no other site may read any."""


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine can reach what listens there."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


class PageGuard:
    """Who may see the pages of a server that listens at `host`, and who may act on runs.

    A token is needed wherever other machines reach it, and by who acts: others have accounts here too.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.token = secrets.token_urlsafe(32)
        self.is_public = not is_loopback(host)
        own = (host, socket.gethostname()) if self.is_public else (host,)
        self._names = _LOOPBACK_NAMES | {name.lower() for name in own}

    def knows(self, host: str | None) -> bool:
        """Whether a request's Host is one of this server's own.

        A page of another site can have its own name lead to this machine (DNS rebinding), and would then
        count as this server's; but it can't take the name off its requests. A number is nobody's name. The
        port may be any: behind `ssh -L` it is another one.
        """
        name = _name(host or "").lower()
        return name in self._names or (self.is_public and _address(name) is not None)

    def opens(self, given: str | None) -> bool:
        """Whether that is the token, or none is needed. Takes as long for a wrong one as for a right one."""
        return not self.is_public or self.is_token(given)

    def is_token(self, given: str | None) -> bool:
        """Whether that is the token, which whoever acts needs everywhere."""
        return hmac.compare_digest((given or "").encode(errors="replace"), self.token.encode())

    def link(self, port: int, acts: bool = False) -> str:
        """For a person to open; with the token where it is needed: by other machines, and to act on runs."""
        anywhere = self.host in ("0.0.0.0", "::")
        name = socket.gethostname() if anywhere else "localhost" if self.host == HERE else self.host
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{port}/" + (f"?token={self.token}" if acts or self.is_public else "")


def is_own(headers: Mapping[str, str]) -> bool:
    """Whether a request to act was made by a page of this server: a browser tells, and no page can lie."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    host = headers.get("Host", "")
    return bool(host) and headers.get("Origin") in (f"http://{host}", f"https://{host}")


def cookie_name(port: int) -> str:
    """Cookies don't know of ports: two servers on one machine must not take each other's."""
    return f"kon_live_{port}"


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class Actions(ABC):
    """What a person may have done from the page; the server decides who may.

    Each returns a sentence for the person, and raises KonError where it can't be done.
    """

    @abstractmethod
    async def cancel(self, folder: RunFolder) -> str:
        """Give up what has not been done."""

    @abstractmethod
    async def retry(self, folder: RunFolder) -> str:
        """Run again what was not done, of a run that is over."""
