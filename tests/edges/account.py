"""Both emulators in this process, without threads: a fork of it is a snapshot of the account.

A command runs in a forked process and asks over sockets, as ever; `serve` answers it until it ends. The
search's own looks take no socket.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import botocore.awsrequest
import msgspec

from kon.backends.emulator import Kind, Settings
from kon.backends.emulator.emulator import server_environment, variables
from kon.backends.emulator.server import ACCOUNTS, moto_application, moto_tags, quicken_moto
from kon.backends.emulator.strict import CONTROL, Asgi, State, Strict, Wsgi
from kon.backends.emulator.strict.calls import Reply, Request

HOST: Final = "127.0.0.1"
DATA: Final = ("sqs", "dynamodb", "s3", "sts")
"""Services that MiniStack plays; moto has the others."""

READS: Final = ("Get", "List", "Describe", "Head", "Batch", "Query", "Receive", "Scan")
"""What the names of calls begin with that change nothing, or rows only."""

_RESETS: Final[Mapping[Kind, str]] = {"ministack": "/_ministack/reset", "moto": "/moto-api/reset"}
_Answer = Callable[[Request], Awaitable[Reply | None]]


class Account:
    """folder: for what the emulators may write. One for a process and those that it forks."""

    def __init__(self, folder: Path) -> None:
        self._sockets: dict[Kind, socket.socket] = {"ministack": _listening(), "moto": _listening()}
        self.ports: Final = {kind: bound.getsockname()[1] for kind, bound in self._sockets.items()}
        for kind, port in self.ports.items():
            kept = ("HOME", "TMPDIR", "PYTHONUSERBASE")  # those of who runs the search will do
            made = server_environment(kind, port, folder)
            os.environ.update({name: value for name, value in made.items() if name not in kept})
        self._strict = {
            "ministack": Strict(ACCOUNTS["ministack"], Settings()),
            "moto": Strict(ACCOUNTS["moto"], Settings(), moto_tags(ACCOUNTS["moto"])),
        }
        from ministack.app import app

        quicken_moto()
        self._answers: dict[Kind, _Answer] = {
            "ministack": _of_asgi(Asgi(app, self._strict["ministack"])),
            "moto": _of_wsgi(Wsgi(moto_application(), self._strict["moto"]), self.ports["moto"]),
        }
        os.environ.update(variables(f"http://{HOST}:{self.ports['moto']}"))
        data = f"http://{HOST}:{self.ports['ministack']}"
        os.environ.update({f"AWS_ENDPOINT_URL_{service.upper()}": data for service in DATA})
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loops_pid = 0
        self._busy: list[asyncio.StreamWriter] = []

    # --- for commands --------------------------------------------------------------------------------

    def serve(self, pid: int, longest_s: float) -> int | None:
        """Answers until that child of this process ends: its status; None where it goes on after that."""
        return os.waitpid(pid, 0)[1] if self._run(self._serve(pid, longest_s)) else None

    async def _serve(self, pid: int, longest_s: float) -> bool:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.pidfd_open(pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await asyncio.wait_for(ended.wait(), longest_s)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return True

    def _run(self, job: Any) -> Any:
        if self._loops_pid != os.getpid():
            self._loop, self._loops_pid = asyncio.new_event_loop(), os.getpid()
            for kind, bound in self._sockets.items():
                _drain(bound)
                self._loop.run_until_complete(self._listen(kind, bound))
        assert self._loop is not None
        return self._loop.run_until_complete(job)

    async def _listen(self, kind: Kind, bound: socket.socket) -> None:
        answer = self._answers[kind]

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while (request := await _request(reader, writer)) is not None:
                    reply = await answer(request)
                    if reply is None:
                        # a process that was forked meanwhile may hold the connection too: it has to end now
                        writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
                        break
                    writer.write(_raw(reply, request.method))
                    await writer.drain()
            except (OSError, asyncio.IncompleteReadError):
                pass  # who asked has gone
            finally:
                writer.close()

        await asyncio.start_server(connected, sock=bound.dup())

    # --- for the search itself -------------------------------------------------------------------------

    def ask(self, kind: Kind, request: Request) -> Reply:
        reply: Reply | None = self._run(self._answers[kind](request))
        assert reply is not None
        return reply

    def reset(self) -> None:
        from moto.ec2.models import ec2_backends

        for kind, page in _RESETS.items():
            assert self.ask(kind, Request("POST", page, "", {"host": HOST}, b"")).ok
        # of Amazon's own images, which each list goes through
        ec2_backends[ACCOUNTS["moto"]]["us-east-1"].snapshots.clear()

    def as_if_new(self) -> None:
        """A snapshot stands still, and what counts as young by a clock is young again: tables, to kon."""
        from ministack.services import dynamodb

        for table in dynamodb._tables._data.values():
            table["CreationDateTime"] = time.time()

    def set(self, settings: Settings) -> None:
        for strict in self._strict.values():
            _control(strict, "set", msgspec.json.encode(settings))

    def states(self) -> list[State]:
        return [
            msgspec.json.decode(_control(strict, "state"), type=State) for strict in self._strict.values()
        ]

    def remembered(self) -> list[Any]:
        """What the strict layers know, but for replies that are kept, and how often a table was read that is
        gone: a run that takes longer reads it more often."""
        accounts = [strict.account for strict in self._strict.values()]
        return [
            (place, key, thing.tags, thing.left, {name: thing.about[name] for name in sorted(thing.about)})
            for account in accounts
            for place, things in (("there", account.things), ("gone", account.gone))
            for key, thing in things.items()
        ] + [
            (name, count)
            for account in accounts
            for name, count in account.calls.items()
            if not name.startswith("read ") or account.get("table", name.removeprefix("read "))
        ]

    def note_a_read(self, table: str) -> None:
        self._strict["ministack"].account.calls[f"read {table}"] += 1

    def changes(self) -> Mapping[str, int]:
        """How often something was asked of each service that may change more than rows."""
        made = [each.call.split(":") for state in self.states() for each in state.calls]
        return Counter(service for service, operation in made if not operation.startswith(READS))

    def client(self, service: str) -> Any:
        """boto3's, of somebody who may do all."""
        from tests.emulators import as_anybody

        client = as_anybody(service)
        client._endpoint.http_session = _Within(self, "ministack" if service in DATA else "moto")
        return client


