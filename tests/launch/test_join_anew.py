"""A run that is made anew, with hosts that have worked on one of its name before."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.backends.emulator import Emulator
from kon.engine.records.records import RunFolder
from tests.launch.test_join import Fleet


@pytest.mark.long
def test_a_run_anew_has_nothing_of_the_one_before_on_the_same_host(
    tmp_path: Path, on_ministack: Emulator
) -> None:
    fleet = Fleet(tmp_path, "apart-anew")
    fleet.write_plan("--set", "workers=1")
    there = RunFolder(tmp_path / "host1/apart-anew-lease-w1-r1")
    lives = []
    for _ in range(2):
        host = fleet.host(1)
        client = fleet.client("--set", "workers=1")
        assert client.wait(timeout=100) == 0
        host.communicate(timeout=30)
        client.communicate()
        lives.append([file.name for file in there.events.iterdir()])
        begun_s = RunFolder(tmp_path / "out/apart-anew-lease-w1-r1").read_run().begun_s
        assert there.read_run().begun_s == begun_s, "as the client tells the run from others, not the host"
        (tmp_path / "out").rename(tmp_path / f"out-{begun_s}")
    assert len(lives[0]) == len(lives[1]) == 1
    assert lives[0] != lives[1]
    [aside] = (tmp_path / "host1/earlier").iterdir()
    assert [file.name for file in (aside / "events").iterdir()] == lives[0], "moved, and not lost"
