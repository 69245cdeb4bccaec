"""The server of the live page: a page, its script and style, and a stream of what changes."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from kon.core.errors import ConfigurationError, KonError
from kon.engine.peek import asked
from kon.report.live.board import framed
from kon.report.live.guard import HEADERS, HERE, Actions, PageGuard, cookie_name, is_own
from kon.report.live.watching import END, Discover, Watching
from kon.report.page import STYLE

RETRY_MS: Final = 2_000
"""A page that lost the server tries again after that."""

HEARTBEAT_S: Final = 15.0
"""Something is sent at least so often, so that whoever is between does not take the stream for dead."""

STALL_S: Final = 30.0
"""A viewer that takes nothing for so long is let go; it may come back."""

MOST_VIEWERS: Final = 64
"""At once: more is a mistake, or somebody's malice."""

_PAGE: Final = Path(__file__).parent / "page"
_FILES: Final = {
    "/": (_PAGE / "live.html", "text/html"),
    "/live.css": (_PAGE / "live.css", "text/css"),
    "/style.css": (STYLE, "text/css"),
    "/icon.svg": (_PAGE / "icon.svg", "image/svg+xml"),
    "/live.js": (_PAGE / "live.js", "text/javascript"),
    "/acting.js": (_PAGE / "acting.js", "text/javascript"),
    "/chart.js": (_PAGE / "chart.js", "text/javascript"),
    "/tables.js": (_PAGE / "tables.js", "text/javascript"),
    "/words.js": (_PAGE / "words.js", "text/javascript"),
}
"""All that is served, by path. No part of a request is ever made a path on disk."""

_OPENED: Final = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    '<title>kon</title><a href="/">on to the page</a>'
)
"""After a link with a token: on to the page, without it.

A redirect would do the same in most cases; but where the link is followed from another site, the browser
would not send a SameSite=Strict cookie along with it.
"""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LiveServer:
    """Serves what is followed until it is closed."""

    def __init__(
        self,
        watching: Watching,
        guard: PageGuard,
        heartbeat_s: float,
        stall_s: float,
        actions: Actions | None,
    ) -> None:
        self._actions = actions
        self._watching = watching
        self._guard = guard
        self._heartbeat_s = heartbeat_s
        self._stall_s = stall_s
        self._port = 0
        self.viewers = 0

    async def start(self, port: int) -> web.AppRunner:
        """Listen. Raises ConfigurationError where that can't be."""
        app = web.Application(middlewares=[self._guarded])
        for path, (file, content_type) in _FILES.items():
            app.router.add_get(path, _static(file.read_bytes(), content_type), allow_head=False)
        app.router.add_get("/events", self._events, allow_head=False)
        app.router.add_get("/may-act", self._may_act, allow_head=False)
        app.router.add_post("/cancel", self._act)
        app.router.add_post("/retry", self._act)
        app.router.add_post("/output", self._act)
        app.on_response_prepare.append(_add_headers)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        host = HERE if self._guard.host == "localhost" else self._guard.host
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, UnicodeError) as error:
            await runner.cleanup()
            raise ConfigurationError(_why(host, port, error)) from error
        self._port = runner.addresses[0][1]
        return runner

    @property
    def link(self) -> str:
        return self._guard.link(self._port, acts=self._actions is not None)

    @property
    def is_public(self) -> bool:
        """Whether more than this machine can reach it."""
        return self._guard.is_public

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        guard = self._guard
        if not guard.knows(request.headers.get("Host")):
            return _refusal("This server does not go by that name.")
        cookie = cookie_name(self._port)
        given = request.query.get("token")
        if given is not None and request.path == "/" and guard.is_token(given):
            response = web.Response(text=_OPENED, content_type="text/html")
            response.set_cookie(cookie, guard.token, httponly=True, samesite="Strict", path="/")
            return response
        if not guard.opens(request.cookies.get(cookie)):
            return _refusal("This page opens by the link that kon printed as it started, token and all.")
        return await handler(request)

    def _refused(self, request: web.Request) -> str:
        """Why who asks may not act on runs; empty where they may."""
        if self._actions is None:
            return "This server shows runs, and does nothing else."
        if not self._guard.is_token(request.cookies.get(cookie_name(self._port))):
            return "Only the link that kon printed, token and all, opens a page that may act on runs."
        return ""

    async def _may_act(self, request: web.Request) -> web.Response:
        return web.json_response({"may": not self._refused(request)})

    async def _act(self, request: web.Request) -> web.Response:
        why = self._refused(request)
        if why or not is_own(request.headers):
            return _refusal(why or "Only this server's own page may ask for that.")
        assert self._actions is not None
        folder = await self._watching.folder(request.query.get("run", ""))
        if folder is None:
            raise web.HTTPNotFound(text="There is no such run here.\n")
        try:
            if request.path == "/output":
                index = request.query.get("task", "")
                if not (index.isascii() and index.isdecimal()):
                    raise web.HTTPBadRequest(text="Which task? A number is needed.\n")
                return web.json_response(await asked(folder, int(index)))
            act = self._actions.cancel if request.path == "/cancel" else self._actions.retry
            return web.Response(text=f"{await act(folder)}\n")
        except (KonError, OSError) as error:
            return web.Response(status=409, text=f"{error}\n")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        id, watching = request.query.get("run", ""), self._watching
        if id and not await watching.knows(id):
            raise web.HTTPNotFound(text=f"There is no run {id} here.\n")
        if self.viewers >= MOST_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_VIEWERS} pages look already. Close one of them.\n")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        self.viewers += 1
        try:
            await response.prepare(request)  # fails where the tab was closed as it loaded
            with watching.viewer(id):
                await self._send(request, response, {"", id})
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()  # what it has not taken is not kept for it
        finally:
            self.viewers -= 1
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, topics: set[str]) -> None:
        board = self._watching.board
        version = board.version_of(request.headers.get("Last-Event-ID", ""))
        text = f"retry: {RETRY_MS}\n\n".encode()
        over = False
        while True:
            async with asyncio.timeout(self._stall_s):
                await response.write(text)
            if over:
                return
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    parts = await board.news(version, topics)
            except TimeoutError:
                text = b": still here\n\n"
                continue
            version = parts[-1].version
            text = b"".join(framed(parts, board.mark(version)))
            over = any(part.event == END for part in parts)


