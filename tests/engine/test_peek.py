"""What a task has written so far is asked for and answered through the run's folder."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kon.engine.peek import ANSWER_S, STALE_S, Output, answering, asked
from kon.engine.records.records import RunFolder
from tests.engine.world import in_virtual_time


def _place(tmp_path: Path) -> Path:
    place = tmp_path / "peek"
    place.mkdir()
    return place


def _written(place: Path) -> list[str]:
    return sorted(each.name for each in place.iterdir())


async def _answers(tmp_path: Path, said: dict[int, Output], for_s: float) -> None:
    """Have a worker answer for some seconds."""
    task = asyncio.create_task(answering(RunFolder(tmp_path), said.get))
    await asyncio.sleep(for_s)
    assert not task.done(), "it goes on"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_question_about_a_task_that_runs_here_is_answered_within_a_look(tmp_path: Path) -> None:
    """What is in a name is the task; other files of that folder are no questions."""
    place = _place(tmp_path)
    names = [".7-a.1", "7-a", "8-a", "note", "²-a"]
    for name in names:
        (place / name).touch()
    in_virtual_time(_answers(tmp_path, {7: {"stdout": "so far"}}, 0.9))
    assert _written(place) == names
    in_virtual_time(_answers(tmp_path, {7: {"stdout": "so far"}}, 1.1))
    assert _written(place) == sorted([*names, "7-a.json"])
    assert (place / "7-a.json").read_text() == '{"stdout":"so far"}'


def test_a_kind_that_raises_is_told_once_and_others_are_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its worker answered nobody any more, and no log said so."""
    place = _place(tmp_path)
    for name in ("7-a", "8-a"):
        (place / name).touch()

    def output(index: int) -> Output:
        if index == 7:
            raise ValueError("no such buffer")
        return {"stdout": "x"}

    async def main() -> None:
        task = asyncio.create_task(answering(RunFolder(tmp_path), output))
        await asyncio.sleep(3.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_virtual_time(main())
    assert _written(place) == ["7-a", "8-a", "8-a.json"]
    assert caplog.messages == [
        "what task 7 has written can't be shown: its kind raised ValueError: no such buffer"
    ]


def test_an_answer_is_there_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader may look at any moment."""
    place = _place(tmp_path)
    (place / "7-a").touch()
    names: list[str] = []
    write = Path.write_bytes

    def noted(path: Path, data: bytes) -> int:
        names.append(path.name)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", noted)
    in_virtual_time(_answers(tmp_path, {7: {}}, 1.1))
    assert names == [f".7-a.{os.getpid()}"]
    assert (place / "7-a.json").exists()


def test_a_worker_that_nobody_asks_looks_again(tmp_path: Path) -> None:
    """The folder is mostly not there, and goes with its reader."""

    async def main() -> None:
        task = asyncio.create_task(answering(RunFolder(tmp_path), {7: {"stdout": "x"}}.get))
        await asyncio.sleep(2.5)
        (_place(tmp_path) / "7-a").touch()
        await asyncio.sleep(1.0)
        assert (tmp_path / "peek/7-a.json").exists()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    in_virtual_time(main())


def test_an_answer_whose_reader_left_meanwhile_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would remove it: no other question has its name."""
    question = _place(tmp_path) / "7-a"
    question.touch()

    def leaves(index: int) -> Output:
        question.unlink()
        return {"stdout": "too late"}

    async def main() -> None:
        task = asyncio.create_task(answering(RunFolder(tmp_path), leaves))
        await asyncio.sleep(1.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    in_virtual_time(main())
    assert _written(tmp_path) == []


@pytest.mark.parametrize("says", [{"stdout": "too late"}, None])
def test_readers_who_left_while_they_were_answered_keep_nobody_else_from_being_told(
    tmp_path: Path, says: Output | None
) -> None:
    place = _place(tmp_path)
    for name in ("7-a", "8-b", "9-c"):
        (place / name).touch()

    def output(index: int) -> Output | None:
        if index == 8:
            return {"stdout": "so far"}
        for question in place.glob(f"{index}-*"):
            question.unlink()
        return says

    async def main() -> None:
        task = asyncio.create_task(answering(RunFolder(tmp_path), output))
        await asyncio.sleep(1.5)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    in_virtual_time(main())
    assert _written(place) == ["8-b", "8-b.json"]


@pytest.mark.parametrize(("old_s", "stays"), [(STALE_S - 5.0, True), (STALE_S + 5.0, False)])
def test_a_question_whose_reader_has_gone_is_dropped(tmp_path: Path, old_s: float, stays: bool) -> None:
    """Not before it is old: a worker of another machine may run that task."""
    question = _place(tmp_path) / "7-a"
    question.touch()
    answer = question.with_name("7-a.json")  # to a reader that was killed
    answer.touch()
    asked_s = question.stat().st_mtime - old_s
    os.utime(question, (asked_s, asked_s))
    in_virtual_time(_answers(tmp_path, {}, 1.1))
    assert question.exists() is answer.exists() is stays


async def _asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer_s: float
) -> tuple[Output | None, float]:
    """What the reader is told of task 7, and after how long, where the answer comes after that time."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr("time.monotonic", loop.time)

    async def answer() -> None:
        await asyncio.sleep(answer_s)
        (question,) = (tmp_path / "peek").glob("7-*")
        question.with_name(f"{question.name}.json").write_text('{"stderr":"so far"}')

    answers = asyncio.create_task(answer())
    told = await asked(RunFolder(tmp_path), 7)
    answers.cancel()
    await asyncio.gather(answers, return_exceptions=True)
    return told, loop.time()


def test_a_reader_is_told_as_soon_as_the_answer_is_there_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, at_s = in_virtual_time(_asks(tmp_path, monkeypatch, 1.95))
    assert told == {"stderr": "so far"}
    assert at_s == pytest.approx(2.0)
    assert _written(tmp_path) == []


def test_a_reader_waits_no_longer_than_an_answer_may_take_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, at_s = in_virtual_time(_asks(tmp_path, monkeypatch, 60.0))
    assert told is None
    assert at_s == pytest.approx(ANSWER_S, abs=0.11)
    assert _written(tmp_path) == []


def test_what_another_reader_asks_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = _place(tmp_path)
    (place / "8-a").touch()
    told, _ = in_virtual_time(_asks(tmp_path, monkeypatch, 1.0))
    assert told == {"stderr": "so far"}
    assert _written(place) == ["8-a"]


def test_two_readers_of_one_task_are_both_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one that is told leaves, and takes only its own question with it."""

    async def main() -> list[Output | None]:
        monkeypatch.setattr("time.monotonic", asyncio.get_running_loop().time)
        folder, said = RunFolder(tmp_path), iter([{"stdout": "so far"}, {"stdout": "and more"}])
        working = asyncio.create_task(answering(folder, lambda index: next(said)))
        told = await asyncio.gather(asked(folder, 7), asked(folder, 7))
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return sorted(told, key=str)

    assert in_virtual_time(main()) == [{"stdout": "and more"}, {"stdout": "so far"}]
    assert _written(tmp_path) == []


def test_a_reader_asks_where_another_one_has_just_removed_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = Path.touch
    lefts = [None]

    def too_late(path: Path) -> None:
        if lefts:
            lefts.pop()
            path.parent.rmdir()
        touch(path)

    monkeypatch.setattr(Path, "touch", too_late)
    told, _ = in_virtual_time(_asks(tmp_path, monkeypatch, 1.0))
    assert told == {"stderr": "so far"}


def test_a_run_that_is_gone_is_asked_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(asked(RunFolder(tmp_path / "gone"), 7))
