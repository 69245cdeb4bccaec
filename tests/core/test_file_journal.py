"""A journal in a file: what its lines outlive."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kon.core.journal import FileJournal


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
