"""Connections: which are kept, which are ended, and that no reply meets another request."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar, cast
from unittest.mock import AsyncMock, Mock

import pytest
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError

from kon.backends.aws.calls import Calls
from kon.backends.aws.lean.connections import Connections, StaleConnection, _Connection, _Lost
from kon.core.errors import BackendUnavailable, KonError
from tests.backends.aws.lean.server import (
    HALF,
    QUEUE,
    Peer,
    Request,
    Server,
    entries,
    error,
    hang_up,
    ids,
    on_a_server,
    reply,
    reset,
    saying,
    send,
    serving,
    without_pauses,
)


@on_a_server
async def test_connections_are_kept(server: Server, calls: Calls) -> None:
    for _ in range(5):
        await send(calls)
    await asyncio.gather(*[send(calls, str(n)) for n in range(3)])
    for _ in range(5):
        await asyncio.gather(*[send(calls, str(n)) for n in range(3)])
    assert server.connections <= 3


@on_a_server
async def test_calls_in_flight_are_limited_and_polls_are_not(server: Server, calls: Calls) -> None:
    go = asyncio.Event()

    async def wait(request: Request, peer: Peer) -> None:
        await go.wait()
        await peer.say(entries(request) if b"Entries" in request.body else reply(b"{}"))

    server.always = wait
    sent = [asyncio.create_task(send(calls, str(n))) for n in range(40)]
    await server.until(lambda server: len(server.requests) == 16)
    poll = asyncio.create_task(calls.poll("sqs", "ReceiveMessage", QueueUrl=QUEUE))
    await server.until(lambda server: len(server.requests) == 17)
    go.set()
    assert [ids(each) for each in await asyncio.gather(*sent)] == [[str(n)] for n in range(40)]
    assert await poll == {}
    assert server.connections == 17


@on_a_server
async def test_a_connection_that_ended_while_idle_is_not_used(server: Server, calls: Calls) -> None:
    server.answers = [closing_afterwards]
    await send(calls)
    await server.until(lambda server: server.ended == 1)
    for _ in range(3):
        await asyncio.sleep(0)
    assert ids(await send(calls, "2")) == ["2"]
    assert [request.connection for request in server.requests] == [1, 2]
    assert calls.count.made == 2


async def closing_afterwards(request: Request, peer: Peer) -> None:
    """Without saying so."""
    await peer.say(entries(request))
    peer.hang_up()


@pytest.mark.parametrize("end", [hang_up, reset])
def test_a_kept_connection_that_ends_at_the_request(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[Peer], None]
) -> None:
    """It is sent again at once, on a new connection; that counts, but is no attempt."""

    async def body(server: Server, calls: Calls) -> None:
        await send(calls)
        # a fresh connection that ends so is an attempt each
        server.answers = [saying(then=end)] * 5
        assert ids(await send(calls, "2")) == ["2"]
        assert [request.connection for request in server.requests] == [1, 1, 2, 3, 4, 5, 6]
        assert calls.count.made == calls.count.billed["sqs.requests"] == 7

    on_a_server(body)(monkeypatch)


@on_a_server
async def test_bytes_that_nobody_asked_for_end_the_connection(server: Server, calls: Calls) -> None:
    async def twice(request: Request, peer: Peer) -> None:
        await peer.say(entries(request))
        await asyncio.sleep(0.05)
        await peer.say(reply({"Successful": [{"Id": "another's"}]}))

    server.answers = [twice]
    await send(calls)
    await server.until(lambda server: server.ended == 1)
    assert ids(await send(calls, "2")) == ["2"]
    assert server.requests[-1].connection == 2


class Hasty(asyncio.Protocol):
    """Refuses a request as soon as it begins, and reads no more of it."""

    made: ClassVar[list[asyncio.Transport]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.made.append(self.transport)

    def data_received(self, data: bytes) -> None:
        self.transport.pause_reading()
        self.transport.write(error("InvalidMessageContents"))


def test_a_reply_that_came_before_the_request_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the request would be taken for another."""

    async def whole() -> None:
        async with serving(monkeypatch), asyncio.timeout(60.0):
            server = await asyncio.get_running_loop().create_server(Hasty, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            calls = Calls()
            for _ in range(2):
                with pytest.raises(KonError, match="InvalidMessageContents"):
                    await calls.call("sqs", "ReceiveMessage", QueueUrl="x" * (32 << 20))
            assert len(Hasty.made) == calls.count.made == 2
            for transport in Hasty.made:
                transport.abort()
            await calls.close()
            server.close()
            await server.wait_closed()

    Hasty.made.clear()
    asyncio.run(whole())


@on_a_server
async def test_a_cancelled_calls_connection_is_closed(server: Server, calls: Calls) -> None:
    late = asyncio.Event()

    async def after_a_while(request: Request, peer: Peer) -> None:
        await late.wait()
        await peer.say(entries(request))

    server.answers = [after_a_while]
    call = asyncio.create_task(send(calls, "cancelled"))
    await server.until(lambda server: len(server.requests) == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    late.set()
    assert ids(await send(calls, "2")) == ["2"]
    await server.until(lambda server: server.ended == 1)
    assert server.requests[-1].connection == 2


@on_a_server
async def test_no_reply_meets_another_request(server: Server, calls: Calls) -> None:
    """Cancelled, cut and late at random."""
    rng = random.Random(5)

    async def any_way(request: Request, peer: Peer) -> None:
        whole = entries(request)
        cut = rng.randrange(len(whole))
        await peer.say(whole[:cut])
        await asyncio.sleep(rng.choice([0, 0, 0.001, 0.003]))
        if rng.random() < 0.1:
            peer.hang_up()
        else:
            await peer.say(whole[cut:])

    async def one(name: str) -> bool:
        try:
            async with asyncio.timeout(rng.choice([None, None, 0.002, 0.005])):
                assert ids(await send(calls, name, "x")) == [name, "x"]
        except TimeoutError:
            return False
        return True

    server.always = any_way
    await send(calls)
    done: list[bool] = []
    for some in range(40):
        done += await asyncio.gather(*[one(f"{some}-{n}") for n in range(8)])
    assert done.count(True) > 40
    assert done.count(False) > 10


@pytest.mark.parametrize("said", [b"", HALF])
def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """Nor goes on."""

    async def whole() -> None:
        async with serving(monkeypatch) as server, asyncio.timeout(60.0):
            server.always = saying(said)
            calls = Calls()
            calls._lean._read_s = 0.1
            with pytest.raises(BackendUnavailable, match="SendMessageBatch: Read timeout on endpoint URL"):
                await send(calls)
            assert len(server.requests) == 5
            await server.until(lambda server: server.ended == 5)
            await calls.close()

    without_pauses(monkeypatch)
    asyncio.run(whole())


@on_a_server
async def test_a_large_request_and_reply(server: Server, calls: Calls) -> None:
    async def echo(request: Request, peer: Peer) -> None:
        await peer.say(reply({"Messages": [{"Body": request.body.decode()}]}))

    server.always = echo
    large = "\u00e4" * 500_000
    answer = await calls.call("sqs", "ReceiveMessage", QueueUrl=large)
    assert large in answer["Messages"][0]["Body"]


@on_a_server
async def test_closing_ends_connections_with_the_calls_under_way(server: Server, calls: Calls) -> None:
    go = asyncio.Event()

    async def wait(request: Request, peer: Peer) -> None:
        await go.wait()
        await peer.say(entries(request))

    await asyncio.gather(send(calls), send(calls))
    server.answers = [wait]
    call = asyncio.create_task(send(calls, "late"))
    await server.until(lambda server: len(server.requests) == 3)
    await calls.close()
    go.set()
    assert ids(await call) == ["late"]
    await server.until(lambda server: server.ended == server.connections)


@on_a_server
async def test_sockets_are_closed_when_the_client_is(server: Server, calls: Calls) -> None:
    """The event loop may have no other turn."""
    await send(calls)
    (connections,) = calls._lean._connections.values()
    (connection,) = connections._idle
    taken = connection._transport.get_extra_info("socket")
    await calls.close()
    assert taken.fileno() == -1


@on_a_server
async def test_a_connection_that_ends_as_it_begins_is_not_waited_for(server: Server, calls: Calls) -> None:
    connection = _Connection(asyncio.get_running_loop(), 60.0)
    connection.connection_made(Mock())
    connection.connection_lost(None)
    with pytest.raises(_Lost):
        async with asyncio.timeout(5.0):
            await connection.exchange(b"request")


@on_a_server
async def test_sockets_block_nobody_and_notice_peers_that_vanish(server: Server, calls: Calls) -> None:
    asyncio.get_running_loop().set_debug(True)  # it then refuses a socket that would block it
    await send(calls)
    (connections,) = calls._lean._connections.values()
    (connection,) = connections._idle
    taken = connection._transport.get_extra_info("socket")
    assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@on_a_server
async def test_a_reply_that_came_as_the_time_was_up_is_taken(server: Server, calls: Calls) -> None:
    connection = _Connection(asyncio.get_running_loop(), 0.0)
    connection.connection_made(Mock(**{"get_write_buffer_size.return_value": 0}))
    call = asyncio.create_task(connection.exchange(b"request"))
    await asyncio.sleep(0)
    connection.data_received(reply(b"{}"))
    connection._look()
    assert (await call).body == b"{}"


@on_a_server
async def test_a_reply_up_to_the_end_is_whole_only_where_the_end_is_in_order(
    server: Server, calls: Calls
) -> None:
    for end in (ConnectionResetError(), None):
        connection = _Connection(asyncio.get_running_loop(), 60.0)
        connection.connection_made(Mock(**{"get_write_buffer_size.return_value": 0}))
        call = asyncio.create_task(connection.exchange(b"request"))
        await asyncio.sleep(0)
        connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n{}")
        connection.connection_lost(end)
        if end is None:
            assert (await call).body == b"{}"
        else:
            with pytest.raises(ConnectionResetError):
                await call


@on_a_server
async def test_only_a_kept_connection_that_ends_is_stale(server: Server, calls: Calls) -> None:
    """That is no attempt: a new one that ends so is, or the call would never give up."""
    await send(calls)
    (connections,) = calls._lean._connections.values()
    request = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
    server.answers = [saying(then=hang_up), saying(then=hang_up)]
    with pytest.raises(ConnectionClosedError) as kept:
        await connections.exchange(request)
    with pytest.raises(ConnectionClosedError) as fresh:
        await connections.exchange(request)
    assert [kept.type, fresh.type] == [StaleConnection, ConnectionClosedError]


@on_a_server
async def test_a_kept_connection_that_ends_in_a_reply_is_not_stale(server: Server, calls: Calls) -> None:
    """The service has had the request: to send it again is another attempt."""
    await send(calls)
    (connections,) = calls._lean._connections.values()
    [kept] = connections._idle
    kept._reader.begun = True
    kept.exchange = AsyncMock(side_effect=ConnectionResetError)  # type: ignore[method-assign]
    with pytest.raises(ConnectionClosedError) as raised:
        await connections.exchange(b"")
    assert raised.type is ConnectionClosedError


@on_a_server
async def test_a_connection_of_an_earlier_loop_is_not_used(server: Server, calls: Calls) -> None:
    await send(calls)
    earlier = asyncio.new_event_loop()
    left = _Connection(earlier, 60.0)
    ended = {"get_write_buffer_size.return_value": 0, "abort.side_effect": RuntimeError("loop is closed")}
    left.connection_made(Mock(**ended))
    earlier.close()
    left.abort()
    (connections,) = calls._lean._connections.values()
    connections._idle.append(left)
    assert ids(await send(calls, "2")) == ["2"]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("raised", "told"),
    [(ConnectionRefusedError(), EndpointConnectionError), (asyncio.CancelledError(), asyncio.CancelledError)],
)
def test_a_socket_that_reaches_nobody_is_closed(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, told: type[BaseException]
) -> None:
    tried: list[socket.socket] = []

    async def refuse(connecting: socket.socket, address: Any) -> None:
        tried.append(connecting)
        raise raised

    async def whole() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", refuse)
        found = Future[Any]()
        found.set_result([(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))])
        connections = Connections("http://host", "host", 1, None, lambda *_: found)
        with pytest.raises(told):
            await connections.exchange(b"request")
        assert [each.fileno() for each in tried] == [-1]

    asyncio.run(whole())


def test_a_host_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a firewall does that drops what it is sent."""

    async def drop(connecting: socket.socket, address: Any) -> None:
        await asyncio.sleep(60.0)

    async def whole() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", drop)
        found = Future[Any]()
        found.set_result([(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))])
        connections = Connections("http://host", "host", 1, None, lambda *_: found, connect_s=0.05)
        with pytest.raises(ConnectTimeoutError):
            await asyncio.wait_for(connections.exchange(b"request"), 30.0)

    asyncio.run(whole())
