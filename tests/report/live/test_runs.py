"""The runs that the page lists: found as they begin, told apart, and read in turns."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kon.report.live import watching
from kon.report.live.follower import Follower
from kon.report.read.reader import Growing
from tests.report.live.given import Moving, run, served, stream


def test_runs_that_begin_later_are_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as live, stream(live.link + "events") as reading:
            assert (await reading.until("runs")).data == []
            records = Moving(tmp_path, 10)
            message = await reading.next()
            assert message is not None
            assert [line["id"] for line in message.data] == ["r"]
            async with stream(f"{live.link}events?run=r") as one:
                await one.until("run", tasks=10)
            shutil.rmtree(records.folder.path)
            async with stream(f"{live.link}events?run=r") as one:
                await one.until("run", state="gone")

    run(main())


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, two = Moving(tmp_path / "a", 3), Moving(tmp_path / "b", 5)

    async def main() -> None:
        follows = watching.Watching(lambda: [one.folder, two.folder], one.clock.now_s)
        assert await follows.knows("r")
        assert await follows.knows("b/r")
        assert not await follows.knows("a/r")
        follows.close()

    run(main())


def test_a_finished_run_is_listed_from_its_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Moving(tmp_path, 10)
    row = {"tasks": 10, "done": 9, "failed": 1, "dead": 0, "lost": 0, "tasks_per_s": 5.0, "began_s": 1.0}
    records.folder.write_summary(row)

    def refuse(self: Growing, most_bytes: int) -> bytes:
        raise AssertionError("read")

    monkeypatch.setattr(Growing, "read", refuse)

    async def main() -> None:
        async with served(tmp_path, records) as live, stream(live.link + "events") as reading:
            message = await reading.until("runs")
            assert message.data[0]["done"] == 9
            assert message.data[0]["state"] == "finished"

    run(main())


def test_runs_that_nobody_looks_at_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs are to be read, the one that somebody looks at does not wait for all of them."""
    looked: list[str] = []
    monkeypatch.setattr(watching, "OTHERS_S", -1.0)
    monkeypatch.setattr(Follower, "look", lambda self: looked.append(self.id))
    follows = watching.Watching(lambda: [Moving(tmp_path / name, 3).folder for name in "abc"], lambda: 0.0)
    for number in range(1, 7):
        assert len(follows._list()) == 3
        assert len(looked) == number, "one each time"
    assert sorted(looked[:3]) == sorted(looked[3:]) == ["b/r", "c/r", "r"]
    follows.close()
