"""The count of avoided repeats, while events are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.engine.records.events import Event
from kon.report.read import reader
from kon.report.read.reader import Avoided
from tests.report.made import Records


def test_it_grows_with_the_files(tmp_path: Path) -> None:
    records = Records(tmp_path, 100)
    avoided = Avoided(records.folder)
    assert avoided.look() == 0, "no worker has written anything"
    one, two = records.life("w1.aaaaaa"), records.life("w2.bbbbbb")
    one.tasks(Event.SKIP, [3, 8])
    one.tasks(Event.START, [4])
    assert avoided.look() == 2
    two.tasks(Event.SKIP, range(10, 20))
    one.tasks(Event.SKIP, [9])
    assert avoided.look() == 13
    assert avoided.look() == 13, "what was read is not read again"


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    records = Records(tmp_path, 100)
    life = records.life("w1.aaaaaa")
    life.tasks(Event.SKIP, [1])
    avoided = Avoided(records.folder)
    line = life.path.read_bytes()
    with life.path.open("ab", buffering=0) as file:
        file.write(line[:20])
        assert avoided.look() == 1
        file.write(line[20:])
    assert avoided.look() == 2


def test_what_is_too_long_for_one_look_is_read_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(tmp_path, 100)
    life = records.life("w1.aaaaaa")
    for index in range(10):
        life.tasks(Event.SKIP, [index])
    monkeypatch.setattr(reader, "LOOK_BYTES", 120)
    monkeypatch.setattr(reader, "LEAST_BYTES", 120)
    avoided = Avoided(records.folder)
    looks = [avoided.look() for _ in range(10)]
    assert looks == sorted(looks)
    assert 0 < looks[0] < looks[-1] == 10
