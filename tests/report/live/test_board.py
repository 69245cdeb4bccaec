"""The board: what is new to whom."""

from __future__ import annotations

import asyncio

from kon.report.live.board import Board, framed


def test_who_was_away_finds_only_the_latest() -> None:
    board = Board()
    for number in range(100):
        board.put("r", "run", b"%d" % number)
    board.put("r", "failures", b"[]")
    assert [(part.event, part.data) for part in board.since(0, {"r"})] == [
        ("run", b"99"),
        ("failures", b"[]"),
    ]


def test_what_has_not_changed_is_not_sent_again() -> None:
    board = Board()
    board.put("r", "run", b"1")
    version = board.since(0, {"r"})[-1].version
    board.put("r", "run", b"1")
    assert board.since(version, {"r"}) == []
    board.put("other", "run", b"2")
    assert board.since(version, {"r"}) == [], "of a run that is not looked at"


def test_marks_of_another_server_are_not_its_own() -> None:
    board, other = Board(), Board()
    for _ in "ab":
        board.put("r", "run", _.encode())
    mark = board.mark(2)
    assert board.version_of(mark) == 2
    for strange in (other.mark(2), "", "-", mark + "x", mark.replace("-2", "--2"), mark + "0" * 400, "²"):
        assert board.version_of(strange) == 0, strange
    assert board.version_of(mark[:-1] + "9") == 2, "of a future that has not come"


def test_news_wake_who_waits() -> None:
    async def main() -> None:
        board = Board()
        waiting = [asyncio.create_task(board.news(0, {"r"})) for _ in range(3)]
        await asyncio.sleep(0)
        board.put("other", "run", b"0")
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        board.put("r", "run", b"1")
        for task in waiting:
            assert [part.data for part in await task] == [b"1"]

    asyncio.run(asyncio.wait_for(main(), 60))


def test_frames_bear_the_mark_once_at_the_end() -> None:
    board = Board()
    board.put("r", "run", b"{}")
    board.put("r", "failures", b"[]")
    text = b"".join(framed(board.since(0, {"r"}), "x-2"))
    assert text == b"event: run\ndata: {}\n\nevent: failures\nid: x-2\ndata: []\n\n"
