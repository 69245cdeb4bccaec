"""What tests of the live page share: records that move, a server, and a reader of its stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.events import Event
from kon.launch.page import runs_in
from kon.report.live.server import LiveServer, serving
from tests.report.made import Records

LIMIT_S = 60.0
"""No test waits longer for anything; none is judged by how long it takes."""

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


class Moving(Records):
    """A run that goes on as a test has it do."""

    def begin(self) -> None:
        self.life("client").note(Event.OPEN)
        self.life("w1.aaaaaa").note(Event.UP, worker="w1.aaaaaa", slots=2, host="here", requests=1)

    def end_tasks(self, indexes: range, state: State = State.DONE, **fields: Any) -> None:
        t = self.clock.t = self.clock.t + 1.0
        life = self.life("w1.aaaaaa")
        life.tasks(Event.START, indexes)
        life.tasks(Event.KEEP, indexes)
        outcomes = [Outcome(index, 1, state, started_s=t - 0.1, ended_s=t, **fields) for index in indexes]
        self.append_result(encode(Answers("w1.aaaaaa", outcomes)))


@asynccontextmanager
async def served(root: Path, records: Records | None = None, **options: Any) -> AsyncIterator[LiveServer]:
    """A server of the runs in a folder, by their own clock."""
    if records is not None:
        options["now_s"] = records.clock.now_s
    async with asyncio.timeout(LIMIT_S), serving(lambda: runs_in(root), **options) as server:
        yield server


async def until(condition: Callable[[], bool]) -> None:
    """Return once that is so."""
    while not condition():  # noqa: ASYNC110 - nothing but a look tells
        await asyncio.sleep(0.01)


class Message(NamedTuple):
    """A server-sent event. data: decoded. id: as it stood there, or empty."""

    event: str
    data: Any
    id: str


class Stream:
    """Reads a stream of server-sent events, as a browser does."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments: list[str] = []
        self.retry_ms: int | None = None

    async def next(self) -> Message | None:
        """None where the stream has ended."""
        event, data, id = "message", "", ""
        async for raw in self.response.content:
            line = raw.decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if name == "":
                if line.startswith(":"):
                    self.comments.append(value)
                elif data:
                    return Message(event, json.loads(data), id)
            elif name == "event":
                event = value
            elif name == "data":
                data = value
            elif name == "id":
                id = value
            elif name == "retry":
                self.retry_ms = int(value)
        return None

    async def until(self, event: str, **wanted: Any) -> Message:
        """The next of these events whose data has that in it."""
        while (message := await self.next()) is not None:
            if message.event == event and all(message.data[key] == value for key, value in wanted.items()):
                return message
        raise AssertionError(f"the stream has ended before {event} with {wanted}")


@asynccontextmanager
async def stream(url: str, mark: str = "", **options: Any) -> AsyncIterator[Stream]:
    headers = {"Last-Event-ID": mark} if mark else {}
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar, read_bufsize=1 << 22) as session:
        async with session.get(url, headers=headers | options.pop("headers", {}), **options) as response:
            assert response.status == 200, await response.text()
            yield Stream(response)


async def asked(url: str, method: str = "GET", **options: Any) -> tuple[int, aiohttp.ClientResponse, str]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        async with session.request(method, url, allow_redirects=False, **options) as response:
            return response.status, response, await response.text()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, LIMIT_S))
