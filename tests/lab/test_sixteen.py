"""What `make lab-16` makes of the records that it finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kon.engine.records.records import RunFolder
from tests.lab import sixteen
from tests.lab.sixteen import BEGIN, END, Timed, first_start_on_the_last_host_s


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


def test_the_page_has_what_was_measured_between_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    monkeypatch.setattr(sixteen, "PAGE", page)
    fleet = Timed(tmp_path)
    plays = ["provision", "configure", "provision, baked", "configure, baked", "bake", "teardown, baked"]
    fleet.took_s = {**dict.fromkeys(plays, 12.0), "loop": 33.0}
    fleet.tasks_s["configure", "machine : Install kon"] = 4.0
    fleet.task_began_s["fan-out", "unit : Start the worker"] = 100.0
    row = {"experiment": "ms-10", "strategy": "lease", "workers": 2, "tasks": 200, "wall_s": 2.5}
    summary = {**row, "efficiency": 0.4, "tasks_per_s": 80.0}
    sixteen.write_page(fleet, 108.5, [summary], 0.1)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "stale" not in text
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["`run`: from the first host that is told to the first task on the last", "8.5", "10"] in cells
    assert ["both", "24.0", "240"] in cells
    assert ["lease", "2", "200", "2.5", "40.0", "80.0"] in cells
    assert "### 100 tasks of 10 ms for each host" in text
