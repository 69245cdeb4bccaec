"""The layout of a run's database, and how a connection to it is made.

Every queue has two tables. `tasks` (or `answers`, `dead`) holds the bodies, by an id that is never
used again. `tasks_span` says what state they are in, whole ranges of ids at a time: a span is what
was sent, received or extended in one call, so that a receive of a hundred messages writes one row
and not a hundred. Spans of a queue never overlap, and every message lies in one.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, Literal

from kon.core.backend import ChannelOptions
from kon.core.errors import StoreError, StoreVersionError

APPLICATION_ID: Final = 0x6B6F6E00  # "kon"
VERSION: Final = 1
"""Raise it with every change to `TABLES`; an older file is then refused, never misread."""

QUEUES: Final = ("tasks", "answers", "dead")
LEDGERS: Final = ("ledger", "control")

_OLDEST_SQLITE: Final = (3, 24, 0)  # ON CONFLICT DO UPDATE

_QUEUE: Final = """
CREATE TABLE {name} (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);
CREATE TABLE {name}_span (
    first INTEGER PRIMARY KEY,  -- the ids that it covers: from first
    last INTEGER NOT NULL,      -- to last, of which some may be gone
    due_ms INTEGER NOT NULL,    -- when anyone may receive them, since the epoch; 0: since they were sent
    receives INTEGER NOT NULL,  -- how often they have been received
    living INTEGER NOT NULL     -- how many of them are left; a span of none is deleted
);
CREATE INDEX {name}_due ON {name}_span (due_ms, first);
INSERT INTO queue VALUES ('{name}', 1);
"""

_LEDGER: Final = """
CREATE TABLE {name} (
    key INTEGER PRIMARY KEY,
    token TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    owner TEXT NOT NULL,
    expires_s REAL NOT NULL,
    outcome BLOB
);
"""

TABLES: Final = "".join(
    (
        "CREATE TABLE channel (visibility_s REAL NOT NULL, max_receives INTEGER NOT NULL);\n",
        "CREATE TABLE queue (name TEXT PRIMARY KEY, next_id INTEGER NOT NULL) WITHOUT ROWID;\n",
        *(_QUEUE.format(name=name) for name in QUEUES),
        *(_LEDGER.format(name=name) for name in LEDGERS),
    )
)

PRAGMAS: Final = {
    # What a transaction touches lies at the ends of the tables, so that a small cache does.
    "cache_size": -8_000,  # KiB
    "temp_store": "MEMORY",
    "secure_delete": "OFF",  # some distributions have it on: twice the writes
    # Pages of log between two checkpoints, each of which waits for the disk. On a fast disk 1,000 to
    # 16,000 measured alike; a slow one is asked less often than by default, for 16 MiB.
    "wal_autocheckpoint": 4_000,
}

Durability = Literal["normal", "full"]


def connect(path: Path, durability: Durability, options: ChannelOptions | None) -> sqlite3.Connection:
    """A connection for the thread that calls this; it waits for no other process, but fails as busy.

    options: make the file with these where it is not there yet; with None it must be there.

    Raises StoreError where the file or the SQLite library is not one to work with, and sqlite3.Error.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        oldest = ".".join(map(str, _OLDEST_SQLITE))
        raise StoreError(
            f"this Python has SQLite {sqlite3.sqlite_version}, and {path} needs {oldest} or newer; "
            "use a newer Python, or the backend memory"
        )
    if options is not None:
        _make_folder(path.parent)
    elif not path.exists():
        raise StoreError(f"there is no run at {path}; submit it first, or check its name and `path`")
    mode = "rw" if options is None else "rwc"
    db = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=0)
    try:
        if options is not None:
            _make(db, path, options)
        check(db, path)
        for name, value in PRAGMAS.items():
            db.execute(f"PRAGMA {name} = {value}")
        # In WAL mode NORMAL survives the end of a process at any moment, as every commit has reached
        # the operating system; only FULL waits for the disk, and survives a power cut as well.
        db.execute(f"PRAGMA synchronous = {durability.upper()}")
    except BaseException:
        db.close()
        raise
    return db


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder {folder} can't be made: {error.strerror or error}. Choose another `path`"
        ) from error


def check(db: sqlite3.Connection, path: Path) -> None:
    """Raises StoreVersionError or StoreError for a file that this kon can't read."""
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if (application_id, version) == (APPLICATION_ID, VERSION):
        return
    if application_id == APPLICATION_ID:
        age = "a newer" if version > VERSION else "an older"
        raise StoreVersionError(
            f"{path} was written by {age} kon: its layout is version {version}, and this kon reads version "
            f"{VERSION}. It was left untouched: finish the run with that kon, or start it in another folder"
        )
    if is_blank(db):
        raise StoreError(f"{path} is an empty database: the run was never made to its end; submit it again")
    raise StoreError(
        f"{path} is a database of another program (application_id {application_id:#x}); it was left "
        "untouched: move it away, or choose another folder"
    )


def is_blank(db: sqlite3.Connection) -> bool:
    """Whether nothing at all has been written into the file."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not version and not tables


def _make(db: sqlite3.Connection, path: Path, options: ChannelOptions) -> None:
    """Write the layout into a blank file; leave any other as it is.

    Any number of processes may do this at once, and any of them may be killed in the midst of it.
    """
    if not is_blank(db):
        return
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()  # can't be part of a transaction
    if mode != "wal":
        raise StoreError(f"{path} is on a file system without shared memory; choose a `path` on a local disk")
    db.execute("BEGIN IMMEDIATE")
    try:
        if is_blank(db):
            for statement in filter(str.strip, TABLES.split(";\n")):
                db.execute(statement)
            db.execute("INSERT INTO channel VALUES (?, ?)", (options.visibility_s, options.max_receives))
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def stored_options(db: sqlite3.Connection) -> ChannelOptions:
    visibility_s, max_receives = db.execute("SELECT visibility_s, max_receives FROM channel").fetchone()
    return ChannelOptions(visibility_s, max_receives)
