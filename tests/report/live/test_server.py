"""The server, asked over HTTP as browsers and others do: what it gives to whom."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from kon.core.errors import ConfigurationError
from kon.report.live import watching
from kon.report.live.guard import HEADERS, cookie_name
from tests.report.live.given import Moving, asked, run, served, stream

SCRIPTS = ("live.js", "acting.js", "chart.js", "tables.js", "words.js")


def test_every_file_of_the_page_is_there_under_its_policy(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as live:
            for path in (
                "",
                "live.js",
                "live.css",
                "style.css",
                "acting.js",
                "chart.js",
                "tables.js",
                "words.js",
                "icon.svg",
            ):
                status, response, text = await asked(live.link + path)
                assert (status, bool(text)) == (200, True), path
                for name, value in HEADERS.items():
                    assert response.headers[name] == value, (path, name)
                assert "Access-Control-Allow-Origin" not in response.headers
            _, _, page = await asked(live.link)
            assert "<script>" not in page
            assert "style=" not in page
            assert "innerHTML" not in "".join(
                [(await asked(live.link + f))[2] for f in ("live.js", "acting.js", "tables.js")]
            )

    run(main())


@pytest.mark.parametrize(
    "path",
    [
        "run.json",
        "..",
        "../run.json",
        "%2e%2e/%2e%2e/etc/passwd",
        "live/server.py",
        "/etc/passwd",
        "events/",
        "r",
    ],
)
def test_nothing_else_is_there(tmp_path: Path, path: str) -> None:
    async def main() -> None:
        Moving(tmp_path, 3)
        async with served(tmp_path) as live:
            parts = urlsplit(live.link)
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            # by hand: clients tidy such paths up before they ask
            writer.write(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = (await reader.read()).decode()
            writer.close()
            assert answer.startswith("HTTP/1.1 404"), answer[:200]
            for name in ("Content-Security-Policy", "X-Content-Type-Options"):
                assert name in answer

    run(main())


@pytest.mark.parametrize("id", ["nobody", "../r", "%2e%2e%2fr", "r%00", "/etc", "x" * 5000])
def test_a_run_that_is_not_there(tmp_path: Path, id: str) -> None:
    async def main() -> None:
        Moving(tmp_path, 3)
        async with served(tmp_path) as live:
            status, response, _ = await asked(f"{live.link}events?run={id}")
            assert status == 404
            assert response.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]

    run(main())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
def test_it_is_for_reading(tmp_path: Path, method: str) -> None:
    async def main() -> None:
        async with served(tmp_path) as live:
            for path in ("", "events"):
                status, response, _ = await asked(live.link + path, method)
                assert (status, response.headers["Allow"]) == (405, "GET")

    run(main())


@pytest.mark.parametrize("name", ["example.com", "localhost.example.com", "10.0.0.1", ""])
def test_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """A page elsewhere can have its own name lead here; its requests say that name."""

    async def main() -> None:
        async with served(tmp_path) as live:
            for path in ("", "events", "live.js"):
                status, _, text = await asked(live.link + path, headers={"Host": name})
                assert (status, "does not go by that name" in text) == (403, True)

    run(main())


def test_beyond_this_machine_only_with_the_token(tmp_path: Path) -> None:
    async def main() -> None:
        Moving(tmp_path, 3)
        async with served(tmp_path, host="0.0.0.0") as live:
            assert live.is_public
            parts = urlsplit(live.link)
            here, token = f"http://127.0.0.1:{parts.port}/", parts.query
            for path in ("", "events", "live.js", "nothing", "?token=", "?token=wrong", f"events?{token}"):
                status, response, text = await asked(here + path)
                assert (status, "Set-Cookie" in response.headers) == (403, False), path
                assert "by the link that kon printed" in text
            status, response, text = await asked(here + "?" + token)
            assert status == 200
            assert 'content="0;url=/"' in text, "on to an address without it"
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["Cache-Control"] == "no-store"
            cookie = response.cookies[cookie_name(parts.port or 0)]
            assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
            given = {"Cookie": f"{cookie.key}={cookie.value}"}
            assert (await asked(here, headers=given))[0] == 200
            assert (await asked(here, headers={"Cookie": f"{cookie.key}=wrong"}))[0] == 403
            assert (await asked(here, headers={"Cookie": f"{cookie_name(1)}={cookie.value}"}))[0] == 403
            async with stream(here + "events?run=r", headers=given) as reading:
                await reading.until("run", id="r")

    run(main())


def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1 is taken by"):
                async with served(tmp_path, port=port):
                    pass

    run(main())


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a b"])
def test_a_host_that_is_not_this_machine(tmp_path: Path, host: str) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match=f"--host {host} is not an address of this machine"):
            async with served(tmp_path, host=host):
                pass

    run(main())


def test_a_fault_of_the_reader_ends_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that stands still for ever would say nothing of it."""

    def broken(self: watching.Watching) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(watching.Watching, "_list", broken)

    async def main() -> None:
        async with served(tmp_path) as live:
            async with aiohttp.ClientSession() as session, session.get(live.link + "events"):
                await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        run(main())


def test_a_tab_that_is_closed_as_it_loads_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone(self: web.StreamResponse, request: web.BaseRequest) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(web.StreamResponse, "prepare", gone)

    async def main() -> None:
        async with served(tmp_path) as live:
            with pytest.raises(aiohttp.ClientError):
                await asked(live.link + "events")
            assert live.viewers == 0

    run(main())
    assert not caplog.records
