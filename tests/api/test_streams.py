"""Bytes to a stream: all of them, whatever the stream is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from kon.api import streams

DATA = bytes(range(256)) * 4_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "source"
    file.write_bytes(DATA)
    return file


def sent(source: Path, to: BinaryIO, start: int = 0) -> int:
    with source.open("rb") as file:
        return streams.send(file.fileno(), start, len(DATA), to)


@pytest.mark.parametrize("start", [0, 1_000])
def test_to_a_file(tmp_path: Path, source: Path, start: int) -> None:
    with (tmp_path / "to").open("wb") as to:
        assert sent(source, to, start) == len(DATA)
    assert (tmp_path / "to").read_bytes() == DATA[start:]


def test_to_a_file_that_is_appended_to_it_sends_nothing(tmp_path: Path, source: Path) -> None:
    (tmp_path / "to").write_bytes(b"before")
    with (tmp_path / "to").open("ab") as to:
        assert sent(source, to) == 0
    assert (tmp_path / "to").read_bytes() == b"before"


def test_to_what_is_full(source: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as to:  # noqa: PTH123 - a device
        assert sent(source, to) in (0, len(DATA))  # macOS sends nothing to any device


def write_and_flush(source: Path, to: BinaryIO) -> None:
    streams.write(to, source.read_bytes())
    streams.flush(to)


def send(source: Path, to: BinaryIO) -> None:
    assert sent(source, to) == len(DATA)


@pytest.mark.parametrize("put", [write_and_flush, send])
def test_to_a_pipe_that_does_not_wait(source: Path, put: Callable[[Path, BinaryIO], None]) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    got = bytearray()

    def read() -> None:
        with open(ours, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            while part := file.read(10_000):
                got.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, "wb") as to:  # noqa: PTH123 - a descriptor
        put(source, to)
    reader.join()
    assert got == DATA
