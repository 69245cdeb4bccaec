"""A run followed through its records: counts, what is read when, and records that are amiss."""

from __future__ import annotations

import asyncio
import shutil
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from kon.core.lock import client_lock
from kon.core.spec import Plugin
from kon.core.task import Answers, Outcome, State, encode
from kon.engine.records.events import Event
from kon.report.live import follower
from kon.report.live.follower import Follower
from kon.report.live.snapshot import ShownState, Snapshot
from kon.report.read import reader, recent
from kon.report.read.recent import Ends
from tests.report.made import Records


def watching(records: Records) -> Follower:
    return Follower(records.folder, "r", records.clock.now_s)


def looked(watched: Follower) -> Snapshot:
    watched.look()
    found = watched.snapshot()
    assert found is not None
    return found


@contextmanager
def with_client(records: Records) -> Iterator[None]:
    """While a client is at work there."""
    lock = client_lock(records.folder.path.parent)
    asyncio.run(lock.__aenter__())
    try:
        yield
    finally:
        asyncio.run(lock.__aexit__(None, None, None))


def answer(
    records: Records, index: int, state: State = State.DONE, worker: str = "w1.aaaaaa", **fields: object
) -> None:
    outcome = Outcome(index, 1, state, started_s=records.clock.t, ended_s=records.clock.t)
    outcome = msgspec.structs.replace(outcome, **fields)
    records.append_result(encode(Answers(worker, [outcome])))


def test_a_run_from_its_start_to_its_end(tmp_path: Path) -> None:
    records = Records(tmp_path, 10, slots=2)
    watched = watching(records)
    assert looked(watched).state is ShownState.STOPPED
    with with_client(records):
        assert looked(watched).state is ShownState.STARTING
        records.life("client").note(Event.OPEN)
        life = records.life("w1.aaaaaa")
        life.note(Event.UP, worker="w1.aaaaaa", slots=2, host="here", requests=3)
        life.tasks(Event.DELIVER, range(4))
        life.tasks(Event.DELIVER, [1])
        life.tasks(Event.SKIP, [1])
        life.tasks(Event.START, [0])
        records.clock.t += 2
        life.tasks(Event.START, [1])
        found = looked(watched)
        assert (found.state, found.left, found.elapsed_s) == (ShownState.RUNNING, 10, 2.0)
        assert (found.deliveries_again, found.avoided, found.requests) == (1, 1, 3)
        assert (found.lives_at_work, found.slots, found.slots_busy) == (1, 2, 2)
        assert [(each.task, each.for_s) for each in found.lives[0].busy] == [(0, 2.0), (1, 0.0)]
        assert (found.lives[0].state, found.lives[0].host) == ("working", "here")
        life.tasks(Event.KEEP, [0])
        life.tasks(Event.RETRY, [1], error="exit 4")
        life.tasks(Event.START, [0])
        answer(records, 0)
        answer(
            records,
            2,
            State.FAILED,
            error="exit 5",
            result={"exit": 5, "stdout": "so far", "stderr": "broken"},
        )
        found = looked(watched)
        assert (found.done, found.failed, found.left, found.retries) == (1, 1, 8, 1)
        assert (found.second_starts, found.second_results) == (1, 0)
        assert found.tasks_per_s == pytest.approx(1.0), "two tasks in two seconds"
        assert found.left_s == pytest.approx(8.0)
        shown = {each.task: each for each in watched.failures().shown}
        assert (shown[1].state, shown[1].error) == ("retry", "exit 4")
        assert (shown[2].state, shown[2].error) == ("failed", "exit 5")
        assert list(shown[2].output.items()) == [("stderr", "broken"), ("stdout", "so far")]
        life.note(Event.DOWN)
        assert looked(watched).lives[0].state == "ended"
        records.life("client").note(Event.CLOSE, requests=4)
    records.folder.write_summary({"done": 9})
    found = looked(watched)
    assert (found.state, found.tasks_per_s, found.requests) == (ShownState.FINISHED, None, 7)


def test_the_last_outcome_of_a_task_stands(tmp_path: Path) -> None:
    records = Records(tmp_path, 5)
    watched = watching(records)
    answer(records, 3, State.DEAD)
    assert looked(watched).dead == 1
    assert [each.task for each in watched.failures().shown] == [3]
    answer(records, 3, State.DONE)
    found = looked(watched)
    assert (found.dead, found.done, found.failures_in_all) == (0, 1, 0)
    assert watched.failures().shown == []


def test_a_killed_worker_is_told_from_one_that_ended(tmp_path: Path) -> None:
    records = Records(tmp_path, 5)
    with with_client(records):
        records.life("client").note(Event.OPEN)
        # the file of the later life comes first by its name
        for name in ("w1.zzzzzz", "w1.aaaaaa", "w2.bbbbbb"):
            records.life(name).note(Event.UP, worker=name, slots=1)
            records.life(name).tasks(Event.START, [1])
            records.clock.t += 1
        records.life("w2.bbbbbb").note(Event.DOWN)
        found = looked(watching(records))
    states = {each.name: (each.state, len(each.busy)) for each in found.lives}
    assert states == {"w1.zzzzzz": ("killed", 0), "w1.aaaaaa": ("working", 1), "w2.bbbbbb": ("ended", 0)}
    assert found.lives_at_work == 1


