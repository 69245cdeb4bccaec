"""Which links may be followed. A job file comes from anywhere, and must not reach what only this host can.

What counts is the address that a connection is made to, for every connection, whichever name or redirect
led there: names are looked up once, and the socket goes where the look-up that was checked says.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Literal
from urllib.parse import urljoin, urlsplit

from kon.kinds.web.limits import BadLink

Allowed = Literal["file", "loopback", "private", "link_local"]
"""What may be reached although it is not on the internet. link_local: the cloud's metadata services too."""

_METADATA: Final = frozenset(
    map(
        ip_address,
        # of Amazon and most others, Amazon's by IPv6, Alibaba's, Oracle's, Azure's
        ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
"""Services that tell a host who it is, and hand out its rights."""


class RefusedAddress(OSError):
    """A connection that is not allowed. An OSError, so that aiohttp takes it for a failure to connect."""


class Guard:
    """Says which links and addresses a job may use.

    own: addresses and ports that are always allowed: kon's own image server. takes_files: whether `file`
    is something that can be allowed at all.
    """

    def __init__(
        self,
        allow: Collection[Allowed] = (),
        own: Collection[tuple[str, int]] = (),
        takes_files: bool = True,
    ) -> None:
        self._allow = frozenset(allow)
        self._own = frozenset(own)
        self._files = "; the option allow: [file] permits it" if takes_files else ""

    def absolute(self, link: str, base: str | None) -> str:
        """The link, as one that can be fetched. Raises BadLink for a scheme that is not allowed."""
        if base is not None and not _has_scheme(link):
            link = urljoin(base, link)
        return self.checked(link)

    def checked(self, link: str) -> str:
        """The link itself, whose scheme is allowed. Raises BadLink."""
        try:
            parts = urlsplit(link)
        except ValueError as error:
            raise BadLink(f"its link makes no sense: {error}") from error
        if parts.scheme in ("http", "https"):
            if not parts.hostname:
                raise BadLink("its link names no host")
        elif parts.scheme == "file":
            if "file" not in self._allow:
                raise BadLink(f"its link is a file:, which is refused{self._files}")
        elif not parts.scheme:
            raise BadLink("its link is relative, and the option images does not say to what")
        else:
            raise BadLink(f'its link is of the scheme "{parts.scheme:.20}"; http and https are taken')
        return link

    def refusal(self, address: str, port: int) -> str | None:
        """Why no connection may be made to an IP address and port; None if it may."""
        if (address, port) in self._own:
            return None
        try:
            kind = address_kind(ip_address(address.partition("%")[0]))
        except ValueError:
            return f"{address} is no IP address"
        if kind == "public" or kind in self._allow:
            return None
        mend = f"; the option allow: [{kind}] permits it" if kind != "reserved" else ""
        return f"its link leads to {address}, a {kind.replace('_', '-')} address, which is refused{mend}"

    def refusal_by_proxy(self, host: str) -> str | None:
        """Why a proxy may not be asked for what is on a host; None if it may.

        The proxy looks names up, by its own lights: kon can tell only of addresses, and of names that mean no
        host on the internet.
        """
        address = _written_address(host)
        if address is not None:
            return self.refusal(str(address), 0)
        kind = _kind_of_name(host.lower().rstrip("."))
        if kind == "public" or kind in self._allow:
            return None
        return (
            f"its link leads to {host:.100}, a {kind.replace('_', '-')} name, which is refused; the option "
            f"allow: [{kind}] permits it"
        )

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for a connection to be made, as aiohttp asks for one: with what getaddrinfo has found.

        Raises RefusedAddress.
        """
        family, kind, protocol, _, place = info
        reason = self.refusal(place[0], place[1])
        if reason is not None:
            raise RefusedAddress(reason)
        return socket.socket(family=family, type=kind, proto=protocol)


_UNICAST: Final = IPv6Network("2000::/3")


def address_kind(address: IPv4Address | IPv6Address) -> str:
    """`public`, or what it is instead: one of `Allowed`, or `reserved`, which is never allowed.

    Python's own `is_global` is not asked: what it knows differs between its versions.
    """
    inner = _embedded(address) if isinstance(address, IPv6Address) else None
    if inner is not None:
        return address_kind(inner)
    if address in _METADATA:
        return "link_local"
    for kind, nets in _KINDS.items():
        if any(address in net for net in nets if net.version == address.version):
            return kind
    # IANA has given out no other addresses of IPv6 than those of 2000::/3
    return "public" if address.version == 4 or address in _UNICAST else "reserved"


def is_here(host: str) -> bool:
    """Whether a host is this machine by its very name or address."""
    address = _written_address(host)
    if address is None:
        return _kind_of_name(host.lower().rstrip(".")) == "loopback"
    return address_kind(address) == "loopback"


def _written_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, in any writing that resolvers take, such as 127.1 or 0x7f000001."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host)) if host.isascii() and host.strip() == host else None
    except OSError:
        return None


_METADATA_NAMES: Final = frozenset({"instance-data", "metadata", "metadata.google.internal", "metadata.goog"})

_PRIVATE_ENDS: Final = frozenset(
    {"local", "internal", "intranet", "private", "corp", "home", "lan", "localdomain"}
)
"""RFC 6762, appendix G, and what ICANN keeps for private use (`internal`, July 2024)."""


def _kind_of_name(host: str) -> str:
    """As `address_kind`, of a name. One without a dot is of the network that its resolver stands in."""
    last = host.rpartition(".")[2]
    if last == "localhost":
        return "loopback"
    if host in _METADATA_NAMES:
        return "link_local"
    return "private" if "." not in host or last in _PRIVATE_ENDS or host.endswith(".home.arpa") else "public"


def _nets(*nets: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, nets))


_KINDS: Final[Mapping[str, tuple[IPv4Network | IPv6Network, ...]]] = {
    "loopback": _nets("127.0.0.0/8", "::1/128"),
    "link_local": _nets("169.254.0.0/16", "fe80::/10"),
    "private": _nets(
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"
    ),
    "reserved": _nets(
        *("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "3fff::/20"),
    ),
}
"""IANA's registries of special-purpose addresses, https://www.iana.org/assignments/iana-ipv4-special-registry
and iana-ipv6-special-registry, as of November 2026."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
"""IPv4 addresses as the first stacks wrote them; `::` and `::1` are not among them."""


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a packet to this one ends up at."""
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def _has_scheme(link: str) -> bool:
    try:
        return bool(urlsplit(link).scheme)
    except ValueError:
        return True
