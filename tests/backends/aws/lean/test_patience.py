"""How long a connection waits: as long as bytes go, either way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from kon.backends.aws.lean.connections import _Connection
from tests.backends.aws.lean.server import reply

READ_S = 40.0


class Timers:
    """An event loop whose time goes on when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def is_closed(self) -> bool:
        return False

    def time(self) -> float:
        return self.now_s

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def call_at(self, when_s: float, call: Callable[[], None]) -> Any:
        self.due.append((when_s, call))
        return self

    def cancel(self) -> None:
        self.due.clear()

    def go_to(self, now_s: float) -> None:
        while self.due and self.due[0][0] <= now_s:
            self.now_s, call = self.due.pop(0)
            call()
        self.now_s = now_s


class Wire:
    """A transport with so many bytes that are still to be sent."""

    def __init__(self) -> None:
        self.unsent = 0
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.unsent = len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


def waiting(body: Callable[[Timers, Wire, _Connection, asyncio.Task[Any]], Any]) -> Callable[[], None]:
    """Makes a test of a coroutine function that is told of an exchange under way."""

    def test() -> None:
        async def whole() -> None:
            timers, wire = Timers(), Wire()
            connection = _Connection(cast(asyncio.AbstractEventLoop, timers), READ_S)
            connection.connection_made(cast(asyncio.BaseTransport, wire))
            exchange = asyncio.create_task(connection.exchange(b"x" * 100))
            await asyncio.sleep(0)
            await body(timers, wire, connection, exchange)

        asyncio.run(whole())

    test.__name__ = body.__name__
    return test


@waiting
async def test_it_waits_so_long(
    timers: Timers, wire: Wire, connection: _Connection, exchange: asyncio.Task[Any]
) -> None:
    timers.go_to(READ_S - 1)
    await asyncio.sleep(0)
    assert not exchange.done()
    timers.go_to(READ_S)
    with pytest.raises(TimeoutError):
        await exchange
    assert wire.aborted
    assert not timers.due


@waiting
async def test_longer_while_a_reply_goes_on(
    timers: Timers, wire: Wire, connection: _Connection, exchange: asyncio.Task[Any]
) -> None:
    whole = reply(b"slowly")
    for at in range(len(whole)):
        timers.go_to((at + 1) * (READ_S - 1))
        connection.data_received(whole[at : at + 1])
    assert (await exchange).body == b"slowly"
    assert not timers.due


@waiting
async def test_longer_while_a_request_goes_on(
    timers: Timers, wire: Wire, connection: _Connection, exchange: asyncio.Task[Any]
) -> None:
    for number in range(1, 5):
        wire.unsent -= 10
        timers.go_to(number * READ_S)
        await asyncio.sleep(0)
        assert not exchange.done()
    timers.go_to(5 * READ_S)
    with pytest.raises(TimeoutError):
        await exchange