def test_a_worker_that_is_not_heard_of_is_said_to_be_silent(tmp_path: Path) -> None:
    records = Records(tmp_path, 5, visibility_s=10.0)
    with with_client(records):
        records.life("client").note(Event.OPEN)
        records.life("w1.aaaaaa").note(Event.UP, worker="w1.aaaaaa", slots=1)
        watched = watching(records)
        records.clock.t += 14
        assert looked(watched).lives[0].state == "idle"
        records.clock.t += 2
        assert looked(watched).lives[0].state == "silent"


def test_workers_without_a_client_are_detached(tmp_path: Path) -> None:
    records = Records(tmp_path, 5)
    records.life("w1.aaaaaa").note(Event.UP, worker="w1.aaaaaa", slots=1)
    watched = watching(records)
    assert looked(watched).state is ShownState.DETACHED
    records.clock.t += 3600
    assert looked(watched).state is ShownState.STOPPED


def test_answers_of_workers_elsewhere_count(tmp_path: Path) -> None:
    """Where hosts are other machines, their events are not here before they are gathered."""
    records = Records(tmp_path, 5)
    answer(records, 1, worker="w7.cccccc")
    answer(records, 2, State.LOST, worker="client")
    found = looked(watching(records))
    assert [(each.name, each.state, each.tasks) for each in found.lives] == [("w7.cccccc", "elsewhere", 1)]


def test_dollars_where_requests_are_billed(tmp_path: Path) -> None:
    records = Records(tmp_path, 5, backend=Plugin("aws"))
    records.life("client").note(Event.OPEN)
    assert looked(watching(records)).usd is None
    billed = {"sqs.requests": 1e6, "sqs.calls": 1e6}
    records.life("w1.aaaaaa").note(Event.UP, worker="w1.aaaaaa", slots=1, requests=10, billed=billed)
    found = looked(watching(records))
    assert found.usd == pytest.approx(0.40)
    assert "us-east-1" in found.prices


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    records = Records(tmp_path, 1_000)
    life, watched = records.life("w1.aaaaaa"), watching(records)
    for index in range(500):
        life.tasks(Event.START, [index])
        answer(records, index)
    looked(watched)
    size_bytes = life.path.stat().st_size + records.folder.results.stat().st_size
    assert watched.read_bytes == size_bytes
    answer(records, 500)
    assert looked(watched).done == 501
    assert watched.read_bytes == life.path.stat().st_size + records.folder.results.stat().st_size


def test_a_look_is_bounded_and_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records(tmp_path, 1_000)
    for index in range(100):
        answer(records, index)
    monkeypatch.setattr(follower, "LOOK_BYTES", 1)
    monkeypatch.setattr(reader, "LEAST_BYTES", 400)
    watched = watching(records)
    shares = []
    while True:
        shares.append(looked(watched).reading)
        if not watched.behind:
            break
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == 1.0
    assert looked(watched).done == 100


@pytest.mark.long
def test_many_tasks_take_a_few_bytes_each(tmp_path: Path) -> None:
    tasks = 200_000
    records = Records(tmp_path, tasks)
    life = records.life("w1.aaaaaa")
    t = records.clock.t
    for first in range(0, tasks, 10_000):
        indexes = range(first, first + 10_000)
        for event in (Event.DELIVER, Event.START, Event.KEEP):
            life.tasks(event, indexes)
        outcomes = [Outcome(index, 1, State.DONE, None, None, t, t + index / tasks) for index in indexes]
        records.append_result(encode(Answers("w1.aaaaaa", outcomes)))
    watched = watching(records)
    tracemalloc.start()
    try:
        watched.look()
        while watched.behind:
            watched.look()
        found = looked(watched)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.done, found.left) == (tasks, 0)
    assert kept_bytes < 8 * tasks


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    watched = watching(records)
    line = encode(Answers("w1.aaaaaa", [Outcome(4, 1, State.DONE)])) + b"\n"
    with records.folder.results.open("ab", buffering=0) as out:
        out.write(line[:9])
        found = looked(watched)
        assert (found.done, found.notes) == (0, [])
        out.write(line[9:])
    assert looked(watched).done == 1


