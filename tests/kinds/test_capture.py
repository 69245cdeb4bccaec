from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kon.kinds import capture as captures
from kon.kinds.capture import SHOWN_BYTES, Capture, WholeCapture

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

    def test_a_place_where_no_file_can_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        capture = WholeCapture(2, str(tmp_path / "file/f"))
        capture.add(b"abc")
        capture.add(b"def")
        with pytest.raises(OSError, match=r"Not a directory|File exists"):
            capture.end()

    def test_of_a_command_that_was_stopped_nothing_stays(self, tmp_path: Path) -> None:
        capture = WholeCapture(2, str(tmp_path / "f"))
        capture.add(b"abc")
        capture.drop()
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends, neither of which waits."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    yield ends
    for end in ends:
        os.close(end)


class TestReadFromAPipe:
    DATA = b"".join(b"%07d\n" % number for number in range(5_000))

    def taken(self, capture: Capture, pipe: tuple[int, int]) -> None:
        """Have it read `DATA`, piece by piece."""
        for at in range(0, len(self.DATA), 10_000):
            os.write(pipe[1], self.DATA[at : at + 10_000])
            while True:
                try:
                    assert capture.read(pipe[0]) > 0
                except BlockingIOError:
                    break

    @pytest.mark.parametrize("can_splice", [True, False])
    def test_all_of_it_is_in_the_file(
        self, tmp_path: Path, pipe: tuple[int, int], can_splice: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And in memory little more than is shown."""
        monkeypatch.setattr(captures, "_CAN_SPLICE", can_splice and hasattr(os, "splice"))
        capture = WholeCapture(15_000, str(tmp_path / "f"))
        self.taken(capture, pipe)
        running = capture.text()
        assert capture.end() == str(tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == self.DATA
        assert capture.size_bytes == len(self.DATA)
        assert capture.text() == running
        shown = SHOWN_BYTES // 2
        text = f"{self.DATA[:shown].decode()}\n[kon left out {40_000 - SHOWN_BYTES} bytes here]\n"
        assert running == (text + self.DATA[-shown:].decode(), False, True)
        assert sum(sys.getsizeof(getattr(capture, name)) for name in Capture.__slots__) < 3_000

    @pytest.mark.skipif(not hasattr(os, "splice"), reason="this system has no splice")
    def test_the_bytes_do_not_come_into_this_process(
        self, tmp_path: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        capture = WholeCapture(10, str(tmp_path / "f"))
        capture.add(b"more than ten")

        def read(fd: int, size_bytes: int) -> bytes:
            raise AssertionError("read")

        monkeypatch.setattr(os, "read", read)
        self.taken(capture, pipe)
        capture.end()
        assert (tmp_path / "f").read_bytes() == b"more than ten" + self.DATA

    def test_the_end_of_the_pipe(self, tmp_path: Path) -> None:
        ours, theirs = os.pipe()
        os.close(theirs)
        for capture in (Capture(10), WholeCapture(1, str(tmp_path / "f"))):
            capture.add(b"ab")
            assert capture.read(ours) == 0
            capture.end()
        os.close(ours)

    def test_a_disk_that_becomes_full(
        self, tmp_path: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The command may go on writing; that it is not whole is told at the end, with what is known."""

        def no_room(*_: object, **__: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        capture = WholeCapture(10, str(tmp_path / "f"))
        os.write(pipe[1], b"0123456789ABCDEF")
        capture.read(pipe[0])
        monkeypatch.setattr(os, "splice", no_room, raising=False)
        monkeypatch.setattr(os, "write", no_room)
        capture.add(b"GHIJ")
        with pytest.raises(OSError, match="No space left"):
            capture.end()
        assert capture.size_bytes == 20
        assert capture.text().text == "01234\n[kon left out 10 bytes here]\nFGHIJ"
        assert list(tmp_path.iterdir()) == []
