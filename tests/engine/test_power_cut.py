"""Power cuts under `durability: full`: at every write, all that was not synced is gone, and no task is.

A stand-in for the machine's disk: of the client's journal only what `fdatasync` has returned for is left.
The database is what was committed, as SQLite's own FULL waits for the disk: the worst case, where acks are
on disk and what they were for is not.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from kon.backends.sqlite import SqliteBackend
from kon.core.backend import Channel
from kon.core.clock import Clock
from kon.core.journal import FileJournal, MemoryJournal, scan
from kon.core.queue import Delivery
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Answers, State
from kon.engine.client import Client, Listener
from kon.engine.records.events import Life, Recorder
from kon.engine.tally import Tally
from kon.engine.worker import Worker
from kon.launch.process import strategy_maker
from tests.engine.world import Scripted

pytestmark = pytest.mark.filterwarnings("ignore:.*half a line")

TASKS = 6


class Disk:
    """Cuts the power, in a copy, at every write: folders as the machine would come up with them."""

    def __init__(self, live: Path, cuts: Path) -> None:
        self._live = live
        self._cuts = cuts
        self.synced_bytes = 0
        self.folders: list[Path] = []

    def cut(self, torn: int = 0) -> None:
        """torn: bytes of what was not synced that are there all the same."""
        folder = self._cuts / f"{len(self.folders):03}"
        (folder / "r").mkdir(parents=True)
        with (
            closing(sqlite3.connect(self._live / "r" / "kon.db")) as db,
            closing(sqlite3.connect(folder / "r" / "kon.db")) as copy,
        ):
            db.backup(copy)
        kept = (self._live / "results.jsonl").read_bytes()[: self.synced_bytes + torn]
        (folder / "results.jsonl").write_bytes(kept)
        self.folders.append(folder)


class CutJournal(FileJournal):
    def __init__(self, path: Path, disk: Disk) -> None:
        super().__init__(path, durable=True)
        self._file, self._disk = path, disk

    def append(self, lines: Sequence[bytes]) -> None:
        super().append(lines)
        if lines:
            self._disk.cut()
            self._disk.cut(torn=7)

    def sync(self) -> None:
        size_bytes = self._file.stat().st_size
        super().sync()
        self._disk.synced_bytes = size_bytes


def spec(strategy: str, folder: Path) -> RunSpec:
    backend = Plugin("sqlite", {"path": str(folder), "durability": "full"})
    made = Plugin(strategy, {"lease_s": 3.0} if strategy == "lease" else {})  # who claimed is gone, all wait
    return RunSpec("r", "e", backend, made, Plugin("scripted"), tasks=TASKS, visibility_s=0.6, flush_s=0.0)


async def run(
    spec: RunSpec, folder: Path, journal: FileJournal, watch: Callable[[Channel], None] = lambda channel: None
) -> Tally:
    """A client and a worker of it, to the end."""
    backend = SqliteBackend(spec.backend.options)
    try:
        await backend.create("r", spec.channel_options)
        channel = await backend.open("r")
        watch(channel)
        clock = Clock.of_this_host()
        life = Life(f"w.{folder.name}", clock, Recorder(MemoryJournal(), clock), random.Random(0))
        worker = Worker(life, spec, channel, strategy_maker(spec), Scripted({}))
        client = Client(spec, channel, Listener(journal), clock, random.Random(0))
        for packet in scan(folder / "results.jsonl", msgspec.json.Decoder(Answers)):
            client.recall(packet.outcomes)
        working = asyncio.create_task(worker.run())
        tally = await client.run([{"result": index} for index in range(TASKS)])
        worker.stop()
        await working
        return tally
    finally:
        await backend.close()
        journal.close()


async def cut_everywhere(strategy: str, tmp_path: Path, durable: bool = True) -> list[Tally]:
    """How the run ends after each power cut that it may meet."""
    live = tmp_path / "live"
    disk = Disk(live, tmp_path / "cuts")
    journal = CutJournal(live / "results.jsonl", disk)
    journal.durable = durable

    def watch(channel: Channel) -> None:
        ack = channel.answers.ack

        async def cut_around(deliveries: Sequence[Delivery]) -> list[bool]:
            disk.cut()
            acked = await ack(deliveries)
            disk.cut()
            return acked

        channel.answers.ack = cut_around  # type: ignore[method-assign]

    first = await run(spec(strategy, live), live, journal, watch)
    assert first.counts[State.DONE] == TASKS
    assert len(disk.folders) >= 4
    return await asyncio.gather(
        *(run(spec(strategy, each), each, FileJournal(each / "results.jsonl")) for each in disk.folders)
    )


@pytest.mark.parametrize("strategy", ["lease", "none", "result_once"])
def test_no_task_is_lost_wherever_the_power_is_cut(strategy: str, tmp_path: Path) -> None:
    for tally in asyncio.run(cut_everywhere(strategy, tmp_path)):
        assert tally.counts[State.DONE] == TASKS


def test_with_conditional_put_no_more_is_lost_than_what_ran(tmp_path: Path) -> None:
    """What the worker had claimed is gone with it, and nothing that was answered is."""
    for tally in asyncio.run(cut_everywhere("conditional_put", tmp_path)):
        assert tally.counts[State.DONE] + tally.counts[State.LOST] == TASKS


def test_a_journal_that_is_not_synced_before_the_ack_loses_tasks(tmp_path: Path) -> None:
    tallies = asyncio.run(cut_everywhere("none", tmp_path, durable=False))
    assert any(tally.counts[State.LOST] for tally in tallies)


def test_what_the_journal_lost_is_read_back_from_the_ledger(tmp_path: Path) -> None:
    for tally in asyncio.run(cut_everywhere("lease", tmp_path, durable=False)):
        assert tally.counts[State.DONE] == TASKS


def test_those_who_wait_for_the_disk_at_the_same_time_share_one_wait(tmp_path: Path) -> None:
    class Counted(FileJournal):
        syncs = 0

        def sync(self) -> None:
            self.syncs += 1
            super().sync()

    async def main() -> int:
        journal = Counted(tmp_path / "j", durable=True)
        for number in range(20):
            journal.append([b"%d" % number])
        await asyncio.gather(*(journal.on_disk() for _ in range(20)))
        await journal.on_disk()
        journal.close()
        return journal.syncs

    assert asyncio.run(main()) == 1


def test_the_records_of_a_run_are_durable_where_its_acks_are() -> None:
    assert SqliteBackend({"path": "x", "durability": "full"}).durable
    assert not SqliteBackend({"path": "x"}).durable
