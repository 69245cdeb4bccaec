"""The stream of events: it moves as a run does, for as many as look, and ends with the last state."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from kon.core.task import State
from kon.report.live import server as server_module
from kon.report.live import watching
from kon.report.read.reader import Growing
from tests.report.live.given import LIMIT_S, Moving, Stream, asked, run, served, stream, until


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


@pytest.mark.long
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
