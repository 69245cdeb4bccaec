"""Items in a temporary file: the same ones again, as often as they are asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kon.api.stored import Stored
from kon.core.errors import WorkloadError


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_001, 2_500])
def test_all_of_them_in_order_and_by_number(count: int) -> None:
    stored = Stored("items", (b"%d" % number for number in range(count)), int)
    assert list(stored) == list(stored) == list(range(count))
    assert len(stored) == count
    assert [stored[number] for number in range(0, count, 7)] == list(range(0, count, 7))
    with pytest.raises(IndexError):
        stored[count]


def test_pieces_of_every_size() -> None:
    pieces = [b"", b"x" * 3_000_000, b"", b"\0\n", b"y" * 1_000_000, b"z" * 48_575, b"!", b""]
    assert list(Stored("items", pieces, bytes)) == pieces


def test_it_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stored = Stored("items", [b"1"], int)
    assert list(tmp_path.iterdir()) == []
    file = stored._fd
    assert os.fstat(file).st_nlink == 0
    del stored
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


def test_what_can_not_be_read() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"1"
        raise OSError(5, "Input/output error")

    with pytest.raises(WorkloadError, match=r"^standard input: can't be read, .*: Input/output error"):
        Stored("standard input", pieces(), int)


def test_what_can_not_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(WorkloadError, match="can't be read, or not be kept in a temporary file"):
        Stored("items", [b"1"], int)
