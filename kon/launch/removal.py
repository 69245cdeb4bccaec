"""Removing recorded runs: only what is finished, wholly kon's own, and meant beyond doubt."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from kon.core.errors import ConfigurationError, StoreError
from kon.core.lock import client_lock
from kon.engine.records.records import RunFolder
from kon.launch.simulated.run import REPORT

OBJECTS: Final = "objects"
"""The folder in a run's own that holds what its tasks have stored."""

_DATABASE: Final = ("kon.db", "kon.db-wal", "kon.db-shm", "kon.db-turn")
_FOLDERS: Final = ("events", "workers", "live", "output", "calls", "peek", OBJECTS)
_RECORDS: Final = (
    "run.json",
    "results.jsonl",
    "links.tsv",
    "unreadable.jsonl",
    "printed.jsonl",
    "summary.json",
)
_FILES: Final = (*_RECORDS, REPORT, *_DATABASE)
OURS: Final = frozenset({*_FOLDERS, *_FILES})
"""All that kon writes into the folder of a finished run. What has another name is somebody's own."""


class FolderContents(msgspec.Struct, frozen=True):
    """What a run's folder holds.

    age_s: how long ago it was finished, or else begun, in seconds.
    objects: files that its tasks have stored, which count in size_bytes too.
    """

    finished: bool
    size_bytes: int
    age_s: float
    objects: int


def held(folder: RunFolder, now_s: float) -> FolderContents:
    """Look at a run's folder. `now_s`: seconds since the epoch. Raises StoreError where it can't be read."""
    size_bytes = objects = 0
    try:
        for place, file in _files(folder.path):
            size_bytes += file.stat(follow_symlinks=False).st_size
            objects += OBJECTS in place.relative_to(folder.path).parts[:1]
        dated = folder.summary if folder.finished else folder.run_file
        age_s = now_s - dated.stat().st_mtime
    except OSError as error:
        raise StoreError(f"{folder.path}: can't be read: {error.strerror}") from error
    return FolderContents(folder.finished, size_bytes, age_s, objects)


def _files(folder: Path) -> Iterator[tuple[Path, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield folder, entry


def why_kept(folder: RunFolder, with_objects: bool) -> str | None:
    """Why a run may not be removed, and what to do about it; None where it may be."""
    path, word = folder.path, shlex.quote(str(folder.path))
    if path.is_symlink():
        return f"{path}: is a link to a folder, not a folder; remove what you mean yourself"
    if not folder.exists:
        return f"{path}: is not the folder of a run; it has no run.json"
    if not folder.finished:
        return (
            f"{path}: is not finished. Take it up (kon collect {word}), or give it up (kon cancel {word}, "
            "and then kon collect)"
        )
    if folder.owes_deletion:
        return f"{path}: its queues and tables may still be there; kon collect {word} sees to that"
    others = sorted({each.name for each in path.iterdir()} - OURS)
    if others:
        return f"{path}: holds what is not kon's: {', '.join(others)}. Move it elsewhere first"
    if not with_objects and (path / OBJECTS).exists():
        return (
            f"{path}: holds what its tasks have stored, in {path / OBJECTS}. Move it elsewhere first, or "
            "name --with-objects to remove it, too"
        )
    return None


async def remove(folder: RunFolder, with_objects: bool) -> None:
    """Remove a run's folder. It is a run no more from the first moment on, however this ends.

    Raises ConfigurationError where it may not be removed, or a client works on the runs next to it;
    StoreError where something can't be deleted.
    """
    async with client_lock(folder.path.parent):
        reason = why_kept(folder, with_objects)  # asked again, now that nobody else can change it
        if reason is not None:
            raise ConfigurationError(reason)
        try:
            folder.run_file.unlink()
            shutil.rmtree(folder.path)
        except OSError as error:
            raise StoreError(
                f"{folder.path}: can't be removed wholly: {error}. Mend the permissions, then delete it"
            ) from error
