"""Records, read as they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.core.errors import StoreError
from kon.core.spec import Plugin, RunSpec
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.records import RunFolder
from kon.report.read.reader import Tail

SPEC = RunSpec("r", "r", Plugin("sqlite"), Plugin("lease"), Plugin("sleep"), tasks=5)


def packet(*outcomes: Outcome) -> bytes:
    return encode(Answers("w1", list(outcomes))) + b"\n"


def done(index: int, attempt: int = 1) -> Outcome:
    return Outcome(index, attempt, State.DONE)


def failed(index: int, attempt: int = 1) -> Outcome:
    return Outcome(index, attempt, State.FAILED, error="no")


class Recorded:
    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(path)
        self.tail = Tail(self.folder, 5)

    def add(self, text: bytes) -> None:
        with self.folder.results.open("ab") as file:
            file.write(text)

    def news(self) -> list[int]:
        return [outcome.index for outcome in self.tail.news()]


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


def test_nothing_is_recorded_yet(recorded: Recorded) -> None:
    assert recorded.news() == []


def test_each_outcome_once(recorded: Recorded) -> None:
    recorded.add(packet(done(0), failed(1)))
    assert recorded.news() == [0, 1]
    assert recorded.news() == []
    recorded.add(packet(done(1), done(2)))
    assert recorded.news() == [2]
    assert recorded.tail.tally.left == 2


def test_half_a_line_waits_for_its_end(recorded: Recorded) -> None:
    line = packet(done(3))
    recorded.add(line[:10])
    assert recorded.news() == []
    recorded.add(line[10:])
    assert recorded.news() == [3]


def test_a_line_longer_than_what_is_read_at_once(recorded: Recorded) -> None:
    recorded.add(packet(Outcome(4, 1, State.DONE, "x" * 3_000_000)))
    assert recorded.news() == [4]


def test_a_line_cut_short_by_a_crash(recorded: Recorded) -> None:
    recorded.add(packet(done(0))[:10] + b"\n" + packet(done(1)))
    with pytest.warns(UserWarning, match=r"results\.jsonl:1: half a line, left by a killed process"):
        assert recorded.news() == [1]
    recorded.add(packet(done(0))[:10] + b"\n" + packet(done(2)))
    with pytest.warns(UserWarning, match=r"results\.jsonl:3: half a line"):
        assert recorded.news() == [2]


def test_results_of_another_run_are_refused(recorded: Recorded) -> None:
    recorded.add(packet(done(5)))
    with pytest.raises(StoreError, match=r"results\.jsonl: names a task beyond the 5 of its run"):
        recorded.news()


def test_better_news_of_a_dead_task(recorded: Recorded) -> None:
    recorded.add(packet(Outcome(2, 1, State.DEAD)))
    assert recorded.news() == [2]
    recorded.add(packet(done(2)))
    assert recorded.news() == [2]
    assert recorded.tail.tally.counts[State.DONE] == 1


def test_what_is_run_again_is_left_out(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.folder.write_run(SPEC, {}, attempts_before=3)
    again = Tail(recorded.folder, 5)
    recorded.add(packet(done(0), failed(1, attempt=3)) + packet(failed(1, attempt=4)))
    assert [(outcome.index, outcome.attempt) for outcome in again.news()] == [(0, 1), (1, 4)]
