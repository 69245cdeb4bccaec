"""Progress: what is said of a run, and where."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from kon.cli import progress as module
from kon.cli.progress import (
    Progress,
    ProgressLines,
    ProgressPicture,
    Redrawn,
    Silence,
    Speed,
    duration,
    ending,
    progress,
)
from kon.core.task import Outcome, State
from kon.engine.records.events import Event
from kon.engine.tally import Tally
from tests.report.made import Records


class HandTime:
    """time.monotonic, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1_000.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now_s))


def tally(tasks: int, **states: int) -> Tally:
    made, index = Tally(tasks), 0
    for state, count in states.items():
        made.count([Outcome(index + n, 1, State(state)) for n in range(count)])
        index += count
    return made


def row(**changes: Any) -> dict[str, Any]:
    return {
        "run": "r",
        "tasks": 100,
        "done": 100,
        "failed": 0,
        "dead": 0,
        "lost": 0,
        "wall_s": 2.0,
        "tasks_per_s": 50.0,
        "efficiency": 0.973,
        "duplicates_avoided": 0,
        **changes,
    }


def follow(shown: Progress, records: Records, time: HandTime) -> None:
    """A run of 1,000 tasks of which 100 were recorded before, 50 are done a second, and some come twice."""
    shown.begin(records.folder, 2, 3)
    shown.update(tally(1_000, done=100))
    records.life("w1.aaaaaa").tasks(Event.SKIP, [1, 5, 9])
    for seconds in (1, 2, 3, 4, 5, 6):
        time.now_s += 1.0
        shown.update(tally(1_000, done=90 + 50 * seconds, failed=10))


def test_off_a_terminal_there_is_a_line_every_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(ProgressLines(), Records(tmp_path, 1_000), HandTime(monkeypatch))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "[2/3] r: 350/1,000: 340 done, 10 failed, 0 dead, 50.0 tasks/s, 3 duplicates avoided, 13 s left\n"
    )


def test_on_a_terminal_it_is_drawn_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time = HandTime(monkeypatch)
    shown = ProgressPicture()
    screen = io.StringIO()
    shown._drawn = Redrawn(Console(file=screen, force_terminal=True, width=100, no_color=True))
    with shown:
        follow(shown, Records(tmp_path, 1_000), time)
        drawn = screen.getvalue()
        assert "[2/3] r" in drawn
        assert "40%" in drawn
        assert "12 s left" in drawn
        assert "390 done  10 failed  0 dead  50.0 tasks/s  3 duplicates avoided" in drawn
        shown.end(row(), fresh=True)
    assert "r: 100 of 100 done in 2.0 s" in screen.getvalue()
    assert screen.getvalue().endswith("97.3%\n")


def test_quiet_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Silence() as shown:
        follow(shown, Records(tmp_path, 1_000), HandTime(monkeypatch))
        shown.note("trouble")
        shown.end(row(), fresh=True)
        shown.end(row(), fresh=False)
    assert capsys.readouterr() == ("", "")


def test_runs_that_were_recorded_are_counted_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressLines() as shown:
        shown.end(row(), fresh=False)
        shown.end(row(), fresh=False)
        shown.begin(Records(tmp_path, 1).folder, 3, 4)
        shown.end(row(run="c"), fresh=True)
        shown.end(row(), fresh=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "2 runs are recorded already, and not repeated"
    assert lines[1].startswith("c: ")
    assert lines[2] == "1 run is recorded already, and not repeated"


@pytest.mark.parametrize(
    ("quiet", "terminal", "term", "kind"),
    [
        (True, True, "xterm", Silence),
        (False, True, "xterm", ProgressPicture),
        (False, True, "dumb", ProgressLines),
        (False, True, "", ProgressLines),
        (False, False, "xterm", ProgressLines),
    ],
)
def test_the_one_that_fits(
    quiet: bool, terminal: bool, term: str, kind: type[Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("TERM", term)
    assert type(progress(quiet)) is kind


def test_pace_counts_from_when_this_process_began_to_look() -> None:
    speed = Speed(10.0, accounted=100)
    assert speed.tasks_per_s(tally(1_000, done=100), 15.0) is None
    assert speed.left_s(tally(1_000, done=100), 15.0) is None
    assert speed.tasks_per_s(tally(1_000, done=200), 15.0) == 20.0
    assert speed.left_s(tally(1_000, done=200), 15.0) == 40.0


def test_the_end_of_a_run_in_one_line() -> None:
    assert ending(row()) == "r: 100 of 100 done in 2.0 s, 50.0 tasks/s, efficiency 97.3%"
    bad = row(done=90, failed=6, lost=4, efficiency=None, tasks_per_s=45_678.9, duplicates_avoided=1_234)
    assert ending(bad) == (
        "r: 90 of 100 done, 6 failed, 4 lost in 2.0 s, 45,679 tasks/s, 1,234 duplicates avoided "
        "(kon results r --failed)"
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4234, "0.42 s"),
        (8.26, "8.3 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (11_220, "3 h 07 min"),
        (400_000, "111 h 06 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
