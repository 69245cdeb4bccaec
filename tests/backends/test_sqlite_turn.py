"""The lock by which processes take turns."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Final

import pytest

from kon.backends.sqlite.turn import Pauses, Turn
from kon.core.errors import StoreError
from kon.core.queue import Depth, Message
from tests.backends.given import database, opened

SPAWN: Final = multiprocessing.get_context("spawn")  # a program with threads should not fork


def waiting(timeout_s: float) -> Pauses:
    return Pauses(random.Random(1), lambda: timeout_s)


def take_and_stay(file: Path, pipe: Pipe) -> None:
    pipe.send(Turn(file).take(waiting(10.0)))
    pipe.recv()


def with_a_holder(file: Path, then: Callable[[Pipe, Callable[[], None]], None]) -> None:
    """Another process has its turn, until it is told or killed."""
    ours, theirs = SPAWN.Pipe()
    holder = SPAWN.Process(target=take_and_stay, args=(file, theirs))
    holder.start()
    try:
        assert ours.recv() is True
        then(ours, holder.kill)
    finally:
        holder.kill()
        holder.join()


def test_one_process_has_it_at_a_time(tmp_path: Path) -> None:
    def then(holder: Pipe, kill: Callable[[], None]) -> None:
        turn = Turn(tmp_path / "turn")
        assert turn.take(waiting(0.05)) is False
        holder.send("end")
        assert turn.take(waiting(10.0)) is True
        turn.close()

    with_a_holder(tmp_path / "turn", then)


def test_a_killed_process_has_it_no_more(tmp_path: Path) -> None:
    def then(holder: Pipe, kill: Callable[[], None]) -> None:
        turn = Turn(tmp_path / "turn")
        kill()
        assert turn.take(waiting(10.0)) is True
        turn.close()

    with_a_holder(tmp_path / "turn", then)


def take_and_leave_a_child(file: Path, pipe: Pipe) -> None:
    taken = Turn(file).take(waiting(10.0))
    if os.fork() == 0:
        pipe.send(taken)
        pipe.recv()
    os._exit(0)


def test_a_child_made_by_fork_does_not_hold_on_to_it(tmp_path: Path) -> None:
    """As the processes of a pool outlive the worker that was killed above them."""
    ours, theirs = SPAWN.Pipe()
    parent = SPAWN.Process(target=take_and_leave_a_child, args=(tmp_path / "turn", theirs))
    parent.start()
    assert ours.recv() is True
    parent.join()
    turn = Turn(tmp_path / "turn")
    assert turn.take(waiting(10.0)) is True
    turn.close()
    ours.send("end")


def test_a_connection_gives_it_back_after_each_transaction(tmp_path: Path) -> None:
    async def use() -> None:
        async with opened(tmp_path) as channel:
            await channel.tasks.send([Message(b"a")])
            with_a_holder(database(tmp_path).with_name("kon.db-turn"), lambda holder, kill: None)

    asyncio.run(use())


def test_a_call_whose_turn_never_comes_is_refused(tmp_path: Path) -> None:
    async def use(busy_timeout_s: float, body: bytes) -> Depth:
        async with opened(tmp_path, busy_timeout_s=busy_timeout_s) as channel:
            await channel.tasks.send([Message(body)])
            return await channel.tasks.depth()

    def then(holder: Pipe, kill: Callable[[], None]) -> None:
        with pytest.raises(StoreError, match="locked"):
            asyncio.run(use(0.05, b"b"))

    asyncio.run(use(10.0, b"a"))
    with_a_holder(database(tmp_path).with_name("kon.db-turn"), then)
    assert asyncio.run(use(10.0, b"c")) == Depth(2, 0, 0)


def test_who_only_reads_waits_for_no_turn(tmp_path: Path) -> None:
    async def depth() -> Depth:
        async with opened(tmp_path, busy_timeout_s=0.05) as channel:
            return await channel.tasks.depth()

    async def send() -> None:
        async with opened(tmp_path) as channel:
            await channel.tasks.send([Message(b"a")])

    def then(holder: Pipe, kill: Callable[[], None]) -> None:
        assert asyncio.run(depth()) == Depth(1, 0, 0)

    asyncio.run(send())
    with_a_holder(database(tmp_path).with_name("kon.db-turn"), then)


def test_pauses_grow_and_differ_and_end() -> None:
    slept: list[float] = []
    clock = [0.0]
    pauses = Pauses(random.Random(1), lambda: 1.0, now_s=lambda: clock[0], sleep=slept.append)
    while pauses.pause():
        clock[0] += slept[-1]
    assert 1.0 <= clock[0] < 1.01
    assert max(slept[:3]) < 0.001 < max(slept) <= 0.0075
    assert len(set(slept)) == len(slept)
