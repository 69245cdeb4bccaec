"""Processes that end by SIGKILL in the midst of whatever they do: the file stays whole and keeps its word."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import pytest

from kon.backends.sqlite import SqliteBackend
from kon.core.backend import Channel, ChannelOptions
from kon.core.ledger import Record
from kon.core.queue import Message
from tests.backends.given import RUN, database
from tests.backends.span_rules import check_file

KILLS: Final = 20
LIVES: Final = 3  # processes at any time
KEYS: Final = 400  # few enough that claims meet
OPTIONS: Final = ChannelOptions(visibility_s=0.05, max_receives=1_000)


class Diary:
    """What one process knows to be done, in a file that outlives it: a write is with the system at once."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, what: str, items: list[str]) -> None:
        os.write(self._descriptor, "".join(f"{what} {item}\n" for item in items).encode())


async def live(channel: Channel, name: str, diary: Diary, rng: random.Random) -> None:
    """Send, receive, claim, extend and ack, for ever."""
    number = 0
    while True:
        bodies = [f"{name}-{number + offset}" for offset in range(rng.randint(1, 20))]
        number += len(bodies)
        await channel.tasks.send([Message(body.encode()) for body in bodies])
        diary.note("sent", bodies)
        deliveries = await channel.tasks.receive(rng.randint(1, 30), 0.0)
        keys = rng.sample(range(KEYS), 10)
        found = await channel.ledger.insert_new([Record(key, name) for key in keys])
        diary.note("claimed", [str(key) for key, record in zip(keys, found, strict=True) if record is None])
        some = [delivery for delivery in deliveries if rng.random() < 0.5]
        await channel.tasks.extend(some, 0.02)
        diary.note("acking", [delivery.body.decode() for delivery in some])
        await channel.tasks.ack(some)
        await channel.answers.send([Message(b"answer")])


def process(folder: Path, name: str) -> None:
    async def open_and_live() -> None:
        channel = await SqliteBackend({"path": str(folder)}).open(RUN)
        await live(channel, name, Diary(folder / f"{name}.diary"), random.Random(name))

    asyncio.run(open_and_live())


@pytest.mark.long
def test_sigkill_at_any_moment_loses_nothing_and_grants_nothing_twice(tmp_path: Path) -> None:
    asyncio.run(SqliteBackend({"path": str(tmp_path)}).create(RUN, OPTIONS))
    fork = multiprocessing.get_context("fork")
    rng = random.Random(1)
    living: list[BaseProcess] = []
    names = iter(range(1_000))

    def start() -> None:
        child = fork.Process(target=process, args=(tmp_path, f"p{next(names)}"))
        child.start()
        living.append(child)

    for _ in range(LIVES):
        start()
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.02, 0.12))
        victim = living.pop(0)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
        start()
    for child in living:
        child.kill()
        child.join()

    check_file(database(tmp_path))
    notes = [
        line.split(" ", 1) for diary in tmp_path.glob("*.diary") for line in diary.read_text().splitlines()
    ]
    sent = {body for what, body in notes if what == "sent"}
    acking = {body for what, body in notes if what == "acking"}
    claimed = Counter(key for what, key in notes if what == "claimed")
    db = sqlite3.connect(database(tmp_path))
    stored = {body.decode() for (body,) in db.execute("SELECT body FROM tasks")}
    (rows,) = db.execute("SELECT count(*) FROM ledger").fetchone()
    db.close()
    assert len(sent) > 200, "the processes did not live long enough to show anything"
    assert sent <= stored | acking, "a message was confirmed and then lost"
    assert max(claimed.values()) == 1, "a claim was granted twice"
    assert len(claimed) <= rows