class _Within:
    """botocore's way to the emulators, without a socket."""

    def __init__(self, account: Account, kind: Kind) -> None:
        self._account, self._kind = account, kind

    def send(self, request: Any) -> Any:
        rest = request.url.split("/", 3)[3]
        path, _, query = rest.partition("?")
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        body = request.body
        content = body.encode() if isinstance(body, str) else body.read() if hasattr(body, "read") else body
        content = bytes(content or b"")
        headers |= {"host": f"{HOST}:{self._account.ports[self._kind]}", "content-length": str(len(content))}
        reply = self._account.ask(self._kind, Request(request.method, f"/{path}", query, headers, content))
        return botocore.awsrequest.AWSResponse(request.url, reply.status, reply.headers, _Read(reply.body))

    def close(self) -> None:
        return


class _Read(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def _control(strict: Strict, page: str, body: bytes = b"") -> bytes:
    reply = strict.begin(Request("POST", f"{CONTROL}{page}", "", {}, body)).reply
    assert reply is not None
    assert reply.status == 200, reply
    return reply.body


def _listening() -> socket.socket:
    bound = socket.create_server((HOST, 0), backlog=256)
    bound.setblocking(False)
    return bound


def _drain(bound: socket.socket) -> None:
    """What is left in line is of processes that have ended."""
    while True:
        try:
            bound.accept()[0].close()
        except BlockingIOError:
            return


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """None at the connection's end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.pop("expect", ""):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in headers.pop("transfer-encoding", ""):
        parts = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        while (await reader.readline()).strip():
            pass  # a trailer
        body = b"".join(parts)
        headers["content-length"] = str(len(body))
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, body)


def _raw(reply: Reply, method: str) -> bytes:
    headers = {name: value for name, value in reply.headers.items() if name != "transfer-encoding"}
    if method != "HEAD":
        headers["content-length"] = str(len(reply.body))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    body = b"" if method == "HEAD" else reply.body
    return f"HTTP/1.1 {reply.status} Answer\r\n{head}\r\n".encode("latin-1") + body


def _of_asgi(app: Any) -> _Answer:
    async def answer(request: Request) -> Reply | None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": request.method,
            "root_path": "",
            "path": unquote_to_bytes(request.path).decode("utf-8", "replace"),
            "raw_path": request.path.encode("latin-1"),
            "query_string": request.query.encode("latin-1"),
            "headers": [
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()
            ],
            "client": (HOST, 1),
            "server": (HOST, 2),
        }
        reply, ended = Reply(500, {}, b""), False

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in message["headers"]
                }
            elif message["type"] == "http.response.body":
                reply.body += bytes(message.get("body", b""))
                ended = not message.get("more_body", False)

        await app(scope, receive, send)
        return reply if ended else None

    return answer


class _NoSocket:
    """In the place of werkzeug's, which the strict layer shuts where no reply is to come."""

    def shutdown(self, how: int) -> None:
        return


def _of_wsgi(app: Any, port: int) -> _Answer:
    async def answer(request: Request) -> Reply | None:
        headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
        environ = {
            **headers,
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
            "QUERY_STRING": request.query,
            "REQUEST_URI": request.path,
            "RAW_URI": request.path,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "SERVER_NAME": HOST,
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": HOST,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "werkzeug.socket": _NoSocket(),
        }
        reply = Reply(500, {}, b"")

        def start(status: str, found: list[tuple[str, str]], exc_info: object = None) -> None:
            reply.status = int(status.split(None, 1)[0])
            reply.headers = {name.lower(): value for name, value in found}

        try:
            chunks = app(environ, start)
            reply.body = b"".join(chunks)
        except ConnectionAbortedError:
            return None
        if hasattr(chunks, "close"):
            chunks.close()
        return reply

    return answer
