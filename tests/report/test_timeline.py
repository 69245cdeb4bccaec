"""Bars, strips and backlog, from made records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kon.core.task import Outcome, State
from kon.engine.records.events import Event
from kon.report import timeline as timelines
from kon.report.read.tally import tally_run
from kon.report.timeline import BINS, UNFINISHED, Bar, Timeline, backlog, timeline
from tests.report.test_story import Script


def drawn(script: Script, wall_s: float = 10.0) -> Timeline:
    folder = script.records.folder
    return timeline(folder, folder.read_run().spec, script.start_s, wall_s)


def attempt(script: Script, life: str, task: int, start_s: float, end_s: float, kept: bool = True) -> None:
    script.at(start_s, life, Event.START, [task])
    if kept:
        script.at(end_s + 0.5, life, Event.KEEP, [task])
        at = script.start_s
        script.answered(life, Outcome(task, 1, State.DONE, None, None, at + start_s, at + end_s))


def approximately(bars: list[Bar] | None) -> list[tuple[int, float, float, str, int]]:
    return [(b.slot, round(b.start_s, 3), round(b.end_s, 3), b.state, b.task) for b in bars or []]


def test_attempts_are_bars_in_slots_until_their_outcome(tmp_path: Path) -> None:
    script = Script(tmp_path, slots=2)
    attempt(script, "w1.a", 0, 1.0, 3.0)
    attempt(script, "w1.a", 1, 2.0, 6.0)
    attempt(script, "w1.a", 2, 3.5, 4.0)
    script.at(9.0, "w1.a", Event.DOWN)
    line = drawn(script)
    assert approximately(line.lives[0].bars) == [
        (0, 1.0, 3.0, "done", 0),
        (1, 2.0, 6.0, "done", 1),
        (0, 3.5, 4.0, "done", 2),
    ]
    assert line.has_bars
    assert line.lives[0].ended


def test_what_a_killed_worker_left_ends_with_it_or_with_the_next_in_its_slot(tmp_path: Path) -> None:
    script = Script(tmp_path, slots=1)
    attempt(script, "w1.a", 0, 1.0, 2.0, kept=False)
    attempt(script, "w1.a", 1, 2.5, 3.0, kept=False)
    script.at(4.0, "w1.a", Event.USAGE)
    [life] = drawn(script).lives
    assert approximately(life.bars) == [(0, 1.0, 2.5, UNFINISHED, 0), (0, 2.5, 4.0, UNFINISHED, 1)]
    assert not life.ended


def test_how_attempts_ended_otherwise(tmp_path: Path) -> None:
    script = Script(tmp_path, slots=1)
    for task, event in enumerate([Event.RETRY, Event.REFUSE]):
        script.at(2.0 * task, "w1.a", Event.START, [task])
        script.at(2.0 * task + 1, "w1.a", event, [task])
    assert [bar.state for bar in drawn(script).lives[0].bars or []] == ["retry", "refused"]


def test_tasks_started_together_are_one_bar(tmp_path: Path) -> None:
    script = Script(tmp_path, tasks=1_000)
    script.at(1.0, "w1.a", Event.START, range(1_000))
    assert len(drawn(script).lives[0].bars or []) == 1


def busy(script: Script, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[float]:
    monkeypatch.setattr(timelines, "MOST_BARS", 1)
    [life] = drawn(script, **changes).lives
    assert life.bars is None
    assert life.busy is not None
    return life.busy


def test_many_tasks_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(tmp_path, slots=2)
    attempt(script, "w1.a", 0, 0.0, 5.0)
    attempt(script, "w1.a", 1, 2.5, 5.0)
    found = busy(script, monkeypatch)
    assert len(found) == BINS
    assert found[:75] == pytest.approx([0.5] * 75)
    assert found[75:150] == pytest.approx([1.0] * 75)
    assert found[150:] == pytest.approx([0.0] * 150)


def test_tasks_run_in_one_go_count_their_time_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(tmp_path, slots=1)
    for seconds in (0.0, 1.0):
        script.at(seconds, "w1.a", Event.START, range(5))
    at = script.start_s
    together = [Outcome(task, 1, State.DONE, None, None, at, at + 0.01) for task in range(5)]
    script.answered("w1.a", *together)
    found = busy(script, monkeypatch)
    assert sum(found) * 10.0 / BINS == pytest.approx(0.01, rel=1e-3)


def test_names_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    script = Script(tmp_path)
    for name in ("w10.a", "w2.b", "w1-2.c", "w1-10.d"):
        script.at(1.0, name, Event.UP)
    assert [life.name for life in drawn(script).lives] == ["w1-2.c", "w1-10.d", "w2.b", "w10.a"]


def test_the_backlog_goes_from_all_tasks_to_none(tmp_path: Path) -> None:
    script = Script(tmp_path, tasks=100)
    script.at(2.0, "w1.a", Event.DELIVER, range(60))
    script.at(4.0, "w1.a", Event.KEEP, range(60))
    script.at(6.0, "w1.a", Event.DELIVER, range(60, 100))
    script.at(10.0, "client", Event.CLOSE)
    moments = tally_run(script.records.folder, 100, moments=True).moments
    assert moments is not None
    found = backlog(moments, 10.0)
    shown = dict(zip((round(at, 1) for at in found.at_s), zip(found.waiting, found.held), strict=True))
    assert [shown[at] for at in (0.0, 1.0, 3.0, 5.0, 7.0, 10.0)] == [
        (100, 0),
        (100, 0),
        (40, 60),
        (40, 0),
        (0, 40),
        (0, 40),
    ]


def test_what_simulated_workers_used_together_is_no_life(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.at(1.0, "workers", Event.UP, w="w1")
    script.at(2.0, "workers", Event.USAGE, requests=5)
    assert [life.name for life in drawn(script).lives] == ["w1"]
