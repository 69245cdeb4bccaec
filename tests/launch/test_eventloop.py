"""The worker's event loop: timers to the microsecond, and everything else as before."""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from collections.abc import Iterable, Iterator
from selectors import EVENT_READ
from typing import Any

import pytest

from kon.launch import process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere asyncio's own loop is used")


class Waits:
    """Stands for the module `select`: notes how long each wait may take."""

    def __init__(self) -> None:
        self.timeouts_s: list[float] = []

    def select(
        self, readers: Iterable[Any], writers: Iterable[Any], others: Iterable[Any], timeout_s: float
    ) -> tuple[list[Any], list[Any], list[Any]]:
        self.timeouts_s.append(timeout_s)
        return select.select(readers, writers, others, timeout_s)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits()
    monkeypatch.setattr(process, "select", waits)
    return waits


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_a_timer_is_not_rounded_up_to_a_millisecond(waits: Waits) -> None:
    async def nap() -> None:
        await asyncio.sleep(0.0004)

    with asyncio.Runner(loop_factory=process.new_event_loop) as runner:
        runner.run(nap())
    assert waits.timeouts_s, "asyncio waited by itself"
    assert all(timeout_s <= 0.0004 for timeout_s in waits.timeouts_s)


@pytest.mark.parametrize("limit", [process.SELECT_LIMIT, 0], ids=["fine", "too many files open"])
@pytest.mark.parametrize("timeout_s", [None, 0, 60.0])
def test_what_is_ready_is_returned(
    pair: tuple[socket.socket, socket.socket],
    timeout_s: float | None,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "SELECT_LIMIT", limit)
    left, right = pair
    with process.FineSelector() as selector:
        selector.register(right, EVENT_READ, "data")
        left.send(b"x")
        assert [(key.data, events) for key, events in selector.select(timeout_s)] == [("data", EVENT_READ)]


def test_nothing_is_ready_after_the_timeout(pair: tuple[socket.socket, socket.socket]) -> None:
    with process.FineSelector() as selector:
        selector.register(pair[1], EVENT_READ)
        assert selector.select(0.001) == []
