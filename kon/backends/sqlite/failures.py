"""What SQLite's errors mean to people."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from kon.core.errors import StoreError

_KEPT: Final = "Nothing that was confirmed is lost"

_REASONS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full. {kept}: free some space and run the same command again",
    sqlite3.SQLITE_READONLY: "it can't be written. Make the file and its folder writable for this user",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened. Check that it is there and that this user may "
    "read and write it and its folder",
    sqlite3.SQLITE_PERM: "this user may not read and write it. Change its owner or mode",
    sqlite3.SQLITE_NOTADB: "it is not a database. Move it away, or choose another folder",
    sqlite3.SQLITE_CORRUPT: "it is damaged, as by a failing disk. Copy the folder, then try "
    "`sqlite3 kon.db .recover`, or start the run in another folder",
    sqlite3.SQLITE_IOERR: "the disk refuses to read or write. {kept}: see the system's log, mend the "
    "disk, then run the same command again",
    sqlite3.SQLITE_NOMEM: "there is no memory left. {kept}: run the same command with fewer workers",
    sqlite3.SQLITE_TOOBIG: "a task or its result is over SQLite's own limit of 1 GB",
}


def primary_code(error: Exception) -> int:
    """SQLite's result code without its details; 0 where it is none of SQLite's."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process is in the way, so that trying again will do."""
    return primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explain(error: Exception, path: Path) -> Exception:
    """The error in terms of the file and of what mends it; itself where it is a fault of kon's own."""
    if isinstance(error, OSError):
        return StoreError(f"{path} can't be used: {error}. Make it and its folder writable for this user")
    if primary_code(error) not in _REASONS:
        return error
    reason = _REASONS[primary_code(error)].format(kept=_KEPT)
    explained = StoreError(f"{path}: {reason} (SQLite says: {error})")
    explained.__cause__ = error
    return explained


def locked(path: Path, for_s: float) -> StoreError:
    return StoreError(
        f"{path} has been locked by another process for {for_s:g} s. {_KEPT}: end whatever holds it "
        "(a backup, a database browser, a stopped worker) and run the same command again, or raise "
        "busy_timeout_s"
    )