@asynccontextmanager
async def serving(
    discover: Discover,
    *,
    host: str = HERE,
    port: int = 0,
    heartbeat_s: float = HEARTBEAT_S,
    stall_s: float = STALL_S,
    now_s: Callable[[], float] = time.time,
    farewell: str = "",
    actions: Actions | None = None,
) -> AsyncIterator[LiveServer]:
    """Within it, the page is served. At its end viewers are shown how all stands, and `farewell`.

    actions: what its page may have done to runs; None for nothing.
    now_s: seconds since the epoch, for comparison with what is recorded; called in threads.
    Raises ConfigurationError where nothing can listen at that host and port.
    """
    watching = Watching(discover, now_s)
    server = LiveServer(watching, PageGuard(host), heartbeat_s, stall_s, actions)
    runner = await server.start(port)
    try:
        async with asyncio.TaskGroup() as group:  # whose body ends where the reader fails
            looking = group.create_task(watching.run())
            yield server
            looking.cancel()
        if server.viewers:
            await watching.last_look({"why": farewell})
    finally:
        await runner.cleanup()
        watching.close()


def _static(body: bytes, content_type: str) -> _Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return answer


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.popall("Server", None)


def _refusal(text: str) -> web.Response:
    return web.Response(status=403, text=f"{text}\n")


def _why(host: str, port: int, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken by another program; name another one with --port, or leave it "
            "out for one that is free"
        )
    if number == errno.EACCES:
        return f"port {port} of {host} is for root alone; name one from 1024 on, or leave --port out"
    reason = os.strerror(number) if number and number > 0 else str(error)
    return f"--host {host} is not an address of this machine: {reason}; leave it out for this machine alone"
