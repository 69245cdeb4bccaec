"""A journal in a file: what its lines outlive, and what is said where they can't be kept."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kon.core.errors import StoreError
from kon.core.journal import FileJournal, Journal, LateJournal, MemoryJournal, sync_folder

KINDS: list[Callable[..., Journal]] = [FileJournal, LateJournal]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is synced, in order."""
    names: list[str] = []

    def sync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "fdatasync", sync)
    return names


def test_where_there_is_no_fdatasync_all_of_the_file_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is on macOS."""
    journal = FileJournal(tmp_path / "lines", durable=True)
    synced: list[int] = []
    monkeypatch.delattr(os, "fdatasync")
    monkeypatch.setattr(os, "fsync", synced.append)
    journal.append([b"{}"])
    asyncio.run(journal.on_disk())
    assert len(synced) == 1
    journal.close()


@pytest.mark.parametrize("call", ["pread", "write", "fsync"])
def test_a_journal_that_cant_be_begun_leaves_no_file_open(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"cut sho")

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(StoreError, match="Input/output error"):
        FileJournal(path, durable=True)
    opened = Path("/proc/self/fd").iterdir()
    assert [each for each in opened if each.is_symlink() and each.readlink() == path] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_durable_journal_waits_for_the_disk_once_for_what_was_added(
    kind: Callable[..., Journal], tmp_path: Path, synced: list[str]
) -> None:
    journal = kind(tmp_path / "folder" / "lines", durable=True)

    async def add(*lines: bytes) -> None:
        synced.clear()
        journal.append(lines)
        await journal.on_disk()

    asyncio.run(add(b"1", b"2"))
    assert synced.count("lines") == 1
    asyncio.run(add())
    assert synced == [], "nothing is new"
    asyncio.run(add(b"3"))
    assert synced == ["lines"], "its name is on disk since the first time"
    journal.close()
    assert (tmp_path / "folder" / "lines").read_bytes() == b"1\n2\n3\n"


@pytest.mark.parametrize("kind", KINDS)
def test_another_journal_waits_for_the_disk_only_where_it_always_has_to_and_then_for_its_name_too(
    kind: Callable[..., Journal], tmp_path: Path, synced: list[str]
) -> None:
    journal = kind(tmp_path / "folder" / "lines")
    journal.append([b"1"])
    asyncio.run(journal.on_disk())
    assert synced == []
    asyncio.run(journal.on_disk(always=True))
    assert synced == ["lines", "folder", tmp_path.name]
    journal.close()


def test_a_durable_journal_s_name_is_on_disk_from_the_first(tmp_path: Path, synced: list[str]) -> None:
    FileJournal(tmp_path / "folder" / "lines", durable=True).close()
    assert synced == ["folder", tmp_path.name]


def test_a_late_journal_has_no_file_before_its_first_line(tmp_path: Path) -> None:
    journal = LateJournal(tmp_path / "lines")
    journal.append([])
    journal.sync()
    journal.close()
    assert not (tmp_path / "lines").exists()


def test_a_line_that_was_cut_short_stays_a_line_of_its_own(tmp_path: Path) -> None:
    for before, after in ((b"", b"1\n"), (b"half", b"half\n1\n"), (b"whole\n", b"whole\n1\n")):
        (tmp_path / "lines").write_bytes(before)
        journal = FileJournal(tmp_path / "lines")
        journal.append([b"1"])
        journal.close()
        assert (tmp_path / "lines").read_bytes() == after


def test_what_the_system_takes_in_parts_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, write = FileJournal(tmp_path / "lines"), os.write
    monkeypatch.setattr(os, "write", lambda fd, left: write(fd, left[:3]))
    journal.append([b"12345", b"67890"])
    journal.close()
    assert (tmp_path / "lines").read_bytes() == b"12345\n67890\n"


@pytest.mark.parametrize(
    ("call", "says"), [("write", "make room"), ("fdatasync", "is not acked"), ("open", "can't be written")]
)
def test_what_the_system_refuses_is_told_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, says: str
) -> None:
    journal = LateJournal(tmp_path / "lines")
    if call != "open":
        journal.append([b"0"])

    def refuses(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def keep() -> None:
        journal.append([b"1"])
        journal.sync()

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuses)
        with pytest.raises(StoreError, match=says) as caught:
            keep()
    assert str(tmp_path / "lines") in str(caught.value)
    assert "No space left on device" in str(caught.value)


def test_all_who_wait_hear_of_a_disk_that_fails_and_the_next_one_tries_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal(tmp_path / "lines", durable=True)

    def refuses(_: int) -> None:
        raise OSError(5, "Input/output error")

    async def main() -> None:
        journal.append([b"1"])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", refuses)
            told = await asyncio.gather(journal.on_disk(), journal.on_disk(), return_exceptions=True)
        assert [type(each) for each in told] == [StoreError, StoreError]
        await journal.on_disk()

    asyncio.run(main())
    journal.close()


def test_a_folder_is_let_go_of_where_it_can_not_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    close = os.close

    def closing(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    def refuses(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "close", closing)
    monkeypatch.setattr(os, "fsync", refuses)
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(tmp_path)
    assert len(closed) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_journal_that_is_closed_keeps_no_file_open(
    kind: Callable[..., Journal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    close = os.close

    def closing(descriptor: int) -> None:
        closed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        close(descriptor)

    journal = kind(tmp_path / "lines")
    journal.append([b"1"])
    monkeypatch.setattr(os, "close", closing)
    journal.close()
    assert closed == ["lines"]


def test_a_journal_in_memory_knows_what_somebody_had_to_wait_for() -> None:
    journal = MemoryJournal()
    journal.append([b"1", b"2"])
    asyncio.run(journal.on_disk())
    assert (journal.lines, journal.lines_on_disk) == ([b"1", b"2"], 0)
    asyncio.run(journal.on_disk(always=True))
    assert journal.lines_on_disk == 2
