"""Connections to one endpoint, kept open between requests; one request at a time on each."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from botocore import exceptions

from kon.backends.aws.lean.reply import BrokenReply, Reply, ReplyReader

CONNECT_S: Final = 5.0
READ_S: Final = 40.0
"""Without a byte in either direction; a long poll takes 20 s."""

Submit = Callable[..., Future[Any]]
"""Has a function called on a thread."""


class StaleConnection(exceptions.ConnectionClosedError):  # type: ignore[misc] # botocore has no types
    """The server had closed a kept connection: nothing of a reply came."""


class _Lost(Exception):
    """The connection ended before the reply did."""


class Connections:
    """To one host and port. For one event loop: those of an earlier one are let go.

    url: what errors call the endpoint. tls: None for plain HTTP. submit: see Submit.
    connect_s: for each of the host's addresses, and for TLS. read_s: without a byte in either direction.
    """

    def __init__(
        self,
        url: str,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        submit: Submit,
        *,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
    ) -> None:
        self._url = url
        self._host = host
        self._port = port
        self._tls = tls
        self._submit = submit
        self._connect_s = connect_s
        self._read_s = read_s
        self._closed = False
        self._idle: list[_Connection] = []  # the one used last is used first, so that the others may end

    async def exchange(self, request: bytes, fresh: bool = False) -> Reply:
        """Send a request and read its reply. fresh: on a new connection.

        A call that is cancelled, or fails, takes its connection with it, as its reply may still come. Raises
        what botocore raises: EndpointConnectionError, ConnectTimeoutError, SSLError, ReadTimeoutError,
        ConnectionClosedError (StaleConnection where a kept one turns out to have ended) and HTTPClientError
        for what is no reply.
        """
        connection = None if fresh else self._kept()
        kept = connection is not None
        if connection is None:
            connection = await self._connected()
        try:
            reply = await connection.exchange(request)
        except TimeoutError as error:
            raise exceptions.ReadTimeoutError(endpoint_url=self._url) from error
        except BrokenReply as error:
            raise exceptions.HTTPClientError(error=f"{self._url} sent no HTTP reply: {error}") from error
        except (_Lost, OSError) as error:
            kind = exceptions.ConnectionClosedError if connection.begun or not kept else StaleConnection
            raise kind(endpoint_url=self._url) from error
        if reply.reusable and connection.free and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()
        return reply

    def close(self) -> None:
        """Keep none any more: those of calls under way end with them."""
        self._closed = True
        for connection in self._idle:
            connection.abort()

    def _kept(self) -> _Connection | None:
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.loop is loop and connection.free:
                return connection
        return None

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.wrap_future(
                self._submit(socket.getaddrinfo, self._host, self._port, 0, socket.SOCK_STREAM)
            )
            connected = await self._socket([(family, address) for family, *_, address in found])
            try:
                async with asyncio.timeout(self._connect_s):
                    _, connection = await loop.create_connection(
                        lambda: _Connection(loop, self._read_s),
                        sock=connected,
                        ssl=self._tls,
                        server_hostname=self._host if self._tls else None,
                    )
            except BaseException:
                connected.close()
                raise
        except TimeoutError as error:
            raise exceptions.ConnectTimeoutError(endpoint_url=self._url) from error
        except ssl.SSLError as error:
            raise exceptions.SSLError(endpoint_url=self._url, error=error) from error
        except OSError as error:
            raise exceptions.EndpointConnectionError(endpoint_url=self._url) from error
        return connection

    async def _socket(self, addresses: Sequence[tuple[int, Any]]) -> socket.socket:
        """Connected to the first of the addresses that can be reached."""
        loop = asyncio.get_running_loop()
        last: OSError = OSError("the host has no address")
        for family, address in addresses:
            tried = socket.socket(family, socket.SOCK_STREAM)
            try:
                tried.setblocking(False)
                # a peer that vanishes within a long poll is to be noticed
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                async with asyncio.timeout(self._connect_s):
                    await loop.sock_connect(tried, address)
                return tried
            except OSError as error:  # a TimeoutError is one
                tried.close()
                last = error
            except BaseException:
                tried.close()
                raise
        raise last


class _Connection(asyncio.Protocol):
    """begun: whether any of the latest reply came."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read_s: float) -> None:
        self.loop = loop
        self._ended = False
        self._read_s = read_s
        self._transport: Any = None
        self._reader = ReplyReader()
        self._reply: asyncio.Future[Reply] | None = None
        self._moved_s = 0.0  # when bytes last went either way
        self._unsent = 0
        self._timer: asyncio.TimerHandle

    @property
    def free(self) -> bool:
        """Whether it can carry another request: a server may answer before it has read all of one."""
        return not self._ended and not self._transport.get_write_buffer_size()

    @property
    def begun(self) -> bool:
        return self._reader.begun

    async def exchange(self, request: bytes) -> Reply:
        """Raises TimeoutError, BrokenReply, _Lost or OSError; the connection has ended then."""
        self._reader = ReplyReader()
        if self._ended:
            raise _Lost
        reply: asyncio.Future[Reply] = self.loop.create_future()
        self._reply = reply
        self._transport.write(request)
        self._moved_s = self.loop.time()
        self._unsent = self._transport.get_write_buffer_size()
        self._timer = self.loop.call_at(self._moved_s + self._read_s, self._look)
        try:
            return await reply
        except BaseException:  # cancelled, too: its reply must not meet another request
            self.abort()
            raise
        finally:
            self._timer.cancel()
            self._reply = None

    def abort(self) -> None:
        """End it now; nothing that is still to be sent is sent."""
        self._ended = True
        if not self.loop.is_closed():  # sockets of a loop that has ended have ended with it
            self._transport.abort()

    # --- called by the event loop ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None or reply.done():
            self.abort()  # nobody asked
            return
        self._moved_s = self.loop.time()
        try:
            whole = self._reader.feed(data)
        except BrokenReply as error:
            reply.set_exception(error)
            return
        if whole is not None:
            reply.set_result(whole)

    def _look(self) -> None:
        """Whether bytes still go, either way."""
        unsent = self._transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._moved_s = self.loop.time()
        self._unsent = unsent
        if self.loop.time() < self._moved_s + self._read_s:
            self._timer = self.loop.call_at(self._moved_s + self._read_s, self._look)
        elif self._reply is not None and not self._reply.done():
            self._reply.set_exception(TimeoutError())

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        reply = self._reply
        if reply is None or reply.done():
            return
        if error is not None or not self._reader.begun:
            reply.set_exception(error or _Lost())
            return
        try:
            reply.set_result(self._reader.end())
        except BrokenReply as broken:
            reply.set_exception(broken)
