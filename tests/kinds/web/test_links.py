"""Which links and addresses a job may use."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from kon.kinds.web.limits import BadLink
from kon.kinds.web.links import Allowed, Guard, RefusedAddress, address_kind


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("93.184.215.14", "public"),
        ("2606:2800:21f::1", "public"),
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::7f00:1", "loopback"),  # NAT64
        ("2002:a9fe:a9fe::1", "link_local"),  # 6to4
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("fd12::1", "private"),
        ("169.254.169.254", "link_local"),
        ("169.254.170.2", "link_local"),
        ("fd00:ec2::254", "link_local"),  # Amazon's metadata, though it looks private
        ("100.100.100.200", "link_local"),
        ("fe80::1", "link_local"),
        ("0.0.0.0", "reserved"),
        ("::", "reserved"),
        ("224.0.0.1", "reserved"),
        ("ff02::1", "reserved"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::127.0.0.1", "loopback"),  # IPv4-compatible
        ("::a9fe:a9fe", "link_local"),
        ("64:ff9b:1::7f00:1", "reserved"),  # NAT64 of a network's own: where it ends up is not known here
        ("::ffff:0:127.0.0.1", "reserved"),  # SIIT
        ("fec0::1", "private"),
        ("192.0.0.192", "link_local"),  # Oracle's metadata
        ("168.63.129.16", "link_local"),  # Azure's
        ("192.88.99.1", "reserved"),
        ("5f00::1", "reserved"),
        ("3fff::1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved"),  # Teredo, to 192.0.2.45
        ("4000::1", "reserved"),
        ("e000::1", "reserved"),
    ],
)
def test_addresses_are_told_apart(address: str, kind: str) -> None:
    assert address_kind(ip_address(address)) == kind


@pytest.mark.parametrize(
    ("address", "allow"),
    [("127.0.0.1", "loopback"), ("10.0.0.1", "private"), ("169.254.169.254", "link_local")],
)
def test_an_option_permits_one_kind_of_address_and_no_other(address: str, allow: Allowed) -> None:
    assert "which is refused" in str(Guard().refusal(address, 80))
    assert Guard([allow]).refusal(address, 80) is None
    others: set[Allowed] = {"file", "loopback", "private", "link_local"}
    others.remove(allow)
    assert f"allow: [{allow}]" in str(Guard(others).refusal(address, 80))


def test_what_is_reserved_is_never_allowed() -> None:
    assert Guard(["file", "loopback", "private", "link_local"]).refusal("0.0.0.0", 80) is not None


def test_kons_own_server_is_allowed_and_nothing_else_on_its_host() -> None:
    guard = Guard(own=[("127.0.0.1", 8000)])
    assert guard.refusal("127.0.0.1", 8000) is None
    assert guard.refusal("127.0.0.1", 8001) is not None


def test_a_socket_is_made_only_for_an_address_that_is_allowed() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with pytest.raises(RefusedAddress, match="a loopback address, which is refused"):
        Guard().socket(info)
    Guard(["loopback"]).socket(info).close()


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("file:///etc/passwd", r"a file:, which is refused; the option allow: \[file\]"),
        ("ftp://example.org/a.jpg", 'scheme "ftp"'),
        ("gopher://x/", 'scheme "gopher"'),
        ("data:image/png;base64,AAAA", 'scheme "data"'),
        ("http://", "names no host"),
        ("picture.jpg", "its link is relative"),
        ("http://[::1", "makes no sense"),
    ],
)
def test_links_that_are_refused(link: str, says: str) -> None:
    with pytest.raises(BadLink, match=says):
        Guard().absolute(link, None)


def test_relative_links_are_looked_up_where_there_is_a_place_for_them() -> None:
    base = "http://127.0.0.1:80/"
    assert Guard().absolute("a b.jpg", base) == "http://127.0.0.1:80/a b.jpg"
    assert Guard().absolute("https://example.org/a.jpg", base) == "https://example.org/a.jpg"
    with pytest.raises(BadLink, match="file:"):
        Guard().absolute("file:///a.jpg", base)
    assert Guard(["file"]).absolute("file:///a.jpg", base) == "file:///a.jpg"
