"""How apt and pip on the hosts reach the registries that this machine reaches: an HTTP proxy.

The lab's network leads nowhere. `Proxy` runs outside of it, on a socket in a folder; `relay` runs inside, on
a port, and passes everything on to that socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse
from pathlib import Path
from typing import Final, NamedTuple

_CHUNK_BYTES: Final = 1 << 16
_CONNECT_S: Final = 30.0


class Asked(NamedTuple):
    """What a client of a proxy asks for.

    head: what goes to the server, if anything, before the client's further bytes.
    """

    host: str
    port: int
    is_tunnel: bool
    head: bytes


def parse(head: bytes) -> Asked:
    """The head of a request as a proxy gets it. Raises ValueError for one that is for no proxy."""
    line, _, rest = head.partition(b"\r\n")
    verb, target, protocol = line.decode("ascii").split(" ")
    if verb == "CONNECT":
        host, _, port = target.rpartition(":")
        return Asked(host, int(port), True, b"")
    url = urllib.parse.urlsplit(target)
    if url.scheme != "http" or url.hostname is None:
        raise ValueError(f"a proxy is asked for an absolute http: URL, not for {target}")
    path = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
    kept = [
        field
        for field in rest.removesuffix(b"\r\n\r\n").split(b"\r\n")
        if not field.lower().startswith((b"connection:", b"proxy-connection:"))
    ]
    # one request a connection: the next one may be for another server
    fields = b"\r\n".join([*kept, b"Connection: close", b"", b""])
    return Asked(url.hostname, url.port or 80, False, f"{verb} {path} {protocol}\r\n".encode() + fields)


class Proxy:
    """upstream: URL of the proxy that this machine itself has to go through, or None."""

    def __init__(self, upstream: str | None = None) -> None:
        self._upstream = upstream

    async def serve(self, place: Path) -> None:
        """Serve on a Unix socket until cancelled."""
        server = await asyncio.start_unix_server(self._handle, place)
        async with server:
            await server.serve_forever()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            asked = parse(head)
            server = await self._connect(asked)
        except (ValueError, OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            with contextlib.suppress(OSError):
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
            writer.close()
            return
        if self._upstream is not None:
            server[1].write(head)
        elif asked.is_tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server[1].write(asked.head)
        await _join((reader, writer), server)

    async def _connect(self, asked: Asked) -> Stream:
        host, port = asked.host, asked.port
        if self._upstream is not None:
            url = urllib.parse.urlsplit(self._upstream)
            host, port = url.hostname or "", url.port or 80
        async with asyncio.timeout(_CONNECT_S):
            return await asyncio.open_connection(host, port)


async def relay(address: str, port: int, place: Path) -> None:
    """Pass connections to a port on to a Unix socket, until cancelled."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join((reader, writer), await asyncio.open_unix_connection(place))

    server = await asyncio.start_server(handle, address, port)
    async with server:
        await server.serve_forever()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(one: Stream, other: Stream) -> None:
    await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]))
    for _, writer in (one, other):
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
