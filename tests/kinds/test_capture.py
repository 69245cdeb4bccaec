from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kon.kinds.capture import Capture, WholeCapture

_LEFT_OUT = re.compile(r"\n\[kon left out (\d+) bytes here\]\n")


def captured(limit_bytes: int, *chunks: bytes) -> Capture:
    capture = Capture(limit_bytes)
    for chunk in chunks:
        capture.add(chunk)
    return capture


def test_output_within_the_limit_is_kept_whole() -> None:
    assert captured(10).text() == ("", True, True)
    assert captured(10, b"01234", b"56789").text() == ("0123456789", True, True)


def test_of_longer_output_the_beginning_and_the_end_are_kept() -> None:
    capture = captured(10, b"0123456789A")
    assert capture.text() == ("01234\n[kon left out 1 bytes here]\n6789A", False, True)
    assert capture.size_bytes == 11


def test_a_limit_of_nothing_keeps_nothing() -> None:
    assert captured(0).text() == ("", True, True)
    assert captured(0, b"abc", b"d").text() == ("\n[kon left out 4 bytes here]\n", False, True)


def test_what_is_not_utf8_is_shown_and_told() -> None:
    assert captured(10, b"a\xffb\xc3").text() == ("a\\xffb\\xc3", True, False)
    assert captured(6, b"a\xffb......c\xfed").text().utf8 is False


def test_a_character_split_between_chunks_is_whole() -> None:
    assert captured(100, b"\xf0\x9f", b"\x90\x8d").text() == ("\N{SNAKE}", True, True)


@given(st.text(max_size=200), st.integers(min_value=0, max_value=60), st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_kept_is_the_beginning_and_the_end_in_whole_characters(
    text: str, limit_bytes: int, data: st.DataObject
) -> None:
    output = text.encode()
    capture = Capture(limit_bytes)
    rest = output
    while rest:
        length = data.draw(st.integers(min_value=1, max_value=len(rest)))
        capture.add(rest[:length])
        rest = rest[length:]
    kept, whole, utf8 = capture.text()
    assert utf8
    assert capture.size_bytes == len(output)
    assert whole == (len(output) <= limit_bytes)
    if whole:
        assert kept == text
    else:
        found = _LEFT_OUT.search(kept)
        assert found is not None
        head, tail = kept[: found.start()], kept[found.end() :]
        assert text.startswith(head)
        assert text.endswith(tail)
        assert len(head.encode()) + len(tail.encode()) + int(found[1]) == len(output)
        # at most three bytes of a character are given up on either side of the cut
        assert limit_bytes - 6 <= len(head.encode()) + len(tail.encode()) <= limit_bytes


def test_memory_stays_bounded() -> None:
    capture = Capture(1_000)
    for _ in range(2_000):
        capture.add(b"x" * 999)
    held = sum(sys.getsizeof(getattr(capture, name)) for name in Capture.__slots__)
    assert held < 4_000
    assert capture.size_bytes == 2_000 * 999


class TestWhole:
    """What can't be kept as text is in a file, byte for byte."""

    def kept(self, path: Path, *chunks: bytes, limit_bytes: int = 10) -> bytes | None:
        capture = WholeCapture(limit_bytes, str(path))
        for chunk in chunks:
            capture.add(chunk)
        file = capture.end()
        return None if file is None else Path(file).read_bytes()

    def test_what_fits_needs_no_file(self, tmp_path: Path) -> None:
        assert self.kept(tmp_path / "f", b"0123", b"456789") is None
        assert self.kept(tmp_path / "f") is None
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("size", [1, 3, 10, 11, 1000])
    def test_what_is_longer(self, tmp_path: Path, size: int) -> None:
        data = bytes(range(48, 58)) * 50
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        assert self.kept(tmp_path / "new" / "f", *chunks) == data

    def test_what_is_not_text(self, tmp_path: Path) -> None:
        assert self.kept(tmp_path / "f", b"a\xff", b"b") == b"a\xffb"

    def test_a_disk_that_is_full(self) -> None:
        capture = WholeCapture(2, "/dev/full/f")
        capture.add(b"abc")
        capture.add(b"def")
        with pytest.raises(OSError, match=r"Not a directory|File exists"):
            capture.end()

    def test_of_a_command_that_was_stopped_nothing_stays(self, tmp_path: Path) -> None:
        capture = WholeCapture(2, str(tmp_path / "f"))
        capture.add(b"abc")
        capture.drop()
        assert list(tmp_path.iterdir()) == []
