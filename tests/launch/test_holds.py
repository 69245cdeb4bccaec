"""What a worker held that died comes to others at once, where its parent sees it die."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

import kon
from kon.core.backend import ChannelOptions
from kon.core.ledger import Record
from kon.core.plugins import open_backend
from kon.core.queue import Message
from kon.core.spec import Plugin
from kon.launch.holds import Notes, WorkerHolds, hand_on, noted, read

KILLS = "echo >>{}; sleep 0.2; [ $(wc -l <{}) -gt %d ] || kill -9 $PPID; sleep 0.1"
"""Kills its worker as often as that."""

TIMEOUT_S = 30.0
"""Of visibility and of a lease, by default: what comes sooner did not wait for it."""


def kills(item: Any, times: int, **options: Any) -> list[Any]:
    return kon.map(KILLS % times, [str(item)], workers=1, drain_s=0, **options)


@pytest.mark.parametrize("kept", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_task_that_has_killed_its_worker_runs_again_at_once(tmp_path: Path, kept: bool) -> None:
    began_s = time.monotonic()
    [value] = kills(tmp_path / "log", 1, out=tmp_path / "out" if kept else None)
    assert value["exit"] == 0
    assert len((tmp_path / "log").read_text()) == 2
    assert time.monotonic() - began_s < TIMEOUT_S - 5


def test_one_that_always_kills_is_dead_and_says_that_workers_died(tmp_path: Path) -> None:
    began_s = time.monotonic()
    [value] = kills(tmp_path / "log", 99, max_receives=2, return_exceptions=True)
    assert "no worker lived to answer it: perhaps the task itself kills its worker" in str(value)
    assert time.monotonic() - began_s < TIMEOUT_S - 5


def test_what_was_held_and_what_was_not(tmp_path: Path) -> None:
    """Only what the dead worker still holds: not what it gave back, or another has taken over."""

    async def play() -> tuple[list[bytes], list[Record | None]]:
        backend = open_backend(Plugin("sqlite"), tmp_path)
        await backend.create("r", ChannelOptions())
        channel = await backend.open("r")
        notes = Notes(tmp_path / "w1.holds", "w1.dead")
        worker = noted(channel, notes)
        await channel.tasks.send([Message(b"acked"), Message(b"held"), Message(b"of another")])
        [acked] = await worker.tasks.receive(1, 0)
        [_] = await worker.tasks.receive(1, 0)
        [_] = await channel.tasks.receive(1, 0)
        await worker.tasks.ack([acked])
        now_s = time.time()
        rows = [Record(key, f"t{key}", owner="w1.dead", expires_s=now_s + 100) for key in (1, 2, 3)]
        await worker.ledger.insert_new(rows)
        await channel.ledger.replace([Record(2, "other", owner="w2.alive", expires_s=now_s + 100)], ["t2"])
        held = read(tmp_path / "w1.holds")
        assert held is not None
        await hand_on(held, channel)
        found = [each.body for each in await channel.tasks.receive(9, 0)]
        left = await channel.ledger.read([1, 2, 3])
        await backend.close()
        return found, left

    found, rows = asyncio.run(play())
    assert found == [b"held"]
    assert [row.expires_s == 1.0 for row in rows if row is not None] == [True, False, True]


def test_the_file_begins_again_when_nothing_is_held(tmp_path: Path) -> None:
    async def play() -> None:
        backend = open_backend(Plugin("sqlite"), tmp_path)
        await backend.create("r", ChannelOptions())
        worker = noted(await backend.open("r"), Notes(tmp_path / "f", "w1.life"))
        for _ in range(3):
            await worker.tasks.send([Message(b"x")] * 50)
            await worker.tasks.ack(await worker.tasks.receive(50, 0))
        await backend.close()

    asyncio.run(play())
    assert read(tmp_path / "f") == WorkerHolds("w1.life", [], [])
    assert (tmp_path / "f").stat().st_size < 20


def test_half_a_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'"w1.life"\n["c",[1,2]]\n["m",[[1,')
    assert read(tmp_path / "f") == WorkerHolds("w1.life", [], [1, 2])
    assert read(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", None),
        (b'"w1.d', None),
        (b'"w1.dead"\n', WorkerHolds("w1.dead", [], [])),
        (b'"w1.dead"\n["m",[[1,1]]]\n["c",[7', WorkerHolds("w1.dead", [[1, 1]], [])),
        (b'"w1.dead"\n["c",[7["m",[[1,1]]]\n["c",[8]]\n', WorkerHolds("w1.dead", [], [8])),
        (b"7\n", None),
    ],
)
def test_a_file_that_is_written_in_part(content: bytes, found: WorkerHolds | None, tmp_path: Path) -> None:
    (tmp_path / "holds").write_bytes(content)
    assert read(tmp_path / "holds") == found
    assert read(tmp_path / "none") is None
