"""The outcome that stands for each task, in order, whatever the order in which they were answered."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from kon.core.errors import StoreError
from kon.core.task import Answers, Outcome, State, encode
from kon.report.read import reader as module
from kon.report.read.reader import standing
from tests.report.made import Records


def answer(records: Records, worker: str, *outcomes: Outcome) -> None:
    records.append_result(encode(Answers(worker, list(outcomes))))


def test_in_order_of_tasks_and_the_last_answer_stands(tmp_path: Path) -> None:
    records = Records(tmp_path, 6)
    answer(records, "w2", Outcome(4, 1, State.DONE, "e"), Outcome(1, 1, State.FAILED, None, "no"))
    answer(records, "w1", Outcome(0, 1, State.DONE, "a"), Outcome(3, 1, State.DONE, "d"))
    answer(records, "dead-letter queue", Outcome(5, 1, State.DEAD, None, "too often"))
    answer(records, "w1", Outcome(1, 4, State.DONE, "b"), Outcome(5, 1, State.DONE, "f"))
    found = list(standing(records.folder, 6))
    assert [(each.worker, each.outcome.index, each.outcome.result) for each in found] == [
        ("w1", 0, "a"),
        ("w1", 1, "b"),
        ("w1", 3, "d"),
        ("w2", 4, "e"),
        ("w1", 5, "f"),
    ]
    assert found[1].outcome.attempt == 4


def test_it_is_the_same_as_reading_all_at_once(tmp_path: Path) -> None:
    records = Records(tmp_path, 50)
    for first in (30, 10, 40, 0, 20):
        answer(records, f"w{first}", *(Outcome(first + n, 1, State.DONE, n) for n in (7, 2, 9, 0)))
    assert [tuple(each) for each in standing(records.folder, 50)] == list(records.folder.outcomes())


def test_half_a_line_is_left_out(tmp_path: Path) -> None:
    records = Records(tmp_path, 2)
    answer(records, "w1", Outcome(1, 1, State.DONE, "b"))
    with records.folder.results.open("ab") as file:
        file.write(b'["w1",[[0,1,"do')
    with pytest.warns(UserWarning, match=r"results\.jsonl:2: half a line"):
        assert [each.outcome.index for each in standing(records.folder, 2)] == [1]


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    assert list(standing(Records(tmp_path, 2).folder, 2)) == []


def test_results_of_another_run_are_refused(tmp_path: Path) -> None:
    records = Records(tmp_path, 2)
    answer(records, "w1", Outcome(2, 1, State.DONE))
    with pytest.raises(StoreError, match="names a task beyond the 2"):
        list(standing(records.folder, 2))


def test_memory_does_not_grow_with_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 100_000)
    records = Records(tmp_path, 2_000)
    for first in range(0, 2_000, 20):
        answer(records, "w1", *(Outcome(first + n, 1, State.DONE, "x" * 1_000) for n in range(20)))
    tracemalloc.start()
    assert sum(1 for _ in standing(records.folder, 2_000)) == 2_000
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert records.folder.results.stat().st_size > 2_000_000
    assert peak_bytes < 600_000
