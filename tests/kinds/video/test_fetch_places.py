"""Where links may lead: redirects, addresses and names, and files."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kon.kinds.web import client
from kon.kinds.web.limits import BadLink
from kon.kinds.web.links import Allowed, Guard
from tests.kinds.video.fetching import IMAGE, answer, fetched, refused, with_page
from tests.kinds.video.given import Site, run

# --- redirects ---------------------------------------------------------------------------------------


def _redirect(to: str, status: int = 302) -> Callable[[web.Request], Awaitable[web.Response]]:
    return answer(status=status, headers={"Location": to})


def test_redirects_are_followed() -> None:
    async def use(made: Site, link: str) -> None:
        made.pages["b/image"] = IMAGE
        assert await fetched(link) == IMAGE
        assert made.asked == ["page", "b/image"]

    with_page(_redirect("b/image", 307), use)


def test_a_redirect_loop_is_left() -> None:
    refused(_redirect("/page"), "redirects more than 5 times", asked=6)


@pytest.mark.parametrize("allow", [["loopback"], ["loopback", "file"]])
def test_no_redirect_leads_to_a_file(allow: list[Allowed], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(IMAGE)
    refused(_redirect((tmp_path / "a.jpg").as_uri()), "file:, which is refused", guard=Guard(allow))


@pytest.mark.parametrize(
    "to", ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://10.0.0.1/a.jpg"]
)
def test_no_redirect_leads_to_where_a_link_may_not(to: str) -> None:
    refused(_redirect(to), "which is refused; the option allow")


# --- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "0177.0.0.1"],
)
def test_this_machine_is_refused_by_any_name(host: str) -> None:
    async def use(made: Site, link: str) -> None:
        with pytest.raises(BadLink, match=r"which is refused|no connection|makes no sense"):
            await fetched(link.replace("127.0.0.1", host), guard=Guard())
        assert made.asked == []
        assert made.peers == set()

    with_page(IMAGE, use)


def _resolves(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Names stand for one address after the other, as with a rebinding DNS server."""
    asked: list[str] = []

    async def getaddrinfo(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        address = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_that_stands_for_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolves(monkeypatch, "10.0.0.1")
    with pytest.raises(BadLink, match=r"leads to 10\.0\.0\.1, a private address"):
        run(fetched("http://images.example/a.jpg", guard=Guard()))


def test_a_name_that_changes_its_address_after_the_check_leads_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server at the first address is never found; whoever asked again would reach this machine."""
    monkeypatch.setattr(client, "_GuardedResolver", _Unguarded)  # so that the socket alone stands in the way
    asked = _resolves(monkeypatch, "127.0.0.1")

    async def use(made: Site, link: str) -> None:
        with pytest.raises(BadLink, match="a loopback address, which is refused"):
            await fetched(link.replace("127.0.0.1", "images.example"), guard=Guard())
        assert asked
        assert made.peers == set()

    with_page(IMAGE, use)


class _Unguarded(client._GuardedResolver):
    async def resolve(self, *args: Any, **kwargs: Any) -> Any:
        return await super(client._GuardedResolver, self).resolve(*args, **kwargs)


def test_what_was_resolved_and_checked_is_what_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _resolves(monkeypatch, "127.0.0.1", "10.0.0.1")

    async def use(made: Site, link: str) -> None:
        assert await fetched(link.replace("127.0.0.1", "images.example")) == IMAGE
        assert asked == ["images.example"]

    with_page(IMAGE, use)


# --- files -------------------------------------------------------------------------------------------


def test_a_file_is_read_where_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a b.jpg"
    path.write_bytes(IMAGE)
    assert run(fetched(path.as_uri(), guard=Guard(["file"]))) == IMAGE
    for bad, says in (
        (tmp_path, "file"),
        (tmp_path / "none.jpg", "No such file"),
        (Path("/dev/zero"), "regular"),
    ):
        with pytest.raises(BadLink, match=says):
            run(fetched(bad.as_uri(), guard=Guard(["file"])))
