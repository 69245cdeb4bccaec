"""A run that is over is opened again in part, and its opener may be killed between any two of its steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kon.core.journal import FileJournal
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records import records
from kon.engine.records.records import RunFolder
from kon.launch.requeue import requeue
from kon.report.read.reader import Tail

SPEC = RunSpec("r", "r", Plugin("sqlite"), Plugin("lease"), Plugin("sleep"), tasks=4, workers=1, attempts=3)

ENDED = [
    Outcome(0, 1, State.DONE),
    Outcome(1, 3, State.FAILED, error="no"),
    Outcome(2, 2, State.DEAD, error="why"),
    Outcome(3, 1, State.DEAD, error="why"),
]


class Killed(BaseException):
    """The process is gone."""


def _finished(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.write_run(SPEC, {})
    with closing(FileJournal(folder.results)) as journal:
        journal.append([encode(Answers("w1", ENDED))])
    folder.write_summary({"done": 1, "tasks": 4})
    return folder


def _run_again(folder: RunFolder) -> set[int]:
    """Which tasks the next client would run."""
    if folder.finished:
        return set()
    tail = Tail(folder, SPEC.tasks)
    while tail.news():
        pass
    return set(tail.tally.unaccounted())


def _steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Kills before the step of that number, from 0: each that a kill may come between changes a file."""
    steps: Iterator[int] = itertools.count()
    last = -1

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            if next(steps) == last:
                raise Killed
            return change(*arguments, **named)

        return step

    for where, name in ((FileJournal, "append"), (records, "replace"), (Path, "unlink")):
        monkeypatch.setattr(where, name, counted(getattr(where, name)))

    def kill_before(step: int) -> None:
        nonlocal steps, last
        steps, last = itertools.count(), step

    return kill_before


@pytest.mark.parametrize("step", range(4))
def test_what_is_to_stay_failed_stays_so_whenever_its_opener_is_killed(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _finished(tmp_path / "r")
    kill_before = _steps(monkeypatch)
    kill_before(step)
    try:
        requeue(folder, {2})
    except Killed:
        pass
    else:
        assert step == 3, "there are three steps: outcomes, run.json, summary.json"
    states = {outcome.index: outcome.state for _, outcome in folder.outcomes()}
    assert states == {each.index: each.state for each in ENDED}
    assert _run_again(folder) == (set() if step < 3 else {2}), "as it was, or as it is to be"
    kill_before(-1)
    if step < 3:  # the same command finishes it
        requeue(folder, {2})
    assert _run_again(folder) == {2}


def test_what_stays_is_on_disk_before_the_run_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may take what nobody waited for, and leave the later step."""
    folder = _finished(tmp_path / "r")
    steps: list[str] = []
    sync, replace = FileJournal.sync, records.replace

    def noted_sync(journal: FileJournal) -> None:
        steps.append("results")
        sync(journal)

    def noted_replace(path: Path, body: bytes) -> None:
        steps.append(path.name)
        replace(path, body)

    monkeypatch.setattr(FileJournal, "sync", noted_sync)
    monkeypatch.setattr(records, "replace", noted_replace)
    requeue(folder, {2})
    assert steps == ["results", "run.json"]
