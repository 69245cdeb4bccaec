"""The row of a run, from records whose truth is known."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from kon.core.errors import StoreError
from kon.core.spec import Plugin
from kon.core.task import State
from kon.engine.records.events import Event
from kon.report.summary import CONTRACT, summarise
from tests.report.made import Records


def counts(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return (
        row["duplicate_deliveries"],
        row["duplicates_avoided"],
        row["duplicate_starts"],
        row["duplicate_results"],
    )


def test_the_row_has_the_names_of_the_contract_in_order_and_may_be_written_as_json(tmp_path: Path) -> None:
    records = Records(tmp_path, 4, strategy=Plugin("lease", {"lease_s": 30}), workers=2, slots=3, repeat=2)
    row = summarise(records.folder)
    assert list(row)[: len(CONTRACT)] == [
        *("run", "backend", "strategy", "workers", "slots", "repeat", "tasks"),
        *("done", "failed", "dead", "lost"),
        *("duplicate_deliveries", "duplicates_avoided", "duplicate_starts", "duplicate_results"),
        *("wall_s", "tasks_per_s", "efficiency", "requests_per_task", "worker_cpu_us_per_task"),
    ]
    assert (row["run"], row["backend"], row["strategy"]) == ("r", "memory", "lease")
    assert (row["workers"], row["slots"], row["repeat"], row["tasks"]) == (2, 3, 2, 4)
    assert row["strategy_options"] == {"lease_s": 30}
    assert json.loads(json.dumps(row)) == row


def test_a_run_without_repeats_has_none(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    worker = records.life("w1.aaaaaa")
    for event in (Event.DELIVER, Event.CLAIM, Event.START, Event.KEEP, Event.ANSWER, Event.ACK):
        worker.tasks(event, range(10))  # written as a range
    records.answered(State.DONE, range(10))
    row = summarise(records.folder)
    assert counts(row) == (0, 0, 0, 0)
    assert (row["done"], row["lost"]) == (10, 0)


def test_repeats_are_counted_across_workers_ranges_lists_and_bundles(tmp_path: Path) -> None:
    records = Records(tmp_path, 100)
    one, two = records.life("w1.aaaaaa"), records.life("w2.bbbbbb")
    one.tasks(Event.DELIVER, range(0, 60))  # a bundle
    one.tasks(Event.DELIVER, [3, 1, 3])  # in which one message came twice over
    two.tasks(Event.DELIVER, range(50, 100), n=2)  # ten of them again
    one.tasks(Event.SKIP, [1, 3])
    two.tasks(Event.SKIP, range(50, 54))
    one.tasks(Event.START, range(0, 60))
    two.tasks(Event.START, range(54, 100))  # six second starts
    two.tasks(Event.START, [7])  # and one
    one.tasks(Event.KEEP, range(0, 58))
    two.tasks(Event.KEEP, range(57, 100))
    assert counts(summarise(records.folder)) == (3 + 10, 2 + 4, 6 + 1, 1)


def test_another_attempt_is_no_repeat_but_the_same_attempt_twice_is(tmp_path: Path) -> None:
    records = Records(tmp_path, 5)
    worker = records.life("w1.aaaaaa")
    for attempt in (1, 2, 3):
        worker.tasks(Event.DELIVER, [4], attempt)
        worker.tasks(Event.START, [4], attempt)
        if attempt < 3:
            worker.tasks(Event.RETRY, [4], attempt, error="ValueError: no")
    worker.tasks(Event.KEEP, [4], 3)
    row = summarise(records.folder)
    assert counts(row) == (0, 0, 0, 0)
    assert row["retries"] == 2
    worker.tasks(Event.DELIVER, [4], 2)
    worker.tasks(Event.START, [4], 2)
    worker.tasks(Event.KEEP, [4], 2)  # of a task two results were kept, whatever their attempts
    assert counts(summarise(records.folder)) == (1, 0, 1, 1)


def test_a_worker_killed_in_mid_line_leaves_the_rest_readable(tmp_path: Path) -> None:
    records = Records(tmp_path, 6)
    victim = records.life("w1.aaaaaa")
    victim.note(Event.UP)
    victim.tasks(Event.DELIVER, range(6))
    victim.tasks(Event.START, [0])
    victim.ends_mid_line()
    heir = records.life("w1.bbbbbb")
    heir.note(Event.UP)
    heir.tasks(Event.DELIVER, range(6), n=2)
    heir.tasks(Event.START, range(6))
    heir.tasks(Event.KEEP, range(6))
    with pytest.warns(UserWarning, match=r"w1\.aaaaaa\.jsonl:4: half a line"):
        row = summarise(records.folder)
    assert counts(row) == (6, 0, 1, 0)
    assert row["worker_lives"] == 2


def test_a_line_cut_short_in_the_results_is_left_out_and_those_after_it_count(tmp_path: Path) -> None:
    records = Records(tmp_path, 3)
    records.answered(State.DONE, [0])
    with records.folder.results.open("ab") as file:
        file.write(b'["w1",[[1,1,"done",nul')
    records.answered(State.DONE, [2])  # a journal that finds half a line gives it a line of its own
    with pytest.warns(UserWarning, match=r"results\.jsonl:2: half a line"):
        row = summarise(records.folder)
    assert row["done"] == 2


def test_what_was_recorded_last_stands_for_a_task(tmp_path: Path) -> None:
    records = Records(tmp_path, 6)
    records.answered(State.DONE, [0, 1])
    records.answered(State.FAILED, [2])
    records.answered(State.DEAD, [3, 4], "dead-letter queue")
    records.answered(State.LOST, [5], "client")
    records.answered(State.DONE, [4])
    row = summarise(records.folder)
    assert (row["done"], row["failed"], row["dead"], row["lost"], row["cancelled"]) == (3, 1, 1, 1, 0)


def test_time_efficiency_and_throughput(tmp_path: Path) -> None:
    records = Records(tmp_path, 100, workers=4, processes=2, slots=1, ideal_s=40.0)
    records.ran(10.0, 16.25)
    row = summarise(records.folder)
    assert row["wall_s"] == 6.25
    assert row["tasks_per_s"] == 16.0
    assert row["efficiency"] == 0.8  # 40 s of work, in 8 lanes of 6.25 s


def test_what_was_cancelled_is_no_throughput(tmp_path: Path) -> None:
    records = Records(tmp_path, 100, ideal_s=40.0)
    records.ran(10.0, 20.0)
    records.answered(State.DONE, range(30))
    records.answered(State.CANCELLED, range(30, 100), "client")
    row = summarise(records.folder)
    assert row["tasks_per_s"] == 3.0
    assert row["efficiency"] is None


@pytest.mark.parametrize("ideal_s", [None, 0.0])
def test_there_is_no_efficiency_without_an_ideal_time(tmp_path: Path, ideal_s: float | None) -> None:
    records = Records(tmp_path, 100, ideal_s=ideal_s)
    records.ran(0.0, 1.0)
    assert summarise(records.folder)["efficiency"] is None


def test_time_runs_from_the_open_of_a_killed_client_to_the_close_of_the_next(tmp_path: Path) -> None:
    records = Records(tmp_path, 10, ideal_s=5.0)
    client = records.life("client")
    client.note(Event.OPEN)
    records.clock.t += 3.0  # killed, and taken up again
    client.note(Event.OPEN)
    records.clock.t += 2.0
    client.note(Event.CLOSE, cpu_s=9.0, requests=7)
    assert summarise(records.folder)["wall_s"] == 5.0


def test_what_failed_and_is_run_again_is_no_repeat_and_its_time_is_added(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    client, worker = records.life("client"), records.life("a1.aaaaaa")  # which comes first by name
    client.note(Event.OPEN, first_attempt=1)
    worker.tasks(Event.KEEP, range(9))
    worker.tasks(Event.KEEP, [9], attempt=3)  # failed for good
    records.clock.t += 4.0
    client.note(Event.CLOSE, requests=30)
    records.clock.t += 3600.0  # a person looks at it
    client.note(Event.OPEN, first_attempt=4)
    worker.tasks(Event.KEEP, [9], attempt=5)
    records.clock.t += 1.0
    client.note(Event.CLOSE, requests=20)
    row = summarise(records.folder)
    assert row["duplicate_results"] == 0
    assert row["wall_s"] == 5.0
    assert row["requests_per_task"] == 5.0
    worker.tasks(Event.KEEP, [9], attempt=4)
    assert summarise(records.folder)["duplicate_results"] == 1


def test_a_run_that_goes_on_has_no_time_yet(tmp_path: Path) -> None:
    records = Records(tmp_path, 10, ideal_s=5.0)
    records.life("client").note(Event.OPEN)
    row = summarise(records.folder)
    assert (row["wall_s"], row["tasks_per_s"], row["efficiency"]) == (None, None, None)


def test_the_last_word_of_each_life_counts_and_the_clients_cpu_does_not(tmp_path: Path) -> None:
    records = Records(tmp_path, 100)
    records.ran(0.0, 1.0, cpu_s=50.0, requests=40)
    worker = records.life("w1.aaaaaa")
    worker.note(Event.UP)
    worker.note(Event.USAGE, cpu_s=0.5, requests=10)
    worker.note(Event.USAGE, cpu_s=1.0, requests=30)
    worker.note(Event.UP)  # in memory a second life has the same name, and counts from 0 again
    worker.note(Event.USAGE, cpu_s=0.25, requests=5)
    records.life("w2.bbbbbb").note(Event.USAGE, cpu_s=0.75, requests=25)
    row = summarise(records.folder)
    assert row["requests_per_task"] == (40 + 30 + 5 + 25) / 100
    assert row["worker_cpu_us_per_task"] == 2.0 * 1e6 / 100


@pytest.mark.parametrize("indexes", [[10], range(8, 12)])
def test_records_of_another_run_are_refused(tmp_path: Path, indexes: list[int]) -> None:
    records = Records(tmp_path, 10)
    records.life("w1.aaaaaa").tasks(Event.START, indexes)
    with pytest.raises(StoreError, match=r"w1\.aaaaaa\.jsonl: names a task beyond the 10 of its run"):
        summarise(records.folder)


def test_results_of_another_run_are_refused(tmp_path: Path) -> None:
    records = Records(tmp_path, 2)
    records.answered(State.DONE, [2])
    with pytest.raises(StoreError, match="names a task beyond the 2 of its run"):
        summarise(records.folder)


@pytest.mark.long
def test_memory_is_a_few_bytes_a_task(tmp_path: Path) -> None:
    tasks = 200_000
    records = Records(tmp_path, tasks)
    worker = records.life("w1.aaaaaa")
    for first in range(0, tasks, 2_000):
        shuffled = [*range(first + 1_000, first + 2_000), *range(first, first + 1_000)]
        for event in (Event.DELIVER, Event.START, Event.KEEP):
            worker.tasks(event, shuffled)
        records.answered(State.DONE, shuffled)
    tracemalloc.start()
    row = summarise(records.folder)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert row["done"] == tasks
    assert counts(row) == (0, 0, 0, 0)
    assert peak_bytes < 12 * tasks + 3_000_000


def test_what_tasks_have_used_is_added_up_over_their_attempts(tmp_path: Path) -> None:
    records = Records(tmp_path, 2)
    worker = records.life("w1.aaaaaa")
    assert "task_cpu_s" not in summarise(records.folder), "nobody knows"
    worker.tasks(Event.SPENT, [0], task_cpu_s=0.5)
    row = summarise(records.folder)
    assert (row["task_cpu_s"], row["task_peak_bytes"]) == (0.5, None)
    worker.tasks(Event.SPENT, [1], task_cpu_s=1.0, peak_bytes=300)
    worker.tasks(Event.SPENT, [1], 2, task_cpu_s=0.25, peak_bytes=200)
    row = summarise(records.folder)
    assert (row["task_cpu_s"], row["task_peak_bytes"]) == (1.75, 300)
    assert row["worker_cpu_us_per_task"] == 0.0, "tasks' time is not their worker's"
