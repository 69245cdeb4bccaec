"""What `make lab-16` makes of the records that it finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kon.records import RunFolder
from tests.lab.sixteen import first_start_on_the_last_host_s


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A client, and two hosts: one with two worker processes, one whose worker has had two lives."""
    events = RunFolder(tmp_path / "fan-lease-w2-r1").events
    events.mkdir(parents=True)
    (events.parent / "run.json").touch()
    (tmp_path / "fan.yml").touch()
    lives = {
        "client": [("open", 90.0), ("start", 99.0)],
        "w1-1.aaaaaa": [("up", 1.0), ("start", 10.0), ("start", 11.0)],
        "w1-2.bbbbbb": [("start", 12.0)],
        "w2.cccccc": [("start", 11.5), ("start", 20.0)],
        "w2.dddddd": [("start", 30.0)],
    }
    for life, lines in lives.items():
        text = "".join(json.dumps({"e": event, "t": at_s, "i": [0]}) + "\n" for event, at_s in lines)
        (events / f"{life}.jsonl").write_text(text)
    return tmp_path


def test_hosts_are_counted_and_not_their_workers(out: Path) -> None:
    assert first_start_on_the_last_host_s(out, 2) == 11.5


def test_a_host_that_has_begun_with_nothing_is_told(out: Path) -> None:
    with pytest.raises(RuntimeError, match="2 hosts began with a task, and there are 3"):
        first_start_on_the_last_host_s(out, 3)
