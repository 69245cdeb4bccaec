"""The lean client: its calls and their attempts."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

import msgspec
from botocore import exceptions

from kon.backends.aws.billing import Meter
from kon.backends.aws.clients import Clients
from kon.backends.aws.lean.codec import DECODERS, decode, encode
from kon.backends.aws.lean.connections import CONNECT_S, READ_S, Connections, StaleConnection, Submit
from kon.backends.aws.lean.credentials import KeyRing, check_no_proxy, tls_context
from kon.backends.aws.lean.form import Form, form_of
from kon.backends.aws.lean.reply import Reply
from kon.backends.aws.lean.retries import Context, Rules

_AT_ONCE: Final = 16

_NO_REPLY: Final = (exceptions.HTTPClientError, exceptions.ConnectionError)


class _Way(msgspec.Struct, frozen=True):
    """What there is for one operation."""

    form: Form
    keys: KeyRing
    connections: Connections
    rules: Rules


class Lean:
    """Makes those calls that `takes` names. For one event loop at a time.

    submit: work that may block goes to a thread by it. at_once: calls in flight, at most, polls not counted.
    connect_s, read_s: how long a connection, and each next byte of a reply, may take.
    """

    def __init__(
        self,
        clients: Clients,
        meter: Meter,
        submit: Submit,
        *,
        at_once: int = _AT_ONCE,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
    ) -> None:
        self._clients = clients
        self._meter = meter
        self._submit = submit
        self._at_once = at_once
        self._connect_s = connect_s
        self._read_s = read_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room: asyncio.Semaphore
        self._ways: dict[tuple[str, str], _Way] = {}
        self._connections: dict[tuple[bool, str, int], Connections] = {}

    @staticmethod
    def takes(service: str, operation: str) -> bool:
        return (service, operation) in DECODERS

    async def call(
        self, service: str, operation: str, parameters: Mapping[str, Any], fifo: bool
    ) -> dict[str, Any]:
        """One call, answered as boto3 would answer it, but for ResponseMetadata.

        fifo: whether it is billed as one to a FIFO queue. Raises botocore's errors, and Unusual where boto3
        has to make the call: nothing was sent then.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._room = loop, asyncio.Semaphore(self._at_once)
        async with self._room:
            return await self.poll(service, operation, parameters, fifo)

    async def poll(
        self, service: str, operation: str, parameters: Mapping[str, Any], fifo: bool
    ) -> dict[str, Any]:
        """A call that may wait long at the service; no other waits for it."""
        way = self._ways.get((service, operation))
        if way is None:
            way = await self._learn(service, operation, parameters)
        body = encode(parameters)
        context: Context = {}
        attempt, fresh = 1, False
        while True:
            reply: Reply | None = None
            parsed: dict[str, Any] = {}
            error: Exception | None = None
            request = way.form.request(await way.keys.keys(), body, time.time())
            self._meter.sent(service, operation, fifo, "POST", len(body))
            try:
                reply = await way.connections.exchange(request, fresh)
                try:
                    parsed = _parsed(way, service, operation, reply)
                finally:
                    self._meter.answered(service, operation, fifo, len(reply.body), parameters, parsed)
            except StaleConnection:
                fresh = True  # the server hung up while it was idle; every hot call may be made twice
                continue
            except _NO_REPLY as broken:
                error = broken
            if reply is not None and error is None and reply.status < 300:
                way.rules.went_well(context, reply, parsed)
                return parsed
            pause_s = await asyncio.wrap_future(
                self._submit(way.rules.pause_s, attempt, context, reply, parsed, error)
            )
            if pause_s is None:
                raise error or exceptions.ClientError(parsed, operation)
            attempt, fresh = attempt + 1, False
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        """Let go of connections; those of calls under way end with them. May be used again."""
        connections, self._connections, self._ways = self._connections, {}, {}
        for each in connections.values():
            each.close()
        await asyncio.sleep(0)  # this is when sockets are closed

    async def _learn(self, service: str, operation: str, parameters: Mapping[str, Any]) -> _Way:
        form, keys, tls, client = await asyncio.wrap_future(
            self._submit(self._look_up, service, operation, parameters)
        )
        where = (form.tls, form.host, form.port)
        connections = self._connections.get(where)
        if connections is None:
            connections = self._connections[where] = Connections(
                form.url,
                form.host,
                form.port,
                tls,
                self._submit,
                connect_s=self._connect_s,
                read_s=self._read_s,
            )
        way = self._ways[service, operation] = _Way(form, keys, connections, Rules(client, operation))
        return way

    def _look_up(
        self, service: str, operation: str, parameters: Mapping[str, Any]
    ) -> tuple[Form, KeyRing, ssl.SSLContext | None, Any]:
        """What botocore has to say. Takes time, and may ask the network for credentials."""
        shown = self._clients.show(service, operation, parameters)
        keys = KeyRing(self._clients.session.get_credentials(), self._submit)
        form = form_of(shown, parameters, keys.frozen())
        check_no_proxy(form.url)
        tls = tls_context(self._clients.session) if form.tls else None
        return form, keys, tls, self._clients.get(service)


def _parsed(way: _Way, service: str, operation: str, reply: Reply) -> dict[str, Any]:
    """What a reply says. Raises HTTPClientError where it was damaged on its way."""
    if reply.status >= 300:
        return way.rules.error_of(reply)
    checksum = reply.headers.get("x-amz-crc32")
    if checksum is not None and checksum != str(crc32(reply.body)):
        raise exceptions.HTTPClientError(error=f"{way.form.url} sent a reply with a wrong checksum")
    try:
        return decode(service, operation, reply.body)
    except msgspec.DecodeError as error:
        raise exceptions.HTTPClientError(
            error=f"{way.form.url} sent what is no reply to {operation}: {error}"
        ) from error
