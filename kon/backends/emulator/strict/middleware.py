"""The layer around an application: ASGI's and WSGI's way of calling it."""

from __future__ import annotations

import io
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from kon.backends.emulator.strict.calls import Reply, Request
from kon.backends.emulator.strict.layer import Strict

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Asgi:
    """For MiniStack."""

    def __init__(self, app: Callable[[_Scope, _Receive, _Send], Awaitable[None]], strict: Strict) -> None:
        self._app = app
        self._strict = strict

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client has gone
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        body = b"".join(parts)
        verdict = self._strict.begin(_asgi_request(scope, body))
        if verdict.drop:
            await _drop(send)
            return
        if verdict.reply is not None:
            await _send(send, verdict.reply)
            return
        given = False

        async def again() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        if not verdict.watched:
            await self._app(scope, again, send)
            return
        reply = Reply(500, {}, b"")
        content: list[bytes] = []

        async def keep(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in message.get("headers", ())
                }
            elif message["type"] == "http.response.body":
                content.append(bytes(message.get("body", b"")))

        await self._app(scope, again, keep)
        reply.body = b"".join(content)
        verdict = self._strict.end(verdict, reply)
        if verdict.drop or verdict.reply is None:
            await _drop(send)
        else:
            await _send(send, verdict.reply)


def _asgi_request(scope: _Scope, body: bytes) -> Request:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    path = scope.get("raw_path") or scope["path"].encode()
    return Request(
        scope["method"],
        path.decode("latin-1").partition("?")[0],
        scope.get("query_string", b"").decode("latin-1"),
        headers,
        body,
    )


async def _send(send: _Send, reply: Reply) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _drop(send: _Send) -> None:
    """End the connection within a reply: the server closes it where an application stops in mid-reply."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})


class Wsgi:
    """For moto, under werkzeug's server."""

    def __init__(self, app: Callable[..., Iterable[bytes]], strict: Strict) -> None:
        self._app = app
        self._strict = strict

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        verdict = self._strict.begin(_wsgi_request(environ, body))
        if verdict.drop:
            return _hang_up(environ)
        if verdict.reply is not None:
            return _answer(verdict.reply, start_response)
        if not verdict.watched:
            return self._app(environ, start_response)
        reply = Reply(500, {}, b"")

        def keep(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            reply.status = int(status.split(None, 1)[0])
            reply.headers = {name.lower(): value for name, value in headers}

        chunks = self._app(environ, keep)
        try:
            reply.body = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        verdict = self._strict.end(verdict, reply)
        if verdict.drop or verdict.reply is None:
            return _hang_up(environ)
        return _answer(verdict.reply, start_response)


def _wsgi_request(environ: dict[str, Any], body: bytes) -> Request:
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    path = environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ.get("PATH_INFO", "")
    return Request(
        environ["REQUEST_METHOD"], path.partition("?")[0], environ.get("QUERY_STRING", ""), headers, body
    )


def _answer(reply: Reply, start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(f"{reply.status} Answer", list(reply.headers.items()))
    return [reply.body]


def _hang_up(environ: dict[str, Any]) -> Iterable[bytes]:
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError
