"""Links through a proxy, by the usual variables."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kon.core.errors import ConfigurationError
from kon.kinds.video.fetch import Fetcher
from kon.kinds.web.client import Proxies
from kon.kinds.web.limits import BadLink, FetchLimits
from kon.kinds.web.links import Allowed, Guard
from tests.kinds.video.given import encoded, photo, run, site

IMAGE = encoded(photo(320, 240))
QUICK = FetchLimits(timeout_s=10.0, silence_s=5.0, backoff_s=0.001)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Proxy:
    """What it was asked for, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.said: list[str] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(IMAGE), IMAGE)
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head.splitlines()[0].rsplit(" ", 1)[0])
            self.said.append(head)
            writer.write(self.answer.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n"))
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def proxy() -> AsyncIterator[Proxy]:
    made = Proxy()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


async def fetched(link: str, *allow: Allowed) -> bytes:
    fetcher = Fetcher(QUICK, Guard(allow), random.Random(1))
    try:
        return (await fetcher.image(link, nothing)).data
    finally:
        await fetcher.close()


async def nothing(size_bytes: int) -> None:
    return


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_links_go_through_the_proxy_of_the_environment(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is on this machine, where links may not lead."""

    async def main() -> None:
        async with proxy() as made:
            monkeypatch.setenv(variable, f"http://joe:secret@127.0.0.1:{made.port}")
            assert await fetched("http://photos.example/a.jpg?b=%2f") == IMAGE
            assert made.asked == ["GET http://photos.example/a.jpg?b=%2f"]
            assert "Proxy-Authorization: Basic am9lOnNlY3JldA==" in made.said[0]

    run(main())


def test_https_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with proxy() as made:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{made.port}")
            made.answer = b"HTTP/1.1 403 Not today\r\nContent-Length: 0\r\n\r\n"
            with pytest.raises(BadLink, match=r"its proxy answers 403 Not today$"):
                await fetched("https://photos.example/a.jpg")
            assert made.asked == ["CONNECT photos.example:443"]

    run(main())


def test_a_proxy_that_is_not_there_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        with pytest.raises(BadLink, match=r"no connection to its proxy: Connect call failed .*, 4 times"):
            await fetched("http://photos.example/a.jpg")

    run(main())


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        *((host, "private") for host in ("10.0.0.1", "192.168.1.1", "[fd12::1]", "router", "nas.local")),
        *((host, "private") for host in ("wiki.corp", "db.internal", "box.home.arpa", "NAS.Local.")),
        *((host, "link_local") for host in ("169.254.169.254", "[fe80::1]", "0xa9fea9fe", "169.16689662")),
        ("[::169.254.169.254]", "link_local"),
        *((host, "link_local") for host in ("metadata.google.internal", "instance-data")),
    ],
)
def test_a_proxy_is_not_asked_for_private_places(
    host: str, kind: Allowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with proxy() as made:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{made.port}")
            with pytest.raises(BadLink, match=rf"which is refused; the option allow: \[{kind}\] permits it"):
                await fetched(f"http://{host}/a.jpg")
            assert made.asked == []
            assert await fetched(f"http://{host}/a.jpg", kind) == IMAGE

    run(main())


def test_a_redirect_through_a_proxy_is_checked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with proxy() as made:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{made.port}")
            made.answer = b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n"
            with pytest.raises(BadLink, match=r"10\.0\.0\.1, a private address, which is refused"):
                await fetched("http://photos.example/a.jpg")

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached_without_a_proxy_or_not_at_all(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with proxy() as made, site() as own:
            own.pages["a.jpg"] = IMAGE
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{made.port}")
            link = f"http://{host}:{own.port}/a.jpg"
            with pytest.raises(BadLink, match="a loopback address, which is refused"):
                await fetched(link)
            assert await fetched(link, "loopback") == IMAGE
            assert made.asked == []

    run(main())


@pytest.mark.parametrize(
    ("no_proxy", "proxied"),
    [
        ("", True),
        ("other.example", True),
        ("photos.example", False),
        (".example", False),
        ("photos.example:80", True),
        ("photos.example:8080", False),
        ("*", False),
    ],
)
def test_no_proxy_names_what_is_reached_directly(no_proxy: str, proxied: bool) -> None:
    found = Proxies({"http": "http://proxy.example:3128", "no": no_proxy})
    assert (found.proxy_of("http://photos.example:8080/a.jpg") is not None) is proxied
    assert found.proxy_of("https://photos.example/a.jpg") is None


@pytest.mark.parametrize("given", ["socks5://joe:secret@proxy:1080", "proxy:3128", "http://", "http://a:b:c"])
def test_a_proxy_that_makes_no_sense_is_an_error(given: str) -> None:
    with pytest.raises(ConfigurationError, match="https_proxy: expected a proxy such as") as caught:
        Proxies({"https": given})
    assert "secret" not in str(caught.value)


def test_a_server_error_of_the_proxy_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with proxy() as made:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{made.port}")
            made.answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
            with pytest.raises(BadLink, match=r"its proxy answers 502 Bad Gateway, 4 times"):
                await fetched("https://photos.example/a.jpg")

    run(main())
