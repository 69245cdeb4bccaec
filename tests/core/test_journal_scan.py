"""Lines are found whole wherever blocks end."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kon.core import journal
from kon.core.errors import StoreError

NUMBERS = msgspec.json.Decoder(list[int])


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 1_000])
def test_lines_longer_and_shorter_than_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(journal, "BLOCK_BYTES", block_bytes)
    file = tmp_path / "lines"
    file.write_bytes(b"[1]\n\n[2,3]\n[4,5,6,7,8,9]\n[]\n[10]")
    assert list(journal.scan(file, NUMBERS)) == [[1], [2, 3], [4, 5, 6, 7, 8, 9], [], [10]]


@pytest.mark.parametrize("block_bytes", [3, 1_000])
def test_a_line_that_cant_be_read_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(journal, "BLOCK_BYTES", block_bytes)
    file = tmp_path / "lines"
    file.write_bytes(b"[1]\n[2]\n[3,\n[4]\n")
    with pytest.warns(UserWarning, match="lines:3: half a line"):
        assert list(journal.scan(file, NUMBERS)) == [[1], [2], [4]]


def test_an_empty_line_is_nothing_to_warn_of_next_to_one_that_cant_be_read(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"[1]\n\n[3,\n[4]\n")
    with pytest.warns(UserWarning, match="half a line") as caught:
        assert list(journal.scan(file, NUMBERS)) == [[1], [4]]
    assert [str(each.message).partition(": ")[0] for each in caught] == [f"{file}:3"]


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert list(journal.scan(tmp_path / "none", NUMBERS)) == []


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be read"):
        list(journal.scan(tmp_path, NUMBERS))


def test_any_bytes_in_the_place_of_a_line_are_left_out(tmp_path: Path) -> None:
    """A file system that loses power may leave what nobody has written."""
    file = tmp_path / "lines"
    file.write_bytes(b'["a"]\n["\xff\xfe"]\n\0\0\0\n["b"]\n')
    words = msgspec.json.Decoder(list[str])
    with pytest.warns(UserWarning, match="half a line") as caught:
        assert list(journal.scan(file, words)) == [["a"], ["b"]]
    assert [str(each.message).partition(": ")[0] for each in caught] == [f"{file}:2", f"{file}:3"]