def test_half_a_line_that_stays_so_is_told(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    life = records.life("w1.aaaaaa")
    life.tasks(Event.SKIP, [1])
    life.ends_mid_line()
    life.tasks(Event.SKIP, [2])
    found = looked(watching(records))
    assert found.avoided == 2
    assert "1 line of the records can't be read" in found.notes[0]


def test_truncated_records_are_counted_anew(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    watched = watching(records)
    for index in range(5):
        answer(records, index)
    assert looked(watched).done == 5
    lines = records.folder.results.read_bytes().splitlines(keepends=True)
    records.folder.results.write_bytes(b"".join(lines[:2]))
    assert looked(watched).done == 2


def test_a_run_that_is_begun_anew_is_another_one(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    watched = watching(records)
    answer(records, 1)
    assert looked(watched).done == 1
    shutil.rmtree(records.folder.path)
    records.folder.write_run(Records(tmp_path / "other", 20).folder.read_run().spec, {"started_s": 5.0})
    found = looked(watched)
    assert (found.tasks, found.done) == (20, 0)


def test_a_run_whose_failed_tasks_are_run_again_is_the_same(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    watched = watching(records)
    answer(records, 1, State.FAILED)
    records.folder.write_summary({"done": 0})
    assert looked(watched).state is ShownState.FINISHED
    records.folder.reopen()
    found = looked(watched)
    assert (found.state, found.failed) == (ShownState.STOPPED, 1)


def test_a_folder_that_is_deleted_leaves_what_was_read(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    watched = watching(records)
    answer(records, 1)
    looked(watched)
    shutil.rmtree(records.folder.path)
    found = looked(watched)
    assert (found.state, found.done) == (ShownState.GONE, 1)


def test_records_that_are_being_deleted_leave_what_was_read(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    watched = watching(records)
    answer(records, 1)
    looked(watched)
    records.folder.results.unlink()
    found = looked(watched)
    assert (found.state, found.done) == (ShownState.GONE, 1)


@pytest.mark.parametrize("name", ["run.json", "summary.json"])
def test_records_of_a_newer_kon_say_so(tmp_path: Path, name: str) -> None:
    records = Records(tmp_path, 10)
    watched = watching(records)
    answer(records, 1)
    looked(watched)
    (records.folder.path / name).write_text('{"schema": 99}')
    found = looked(watched)
    assert found.state is ShownState.UNREADABLE
    assert "written by a newer kon (records of version 99" in found.problem
    assert watched.line().problem == found.problem


def test_records_of_another_run_say_so(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    watched = watching(records)
    answer(records, 10)
    found = looked(watched)
    assert found.state is ShownState.UNREADABLE
    assert "results.jsonl: names a task beyond the 10 of its run" in found.problem
    assert watched.behind is False, "or it would be read again and again"
    answer(records, 1)
    assert looked(watched).state is ShownState.UNREADABLE, "it does not get better by what comes after"


def test_failures_are_kept_to_a_number_and_a_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST", 3)
    records = Records(tmp_path, 10)
    for index in range(6):
        answer(records, index, State.FAILED, result={"stderr": "x" * 50_000 + f"end {index}"})
    watched = watching(records)
    assert looked(watched).failures_in_all == 6
    shown = watched.failures().shown
    assert [each.task for each in shown] == [5, 4, 3], "the newest first"
    assert shown[0].output["stderr"].endswith("end 5")
    assert len(shown[0].output["stderr"]) < recent.MOST_TEXT + 50


def test_events_of_a_simulation_share_a_file(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    life = records.life("workers")
    life.note(Event.UP, w="w1.1", worker="w1.1", slots=4)
    life.note(Event.UP, w="w2.1", worker="w2.1", slots=4)
    life.note(Event.USAGE, requests=70)
    found = looked(watching(records))
    assert [each.name for each in found.lives] == ["w1.1", "w2.1"]
    assert found.requests == 70


def test_time_of_a_simulation_is_its_own(tmp_path: Path) -> None:
    records = Records(tmp_path, 10)
    records.folder.write_run(records.folder.read_run().spec, {"clock": "virtual"})
    with with_client(records):
        records.life("client").note(Event.OPEN)
        records.clock.t += 5
        answer(records, 1)
        records.clock.t += 5_000_000
        assert looked(watching(records)).elapsed_s == 5.0


def test_throughput_over_time_keeps_its_size_and_its_sum() -> None:
    told = Ends(1_000.0)
    for number in range(10_000):
        told.add([1_000.0 + number])
    assert len(told.bins) <= recent.BINS
    assert sum(told.bins) == 10_000
    assert told.bin_s * len(told.bins) >= 10_000


def test_throughput_lately_is_that_of_the_last_seconds() -> None:
    told = Ends(0.0)
    for number in range(1_000):
        told.add([number / 10])  # 10 a second, for 100 s
    assert told.per_s(100.0) == pytest.approx(10.0, rel=0.05)
    assert told.per_s(120.0) == pytest.approx(1.0, abs=1.0), "nothing has ended for 20 s"
    assert told.per_s(200.0) == 0.0
    slow = Ends(0.0)
    for number in range(20):
        slow.add([number * 4.0])
    assert slow.per_s(80.0) == pytest.approx(0.25, rel=0.2)
