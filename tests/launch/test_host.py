"""Hosts and the client that they join: real worker processes, in runs of a few tasks."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import ClientGone, ConfigurationError, WorkersFailed
from kon.core.lock import FolderLock
from kon.core.plugins import open_backend
from kon.engine.control import Control
from kon.engine.records.records import CLIENT_BEGAN, RunFolder
from kon.experiment import Cell, loads
from kon.launch import host as host_module
from kon.launch import joined
from kon.launch.campaign import Campaign
from kon.launch.host import EARLIER, Awaited, Host, put_aside
from kon.launch.joined import Hosts
from kon.launch.liveness import runs_here

QUICK = "name: q\nworkload: {kind: sleep, count: 20, seconds: 0.005}\nworkers: [1, 2]\n"
SLOW = "name: s\nworkload: {kind: sleep, count: 200, seconds: 0.05}\nslots: 4\nvisibility_s: 2\n"


class Place:
    """A folder of runs, its client and its hosts."""

    def __init__(self, root: Path, text: str) -> None:
        self.root = root
        self.text = text
        self.notes: list[str] = []

    def campaign(self, *settings: str, **options: Any) -> Campaign:
        campaign = Campaign(loads(self.text, "x.yml", self.root, settings), self.root, **options)
        campaign.check()
        return campaign

    def host(self, number: int, patience_s: float = 60.0, again: bool = False) -> Host:
        def note(text: str) -> None:
            self.notes.append(f"{number}: {text}")

        runs = [Awaited(cell.spec.run, cell.spec.backend, again) for cell in self.campaign().cells]
        return Host(runs, self.root, number, patience_s=patience_s, on_note=note)

    async def all(self, *hosts: Host) -> list[dict[str, Any]]:
        """The rows of a client that these hosts work for."""
        async with asyncio.TaskGroup() as group:
            for host in hosts:
                group.create_task(host.run())
            return await self.campaign(hosts=Hosts()).run()

    def cell(self, run: str) -> Cell:
        return next(cell for cell in self.campaign().cells if cell.spec.run == run)

    def folder(self, run: str) -> RunFolder:
        return RunFolder(self.root / run)

    def lives(self, run: str) -> list[str]:
        """The workers that the run has had, each as often as it was started."""
        lines = self.folder(run).event_lines()
        return sorted(life.partition(".")[0] for life, line in lines if line["e"] == "up")

    async def living(self, run: str) -> int:
        """How many worker processes of an open run there are."""
        backend = open_backend(self.cell(run).spec.backend, self.root)
        try:
            channel = await backend.open(run)
            return sum(map(runs_here, await Control(channel.control).workers()))
        finally:
            await backend.close()

    async def answered(self, run: str) -> None:
        """Return once the run is well under way."""
        results = self.folder(run).results
        await until(lambda: results.exists() and results.stat().st_size > 0)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - other processes set no event
        await asyncio.sleep(0.01)


def test_hosts_work_on_the_runs_that_have_so_many_workers(tmp_path: Path) -> None:
    place = Place(tmp_path, QUICK)
    rows = asyncio.run(place.all(*map(place.host, (1, 2, 3))))
    assert [(row["run"], row["done"]) for row in rows] == [("q-lease-w1-r1", 20), ("q-lease-w2-r1", 20)]
    assert place.lives("q-lease-w1-r1") == ["w1"]
    assert place.lives("q-lease-w2-r1") == ["w1", "w2"]
    assert sorted(place.notes) == [
        "1: every run is over",
        "1: q-lease-w1-r1: at work with w1",
        "1: q-lease-w1-r1: over",
        "1: q-lease-w2-r1: at work with w1",
        "1: q-lease-w2-r1: over",
        "2: every run is over",
        "2: q-lease-w2-r1: at work with w2",
        "2: q-lease-w2-r1: over",
        "3: every run is over",
    ]
    assert all(row["worker_cpu_us_per_task"] > 0 for row in rows), "their last lines are in the table"


def test_what_is_recorded_needs_no_client_and_starts_no_worker(tmp_path: Path) -> None:
    place = Place(tmp_path, QUICK)
    asyncio.run(place.all(place.host(1), place.host(2)))
    place.notes.clear()
    asyncio.run(place.host(1, patience_s=0.0).run())
    assert place.notes == [
        "1: q-lease-w1-r1: recorded already",
        "1: q-lease-w2-r1: recorded already",
        "1: every run is over",
    ]


def test_each_worker_has_its_processes_and_one_of_them_is_killed_once(tmp_path: Path) -> None:
    text = """
        name: k
        workload: {kind: sleep, count: 60, seconds: 0.05}
        strategies: [{name: lease, lease_s: 0.5}]
        workers: 2
        processes: 2
        visibility_s: 0.5
        faults: {kill_workers: 1}
    """
    place = Place(tmp_path, textwrap.dedent(text))
    [row] = asyncio.run(place.all(place.host(1), place.host(2)))
    assert row["done"] == 60
    lives = place.lives("k-lease-w2-r1")
    assert len(lives) == 5, "four, and the one that took the killed one's place"
    assert set(lives) == {"w1-1", "w1-2", "w2-1", "w2-2"}


def test_a_worker_that_was_killed_is_not_killed_again_by_the_next_host(tmp_path: Path) -> None:
    place = Place(
        tmp_path, f"{SLOW}strategies: [{{name: lease, lease_s: 0.5}}]\nfaults: {{kill_workers: 1}}\n"
    )
    run = "s-lease-w1-r1"

    async def main() -> dict[str, Any]:
        client = asyncio.create_task(place.campaign(hosts=Hosts()).run())
        first = place.host(1)
        working = asyncio.create_task(first.run())
        await until(lambda: len(place.lives(run)) == 2)
        first.stop()
        await working
        await place.host(1).run()
        [row] = await client
        return row

    assert asyncio.run(main())["done"] == 200
    assert len(place.lives(run)) == 3
    ends = [line for _, line in place.folder(run).event_lines() if line["e"] == "down"]
    assert len(ends) == 2, "all but one life have come to their end"


def test_a_host_without_a_client_gives_up(tmp_path: Path) -> None:
    place = Place(tmp_path, QUICK)
    with pytest.raises(ClientGone, match=r"no client came within 0\.2 s: start one with `kon run --join`"):
        asyncio.run(place.host(1, patience_s=0.2).run())


def test_a_host_whose_client_has_gone_drains_its_workers_and_ends(tmp_path: Path) -> None:
    place = Place(tmp_path, SLOW)
    run = "s-lease-w1-r1"

    async def main() -> None:
        host = asyncio.create_task(place.host(1).run())
        client = asyncio.create_task(place.campaign(hosts=Hosts()).run())
        await place.answered(run)
        client.cancel()
        with pytest.raises(ClientGone, match="the client has gone before every run was over"):
            await host
        assert await place.living(run) == 0

    asyncio.run(main())
    lives = len(place.lives(run))
    [row] = asyncio.run(place.all(place.host(1)))
    assert row["done"] == 200
    assert row["duplicate_starts"] == 0, "what had not started was given back"
    assert len(place.lives(run)) == lives + 1


def test_a_host_that_is_told_to_stop_drains_its_workers(tmp_path: Path) -> None:
    place = Place(tmp_path, SLOW)
    run = "s-lease-w1-r1"

    async def main() -> dict[str, Any]:
        first = place.host(1)
        working = asyncio.create_task(first.run())
        client = asyncio.create_task(place.campaign(hosts=Hosts()).run())
        await place.answered(run)
        first.stop()
        await working
        assert await place.living(run) == 0
        second = asyncio.create_task(place.host(1).run())
        [row] = await client
        await second
        return row

    row = asyncio.run(main())
    assert place.notes[:2] == [f"1: {run}: at work with w1", "1: told to stop: its workers have ended"]
    assert (row["done"], row["duplicate_starts"]) == (200, 0)


def test_a_second_host_of_one_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "HANDOVER_S", 0.0)
    place = Place(tmp_path, QUICK)

    async def main() -> None:
        first = place.host(1)
        waiting = asyncio.create_task(first.run())
        await until(FolderLock(tmp_path, "host-1").is_held)
        with pytest.raises(ConfigurationError, match="has a host-1 at work already"):
            await place.host(1).run()
        first.stop()
        await waiting

    asyncio.run(main())


def test_a_host_goes_by_what_the_client_says_of_the_run(tmp_path: Path) -> None:
    place = Place(tmp_path, QUICK)

    async def main() -> list[dict[str, Any]]:
        async with asyncio.TaskGroup() as group:
            for number in (1, 2):
                group.create_task(place.host(number).run())
            return await place.campaign("attempts=7", hosts=Hosts()).run()

    assert [row["done"] for row in asyncio.run(main())] == [20, 20]
    assert place.folder("q-lease-w1-r1").read_run().spec.attempts == 7, "and leaves its records alone"


def test_a_host_that_is_not_in_the_clients_folder_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path / "runs", f"{QUICK}backend: {{name: sqlite, path: {tmp_path}/db}}\n")

    async def main() -> None:
        client = asyncio.create_task(place.campaign(hosts=Hosts()).run())
        run = place.cell("q-lease-w1-r1").spec
        host = Host([Awaited(run.run, run.backend)], tmp_path / "elsewhere", 1)
        with pytest.raises(
            ConfigurationError, match=r"works in the client's folder\. Name that one with --out"
        ):
            await asyncio.wait_for(host.run(), 60.0)
        client.cancel()

    asyncio.run(main())


def test_a_client_that_no_host_joins_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "FIRST_S", 0.2)
    with pytest.raises(WorkersFailed, match=r"^no host has been at work for 0 s"):
        asyncio.run(Place(tmp_path, QUICK).campaign(hosts=Hosts()).run())


@pytest.mark.long
def test_a_client_whose_hosts_have_gone_gives_up_and_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, SLOW)

    async def main() -> None:
        monkeypatch.setattr(joined, "RETURN_S", 0.6)
        host = place.host(1)
        working = asyncio.create_task(host.run())
        client = asyncio.create_task(place.campaign(hosts=Hosts()).run())
        await place.answered("s-lease-w1-r1")
        host.stop()
        await working
        with pytest.raises(WorkersFailed):
            await client

    asyncio.run(main())
    [row] = asyncio.run(place.all(place.host(1)))
    assert (row["done"], row["duplicate_starts"]) == (200, 0)


@pytest.mark.long
def test_a_host_that_was_there_before_its_client_goes_on_to_the_next_run(tmp_path: Path) -> None:
    """One that an earlier client began is there to be worked on before the client comes back."""
    place = Place(tmp_path, SLOW.replace("count: 200", "count: 60") + "repeats: 4\n")

    async def main() -> list[dict[str, Any]]:
        first = asyncio.create_task(place.host(1).run())
        client = asyncio.create_task(place.campaign(hosts=Hosts()).run())
        await place.answered("s-lease-w1-r1")
        client.cancel()
        await asyncio.wait([client])
        with pytest.raises(ClientGone):
            await first
        place.notes.clear()
        host = asyncio.create_task(place.host(1).run())
        await until(lambda: place.notes != [])
        rows = await place.campaign(hosts=Hosts()).run()
        await host
        return rows

    rows = asyncio.run(main())
    assert [row["done"] for row in rows] == [60] * 4
    assert place.notes[-1] == "1: every run is over"


def test_hosts_run_again_what_failed(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    text = f"""
        name: f
        workload: {{kind: shell, command: "test {{}} = a || test -e {flag}", items: [a, b]}}
        attempts: 1
    """
    place = Place(tmp_path / "runs", textwrap.dedent(text))
    [row] = asyncio.run(place.all(place.host(1)))
    assert (row["done"], row["failed"]) == (1, 1)
    flag.touch()

    async def again() -> list[dict[str, Any]]:
        host = place.host(1, again=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(host.run())
            return await place.campaign(hosts=Hosts(), rerun_failed=True).run()

    [row] = asyncio.run(again())
    assert (row["done"], row["failed"]) == (2, 0)


def test_what_is_left_of_an_earlier_run_is_put_aside_as_often_as_it_comes(tmp_path: Path) -> None:
    """Two clients may take turns, or not say when they began: then what is aside has that name already."""
    [cell] = loads(SLOW, "x.yml", tmp_path)[0].cells()
    folder = RunFolder(tmp_path / "s")
    for number in range(3):
        folder.write_run(cell.spec, {CLIENT_BEGAN: None})
        (folder.path / "which").write_text(str(number))
        put_aside(folder, 7.0)
        assert not folder.path.exists()
    aside = {each.name: (each / "which").read_text() for each in (tmp_path / EARLIER).iterdir()}
    assert aside == {"s-None": "0", "s-None-2": "1", "s-None-3": "2"}
