"""An HTTP server that answers as a test says, faults and all."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final
from zlib import crc32

import msgspec
import pytest
from botocore.retries.standard import ExponentialBackoff

from kon.backends.aws.calls import Calls

QUEUE: Final = "http://queues/1/q"
HALF: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
"""A reply that says more bytes than come."""


class Request(msgspec.Struct, frozen=True):
    """headers: by names in small letters. connection: its number, from 1."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def entries(self) -> list[str]:
        """What a SendMessageBatch asks for."""
        return [each["Id"] for each in json.loads(self.body)["Entries"]]


class Peer:
    """The server's side of a connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    def hang_up(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        self._writer.transport.abort()


Answer = Callable[[Request, Peer], Awaitable[None]]


def reply(body: bytes | dict[str, Any], status: int = 200, **headers: str) -> bytes:
    """A whole one. headers: with _ for -."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"Content-Length": str(len(content)), **{k.replace("_", "-"): v for k, v in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + content


def entries(request: Request) -> bytes:
    return reply({"Successful": [{"Id": each} for each in request.entries]})


async def well(request: Request, peer: Peer) -> None:
    """A reply that has the request's own entries."""
    await peer.say(entries(request))


def saying(*pieces: bytes, then: Callable[[Peer], None] | None = None) -> Answer:
    """Always the same bytes."""

    async def answer(_: Request, peer: Peer) -> None:
        await peer.say(*pieces)
        if then is not None:
            then(peer)

    return answer


class Server:
    """answers: what comes next, one for each request; `always` where there is none left."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.always: Answer = well
        self.requests: list[Request] = []
        self.connections = 0
        self.ended = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.url = ""
        self._changed = asyncio.Condition()

    async def until(self, ready: Callable[[Server], bool]) -> None:
        async with asyncio.timeout(30.0), self._changed:
            await self._changed.wait_for(lambda: ready(self))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.open.add(writer)
        try:
            while (request := await _read(reader, number)) is not None:
                self.requests.append(request)
                await self._tell()
                answer = self.answers.pop(0) if self.answers else self.always
                await answer(request, Peer(writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.ended += 1
            self.open.discard(writer)
            writer.transport.abort()
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def _read(reader: asyncio.StreamReader, number: int) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode().strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    small = {name.lower(): value for name, value in headers.items()}
    return Request(first.split()[1], small, await reader.readexactly(int(small["content-length"])), number)


@asynccontextmanager
async def serving(
    environment: pytest.MonkeyPatch, tls: ssl.SSLContext | None = None, path: str = ""
) -> AsyncIterator[Server]:
    """A server, to which this process's settings lead."""
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}{path}" if tls is None else f"https://localhost:{port}{path}"
    lead_to(environment, server.url)
    try:
        yield server
    finally:
        listening.close()
        for writer in server.open:  # since Python 3.12 a server waits for what its clients keep open
            writer.transport.abort()
        await listening.wait_closed()


def lead_to(environment: pytest.MonkeyPatch, url: str) -> None:
    settings = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    for name, value in settings.items():
        environment.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        environment.delenv(name, raising=False)


def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's rules as they are, but for how long it waits."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)


def error(code: str, status: int = 400, message: str = "words", **headers: str) -> bytes:
    return reply({"__type": f"com.amazonaws.sqs#{code}", "message": message}, status, **headers)


def with_checksum(body: bytes, right: bool = True) -> bytes:
    return reply(body, x_amz_crc32=str(crc32(body) if right else crc32(body) ^ 1))


Body = Callable[[Server, Calls], Coroutine[Any, Any, None]]


def send(calls: Calls, *ids: str) -> Coroutine[Any, Any, dict[str, Any]]:
    wanted = [{"Id": each, "MessageBody": "hello"} for each in ids or ("0",)]
    return calls.call("sqs", "SendMessageBatch", QueueUrl=QUEUE, Entries=wanted)


def ids(answer: dict[str, Any]) -> list[str]:
    return [each["Id"] for each in answer["Successful"]]


def on_a_server(body: Body) -> Callable[[pytest.MonkeyPatch], None]:
    """Makes a test of a coroutine function, with the lean client."""

    def test(monkeypatch: pytest.MonkeyPatch) -> None:
        async def whole() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            async with serving(monkeypatch) as server, asyncio.timeout(60.0):
                calls = Calls()
                try:
                    await body(server, calls)
                finally:
                    await calls.close()

        complaints: list[dict[str, Any]] = []
        without_pauses(monkeypatch)
        asyncio.run(whole())
        assert complaints == [], "which would be tracebacks in a log"

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    return test


def hang_up(peer: Peer) -> None:
    peer.hang_up()


def reset(peer: Peer) -> None:
    peer.reset()
