"""The server, asked over HTTP as browsers and others do."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from kon.errors import ConfigurationError
from kon.live import server as server_module
from kon.live import watching
from kon.live.guard import HEADERS, cookie_name
from kon.live.watch import Watch
from kon.report.growing import Growing
from kon.task import State
from tests.live.given import LIMIT_S, Moving, Stream, served, stream, until

SCRIPTS = ("live.js", "chart.js", "tables.js", "words.js")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other soon, so that no test waits for nothing."""
    monkeypatch.setattr(watching, "LOOK_S", 0.02)
    monkeypatch.setattr(watching, "LIST_S", 0.02)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, LIMIT_S))


async def asked(url: str, method: str = "GET", **options: Any) -> tuple[int, aiohttp.ClientResponse, str]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        async with session.request(method, url, allow_redirects=False, **options) as response:
            return response.status, response, await response.text()


def test_every_file_of_the_page_is_there_under_its_policy(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as live:
            for path in (
                "",
                "live.js",
                "live.css",
                "style.css",
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
                [(await asked(live.link + f))[2] for f in ("live.js", "tables.js")]
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
            assert live.has_token
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


def test_a_stream_moves_as_the_run_does(tmp_path: Path) -> None:
    async def main() -> None:
        records = Moving(tmp_path, 10)
        async with served(tmp_path, records) as live, stream(f"{live.link}events?run=r") as reading:
            assert reading.response.content_type == "text/event-stream"
            await reading.until("run", done=0)
            assert reading.retry_ms == server_module.RETRY_MS
            records.begin()
            records.end_tasks(range(4))
            await reading.until("run", done=4)
            records.end_tasks(range(4, 5), State.FAILED, error="broken", result={"stderr": "no disk"})
            failures = await reading.until("failures", in_all=1)
            assert failures.data["shown"][0]["output"] == {"stderr": "no disk"}
            assert failures.id, "what to come back with"

    run(main())


def test_who_comes_back_misses_nothing_and_gets_nothing_twice(tmp_path: Path) -> None:
    async def main() -> None:
        records = Moving(tmp_path, 10)
        records.begin()
        async with served(tmp_path, records, heartbeat_s=0.05) as live:
            url = f"{live.link}events?run=r"
            async with stream(url) as reading:
                await reading.until("run", done=0)
                mark = ""
                while not mark or not reading.comments:  # until all has been sent, and nothing is new
                    message = await asyncio.wait_for(_or_comment(reading), LIMIT_S)
                    mark = message or mark
            async with stream(url, mark) as reading:
                await _or_comment(reading)
                assert reading.comments, "nothing had changed"
                records.end_tasks(range(3))
                await reading.until("run", done=3)
            async with stream(url, "another-7") as reading:
                await reading.until("run", done=3)

    run(main())


async def _or_comment(reading: Any) -> str:
    """The mark of the next event, or "" after a heartbeat."""
    seen = len(reading.comments)
    mark = ""
    async for raw in reading.response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            reading.comments.append(line)
        elif line.startswith("id: "):
            mark = line[4:]
        elif not line and (mark or len(reading.comments) > seen):
            return mark
    raise AssertionError("the stream has ended")


def test_a_heart_beats_while_nothing_changes(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, heartbeat_s=0.02) as live, stream(live.link + "events") as reading:
            while len(reading.comments) < 3:
                await _or_comment(reading)

    run(main())


def test_many_viewers_share_one_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = Growing.read

    def counted(self: Growing, most_bytes: int) -> bytes:
        lines = original(self, most_bytes)
        read.append(len(lines))
        return lines

    monkeypatch.setattr(Growing, "read", counted)

    async def main() -> None:
        records = Moving(tmp_path, 10)
        records.begin()
        async with served(tmp_path, records) as live:
            url = f"{live.link}events?run=r"
            async with stream(url) as one, stream(url) as two, stream(url) as three:
                records.end_tasks(range(7))
                for reading in (one, two, three):
                    await reading.until("run", done=7)
                assert live.viewers == 3
        size_bytes = sum(file.stat().st_size for file in records.folder.events.iterdir())
        assert sum(read) == size_bytes + records.folder.results.stat().st_size

    run(main())


def test_while_nobody_looks_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []
    original = watching.Watching._round

    async def counted(self: watching.Watching, everything: bool) -> bool:
        looks.append(everything)
        return await original(self, everything)

    monkeypatch.setattr(watching.Watching, "_round", counted)

    async def main() -> None:
        records = Moving(tmp_path, 10)
        async with served(tmp_path, records) as live:
            async with stream(f"{live.link}events?run=r") as reading:
                await reading.until("run", done=0)
            await until(lambda: live.viewers == 0)
            await asyncio.sleep(3 * watching.LOOK_S)
            before = len(looks)
            await asyncio.sleep(10 * watching.LOOK_S)
            assert len(looks) == before

    run(main())


def test_a_viewer_that_takes_nothing_is_let_go(tmp_path: Path) -> None:
    async def main() -> None:
        records = Moving(tmp_path, 1_000)
        async with served(tmp_path, records, stall_s=0.2) as live:
            parts = urlsplit(live.link)
            sleeper = socket.socket()
            sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sleeper.connect(("127.0.0.1", parts.port))
            sleeper.sendall(b"GET /events?run=r HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with stream(f"{live.link}events?run=r") as reading:
                await until(lambda: live.viewers == 2)
                index = 0
                while live.viewers > 1:  # fill what lies between until nothing goes any more
                    text = {"stderr": f"{index} " + "x" * 1_990}
                    records.end_tasks(range(index, index + 1), State.FAILED, error="e", result=text)
                    index += 1
                    await reading.until("run", failed=index)
            sleeper.close()

    run(main())


def test_there_is_an_end_to_viewers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_VIEWERS", 2)

    async def main() -> None:
        async with served(tmp_path) as live:
            url = live.link + "events"
            async with stream(url), stream(url):
                await until(lambda: live.viewers == 2)
                status, _, text = await asked(url)
                assert (status, text) == (503, "2 pages look already. Close one of them.\n")
            await until(lambda: live.viewers == 0)
            async with stream(url):
                pass

    run(main())


def test_the_end_comes_with_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 3600.0)  # as if the end came between two looks

    async def main() -> None:
        records = Moving(tmp_path, 10)
        records.begin()
        async with aiohttp.ClientSession(read_bufsize=1 << 22) as session:
            async with served(tmp_path, records, farewell="It is over.") as live:
                reading = Stream(await session.get(f"{live.link}events?run=r"))
                await reading.until("run", done=0)
                records.end_tasks(range(10))
                records.folder.write_summary({"done": 10})
            await reading.until("run", done=10, state="finished")
            assert (await reading.until("end")).data == {"why": "It is over."}
            assert await reading.next() is None

    run(main())


def test_the_end_does_not_wait_for_all_of_a_large_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def behind(self: watching.Watching, everything: bool) -> bool:
        return True

    monkeypatch.setattr(watching.Watching, "_round", behind)
    monkeypatch.setattr(watching, "LAST_S", 0.01)

    async def main() -> None:
        follows = watching.Watching(lambda: [], lambda: 0.0)
        await follows.last_look({"why": "Over."})
        assert [part.event for part in follows.board.since(0, {""})] == ["end"]
        follows.close()

    run(main())


def test_runs_that_begin_later_are_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as live, stream(live.link + "events") as reading:
            assert (await reading.until("runs")).data == []
            records = Moving(tmp_path, 10)
            message = await reading.next()
            assert message is not None
            assert [line["id"] for line in message.data] == ["r"]
            async with stream(f"{live.link}events?run=r") as one:
                await one.until("run", tasks=10)
            shutil.rmtree(records.folder.path)
            async with stream(f"{live.link}events?run=r") as one:
                await one.until("run", state="gone")

    run(main())


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, two = Moving(tmp_path / "a", 3), Moving(tmp_path / "b", 5)

    async def main() -> None:
        follows = watching.Watching(lambda: [one.folder, two.folder], one.clock.now_s)
        assert await follows.knows("r")
        assert await follows.knows("b/r")
        assert not await follows.knows("a/r")
        follows.close()

    run(main())


def test_a_finished_run_is_listed_from_its_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Moving(tmp_path, 10)
    row = {"tasks": 10, "done": 9, "failed": 1, "dead": 0, "lost": 0, "tasks_per_s": 5.0, "began_s": 1.0}
    records.folder.write_summary(row)

    def refuse(self: Growing, most_bytes: int) -> bytes:
        raise AssertionError("read")

    monkeypatch.setattr(Growing, "read", refuse)

    async def main() -> None:
        async with served(tmp_path, records) as live, stream(live.link + "events") as reading:
            message = await reading.until("runs")
            assert message.data[0]["done"] == 9
            assert message.data[0]["state"] == "finished"

    run(main())


def test_runs_that_nobody_looks_at_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs are to be read, the one that somebody looks at does not wait for all of them."""
    looked: list[str] = []
    monkeypatch.setattr(watching, "OTHERS_S", -1.0)
    monkeypatch.setattr(Watch, "look", lambda self: looked.append(self.id))
    follows = watching.Watching(lambda: [Moving(tmp_path / name, 3).folder for name in "abc"], lambda: 0.0)
    for number in range(1, 7):
        assert len(follows._list()) == 3
        assert len(looked) == number, "one each time"
    assert sorted(looked[:3]) == sorted(looked[3:]) == ["b/r", "c/r", "r"]
    follows.close()


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
