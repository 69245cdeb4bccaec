"""Files of lines, read on as they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from kon.core.errors import StoreError
from kon.report.read.reader import Gone, Growing, Rewritten

MUCH = 1 << 20


def test_only_whole_lines_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    file = Growing(path)
    assert file.read(MUCH) == b"", "it is not there yet"
    with path.open("ab", buffering=0) as out:
        out.write(b"one\ntw")
        assert file.read(MUCH) == b"one\n"
        assert file.read(MUCH) == b""
        assert not file.behind, "half a line is nothing to hurry for"
        out.write(b"o\nthree\n")
        assert file.read(MUCH) == b"two\nthree\n"
    assert file.read_bytes == path.stat().st_size


def test_a_look_has_its_limit_and_the_next_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"12345\n" * 10)
    file, found = Growing(path), []
    while lines := file.read(15):
        assert len(lines) <= 15
        found.append(lines)
        assert file.behind == (file.read_bytes < 60)
    assert b"".join(found) == b"12345\n" * 10


def test_a_line_may_be_longer_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"x" * 100 + b"\nshort\n")
    file = Growing(path)
    assert file.read(10).startswith(b"x" * 100 + b"\n")


def test_a_file_that_stands_still_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\nhalf")
    file = Growing(path)
    assert file.read(MUCH) == b"one\n"

    def refuse(*args: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(Path, "open", refuse)
    assert file.read(MUCH) == b""


@pytest.mark.parametrize("how", ["truncated", "replaced", "deleted"])
def test_another_file_is_not_taken_for_the_same(tmp_path: Path, how: str) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n")
    file = Growing(path)
    file.read(MUCH)
    if how == "truncated":
        path.write_bytes(b"new\n")
    elif how == "replaced":
        fresh = tmp_path / "fresh"
        fresh.write_bytes(b"another\none, and a longer one\n")
        fresh.replace(path)
    else:
        path.unlink()
    with pytest.raises(Gone if how == "deleted" else Rewritten):
        file.read(MUCH)


def test_what_can_not_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "lines").mkdir()
    with pytest.raises(StoreError, match="can't be read: Is a directory"):
        Growing(tmp_path / "lines").read(MUCH)
